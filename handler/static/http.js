// Requests to the endpoint and to the storage: with progress, tried again where that may help, and with failures in
// the words of whoever answered.

const STALLED_MS = 60_000; // without a byte going out
const ANSWER_MS = 600_000; // a large file on a slow disk may take its time
const MOST_TRIES = 8;
const MOST_SECONDS = 30;

export class Failure extends Error {
  // A status of 0 stands for no answer at all. What is passing is worth another try.
  constructor(message, { status = 0, retryAfter, passing = !status || status === 429 || status >= 500 } = {}) {
    super(message);
    Object.assign(this, { status, retryAfter, passing });
  }
}

// XMLHttpRequest and not fetch, which cannot tell how much has been sent.
export function request(method, url, { body, headers = {}, signal, progress } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    let stalled; // only once it moves: before that it may wait for one of the browser's six connections
    const giveUpIn = (ms) => {
      clearTimeout(stalled);
      stalled = setTimeout(stop, ms);
    };
    xhr.upload.onprogress = (event) => {
      giveUpIn(STALLED_MS);
      progress?.(event.loaded);
    };
    xhr.upload.onload = () => giveUpIn(ANSWER_MS);
    xhr.onload = () => (xhr.status < 300 ? resolve(parsed(xhr)) : reject(failureOf(xhr)));
    xhr.onerror = xhr.onabort = () => reject(signal?.aborted ? signal.reason : new Failure("The connection was lost."));
    xhr.onloadend = () => {
      clearTimeout(stalled);
      signal?.removeEventListener("abort", stop);
    };
    signal?.addEventListener("abort", stop);
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    xhr.send(body);
  });
}

function parsed(xhr) {
  try {
    return JSON.parse(xhr.responseText);
  } catch {
    return null;
  }
}

function failureOf(xhr) {
  return new Failure(parsed(xhr)?.detail ?? `The server answered ${xhr.status} ${xhr.statusText}`.trim() + ".", {
    status: xhr.status,
    // Asked for by its name, one that another origin does not expose would be complained of.
    retryAfter: Number(/^retry-after: (\d+)/im.exec(xhr.getAllResponseHeaders())?.[1]),
  });
}

// Try again after 1, 2, 4 … seconds, or when the server says, or as soon as there is a network again.
export async function persistently(attempt, { signal, again }) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (failure) {
      if (!failure.passing || tries === MOST_TRIES) throw failure;
      await again?.(failure);
      await sleep(Math.min(failure.retryAfter || 2 ** (tries - 1), MOST_SECONDS), signal);
    }
  }
}

export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    setTimeout(resolve, seconds * 1000);
    addEventListener("online", resolve, { once: true, signal });
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

export class Endpoint {
  token = null;
  #limits = null;

  constructor(url) {
    this.url = url;
  }

  ask(method, path, options = {}) {
    return persistently(() => this.askOnce(method, path, options), options);
  }

  async askOnce(method, path, { json, body = json && JSON.stringify(json), ...options }) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    if (json) headers["Content-Type"] = "application/json";
    const answer = await request(method, this.url + path, { ...options, body, headers });
    if (!answer) throw new Failure("Something else than the endpoint answered.");
    return answer;
  }

  // What may be uploaded, the ways by name, and the most bytes that one file may hold. Asked for once, and again for another token or after a failure.
  limits() {
    return (this.#limits ??= this.#askLimits());
  }

  forgetLimits() {
    this.#limits = null;
  }

  async #askLimits() {
    try {
      const limits = await this.ask("GET", "");
      const ways = Object.fromEntries(limits.ways.map((way) => [way.name, way]));
      return { ...limits, ways, most: (ways.direct ?? ways.form).max_bytes };
    } catch (failure) {
      this.#limits = null;
      throw failure;
    }
  }
}
