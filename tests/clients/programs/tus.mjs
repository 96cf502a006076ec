// Uploads a file with tus-js-client, as its documentation shows. Prints one JSON object.
import { createReadStream } from "node:fs";

const { major, endpoint, path, name, urls, chunkSize, more } = JSON.parse(process.argv[2]);
const tus = await import(major === 4 ? "tus-js-client" : "tus-js-client-5");
const { FileUrlStorage } = major === 4 ? tus : await import("tus-js-client-5/node/FileUrlStorage");

const print = (result) => console.log(JSON.stringify(result));

const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  chunkSize,
  retryDelays: [0, 100, 500, 1000],
  metadata: { filename: name },
  urlStorage: new FileUrlStorage(urls),
  ...more,
  onSuccess: (payload) => print({ url: upload.url, body: payload?.lastResponse?.getBody() ?? null }),
  onError: (error) => {
    const response = error.originalResponse;
    print({ error: error.message, status: response?.getStatus(), body: response?.getBody() });
  },
});

const [previous] = await upload.findPreviousUploads();
if (previous) upload.resumeFromPreviousUpload(previous);
upload.start();
