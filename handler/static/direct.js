// Large files: in parts, straight to the storage, and on from where it was after a lost connection or a reload.

import { Failure, persistently, request, sleep } from "./http.js";

const MIB = 2 ** 20;
const PART_BYTES = 8 * MIB; // little to send again; the storage takes no less than 5
const MOST_PARTS = 1000; // so that larger files have larger parts
const PARTS_AT_ONCE = 2; // of three files: as many as a browser has connections to one host
const MOST_REFUSALS = 3; // of one part, each with a fresh URL
const POLL_SECONDS = 2;
const REMEMBERED_MS = 24 * 60 * 60 * 1000; // as long as the endpoint takes parts for it

// options: signal, progress(bytes), again(failure), checking()
export async function sendInParts(file, endpoint, options) {
  try {
    const stored = await goOn(file, endpoint, options);
    forget(file, endpoint);
    return stored;
  } catch (failure) {
    if ([404, 413, 415, 422].includes(failure.status)) forget(file, endpoint); // nothing will come of it
    throw failure;
  }
}

// What was begun and is not wanted any more.
export function abandon(file, endpoint) {
  const upload = memory(endpoint)[keyOf(file)];
  forget(file, endpoint);
  if (upload) endpoint.askOnce("DELETE", pathOf(upload), {}).catch(() => {}); // else it is swept in a day
}

async function goOn(file, endpoint, options) {
  const { signal, again } = options;
  const begun = memory(endpoint)[keyOf(file)];
  if (begun) {
    try {
      return await finish(begun, file, endpoint, options);
    } catch (failure) {
      const { status, ofStorage } = failure;
      if (status !== 404 && (status !== 403 || ofStorage)) throw failure; // else it is gone, or another's by now
    }
  }
  const partSize = Math.max(PART_BYTES, Math.ceil(file.size / MOST_PARTS / MIB) * MIB);
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
    // Where there is nothing to add to, it may have been completed: the answer got lost, or another tab did it.
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
  const tell = () => progress([...sizes.values()].reduce((sum, size) => sum + size, 0));
  const note = (number, bytes) => {
    sizes.set(number, bytes);
    tell();
  };
  tell();
  const stop = new AbortController(); // a part that cannot be sent stops the others
  const options = { signal: AbortSignal.any([signal, stop.signal]), again };

  const refusals = new Map();
  const send = async (number) => {
    const { url } = await endpoint.askOnce("GET", pathOf(upload, `/${number}`), options);
    const body = file.slice((number - 1) * upload.partSize, number * upload.partSize);
    try {
      // No token: this is another's server.
      await request("PUT", url, { ...options, body, progress: (bytes) => note(number, bytes) });
      note(number, body.size);
    } catch (failure) {
      note(number, 0);
      failure.ofStorage = true; // no other token would help
      // S3 answers 400 to a body that was cut off or too slow, and 403 to an expired URL. The next try has a fresh URL.
      failure.passing ||= failure.status === 400 || (failure.status === 403 && refused(number) < MOST_REFUSALS);
      throw failure;
    }
  };
  const refused = (number) => refusals.set(number, (refusals.get(number) ?? 0) + 1).get(number);
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

// Which upload a file belongs to, for as long as one may take. Where nothing can be kept, nothing is resumed.
function memory({ url }, change) {
  const place = `unfinished ${url}`; // others may keep something on this origin
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

// A folder's files may have the same name, size and time, and be different all the same.
export const nameOf = (file) => file.webkitRelativePath || file.name;
export const keyOf = (file) => JSON.stringify([nameOf(file), file.size, file.lastModified]);

const forget = (file, endpoint) => memory(endpoint, (all) => delete all[keyOf(file)]);

// The names of the files that were not sent to their end.
export const unfinished = (endpoint) => Object.keys(memory(endpoint)).map((key) => JSON.parse(key)[0]);
