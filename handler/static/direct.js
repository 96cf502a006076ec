// Large files: in parts, straight to the storage. After a break or a reload only missing parts are sent.

import { Failure, persistently, request, sleep } from "./http.js";

const MIB = 2 ** 20;
const PART_BYTES = 8 * MIB; // S3 takes no part below 5 MiB
const MAX_PARTS = 1000;
const PARTS_AT_ONCE = 2; // for three files: a browser has six connections to one host
const MAX_REFUSALS = 3; // of one part
const POLL_SECONDS = 2;
const REMEMBERED_MS = 24 * 60 * 60 * 1000; // as long as the endpoint

// options: signal, progress(bytes), again(failure), checking()
export async function sendInParts(file, endpoint, options) {
  try {
    const stored = await goOn(file, endpoint, options);
    forget(file, endpoint);
    return stored;
  } catch (failure) {
    if ([404, 413, 415, 422].includes(failure.status)) forget(file, endpoint);
    throw failure;
  }
}

// Abort an unfinished upload.
export function abandon(file, endpoint) {
  const upload = memory(endpoint)[keyOf(file)];
  forget(file, endpoint);
  if (upload) endpoint.askOnce("DELETE", pathOf(upload), {}).catch(() => {});
}

async function goOn(file, endpoint, options) {
  const { signal, again } = options;
  const begun = memory(endpoint)[keyOf(file)];
  if (begun) {
    try {
      return await finish(begun, file, endpoint, options);
    } catch (failure) {
      // Begin anew if the upload is gone, or belongs to another token.
      if (failure.status !== 404 && !(failure.status === 403 && "token" in failure)) throw failure;
    }
  }
  const partSize = Math.max(PART_BYTES, Math.ceil(file.size / MAX_PARTS / MIB) * MIB);
  const json = { filename: file.name, type: file.type, size: file.size, partSize };
  const { id, key, uploadId } = await endpoint.ask("POST", "/s3/multipart", { signal, again, json });
  const upload = { id, key, uploadId, partSize, until: Date.now() + REMEMBERED_MS };
  memory(endpoint, (all) => (all[keyOf(file)] = upload));
  return finish(upload, file, endpoint, options);
}

async function finish(upload, file, endpoint, { signal, progress, again, checking }) {
  const options = { signal, again };
  try {
    const arrived = await endpoint.ask("GET", pathOf(upload), options);
    await sendMissing(arrived, upload, file, endpoint, { ...options, progress });
  } catch (failure) {
    // It may be complete: by another tab, or the response was lost.
    if (failure.status !== 404) throw failure;
  }
  checking();
  const { files } = await endpoint.ask("POST", pathOf(upload, "/complete"), { ...options, json: {} });
  return files ? files[0] : verdict(upload, endpoint, options);
}

async function sendMissing(arrived, upload, file, endpoint, { signal, progress, again }) {
  const sizes = new Map(arrived.map((part) => [part.PartNumber, part.Size]));
  const count = Math.max(1, Math.ceil(file.size / upload.partSize));
  const missing = Array.from({ length: count }, (_, index) => index + 1).filter((number) => !sizes.has(number));
  let sent = arrived.reduce((sum, part) => sum + part.Size, 0);
  const note = (number, bytes) => {
    sent += bytes - (sizes.get(number) ?? 0);
    sizes.set(number, bytes);
    progress(sent);
  };
  progress(sent);
  const stop = new AbortController(); // a failed part stops the others
  const options = { signal: AbortSignal.any([signal, stop.signal]), again };

  const refusals = Array(count + 1).fill(0);
  const send = async (number) => {
    const { url } = await endpoint.askOnce("GET", pathOf(upload, `/${number}`), options);
    const body = file.slice((number - 1) * upload.partSize, number * upload.partSize);
    try {
      // The URL may lead to S3, which must not see the token.
      await request("PUT", url, { ...options, body, progress: (bytes) => note(number, bytes) });
      note(number, body.size);
    } catch (failure) {
      note(number, 0);
      // S3 answers 400 to a broken body and 403 to an expired URL. The next try has a new URL.
      if (failure.status === 403) failure.temporary = ++refusals[number] < MAX_REFUSALS;
      if (failure.status === 400) failure.temporary = true;
      throw failure;
    }
  };
  const work = async () => {
    for (let number; (number = missing.shift()); ) await persistently(() => send(number), options);
  };
  try {
    await Promise.all(Array.from({ length: PARTS_AT_ONCE }, work));
  } finally {
    stop.abort();
  }
}

async function verdict(upload, endpoint, options) {
  for (;;) {
    const { status, file, problem } = await endpoint.ask("GET", `/${upload.uploadId}`, options);
    if (status === "stored") return file;
    if (status === "refused") throw new Failure(problem.detail, problem);
    await sleep(POLL_SECONDS, options.signal);
  }
}

function pathOf(upload, rest = "") {
  return `/s3/multipart/${upload.uploadId}${rest}?key=${encodeURIComponent(upload.key)}`;
}

// Unfinished uploads by file, where the browser keeps them.
function memory({ url }, change) {
  const place = `unfinished ${url}`; // other pages share the origin
  try {
    const all = JSON.parse(localStorage.getItem(place) ?? "{}");
    for (const key in all) if (!(all[key].until > Date.now())) delete all[key];
    change?.(all);
    localStorage.setItem(place, JSON.stringify(all));
    return all;
  } catch {
    return {};
  }
}

// Files of two folders may agree in name, size and time.
export const nameOf = (file) => file.webkitRelativePath || file.name;
export const keyOf = (file) => JSON.stringify([nameOf(file), file.size, file.lastModified]);

const forget = (file, endpoint) => memory(endpoint, (all) => delete all[keyOf(file)]);

export const unfinished = (endpoint) => Object.keys(memory(endpoint));
