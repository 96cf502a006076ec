export { Upload as Upload4 } from "tus-js-client";
export { Upload as Upload5 } from "tus-js-client-5";
