// Requests to the endpoint and the storage.

const STALLED_MS = 60_000; // without a byte sent
const RESPONSE_MS = 600_000;
const MAX_TRIES = 8;
const MAX_WAIT_SECONDS = 30;

export class Failure extends Error {
  // Status 0: no response. A temporary failure is worth another try.
  constructor(message, { status = 0, retryAfter, temporary = !status || status === 429 || status >= 500 } = {}) {
    super(message);
    Object.assign(this, { status, retryAfter, temporary });
  }
}

// XMLHttpRequest: fetch reports no progress.
export function request(method, url, { body, headers = {}, signal, progress } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    let stalled; // not before the first byte: the request may wait for a free connection
    const giveUpIn = (ms) => {
      clearTimeout(stalled);
      stalled = setTimeout(stop, ms);
    };
    xhr.upload.onprogress = (event) => {
      giveUpIn(STALLED_MS);
      progress?.(event.loaded);
    };
    xhr.upload.onload = () => giveUpIn(RESPONSE_MS);
    xhr.onload = () => (xhr.status < 300 ? resolve(xhr.response) : reject(failureOf(xhr)));
    xhr.onerror = xhr.onabort = () => reject(signal?.aborted ? signal.reason : new Failure("The connection was lost."));
    xhr.onloadend = () => {
      clearTimeout(stalled);
      signal?.removeEventListener("abort", stop);
    };
    signal?.addEventListener("abort", stop);
    xhr.open(method, url);
    xhr.responseType = "json";
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    xhr.send(body);
  });
}

function failureOf(xhr) {
  return new Failure(xhr.response?.detail ?? `The server answered ${xhr.status} ${xhr.statusText}`.trim() + ".", {
    status: xhr.status,
    // getResponseHeader logs an error if another origin does not expose the field.
    retryAfter: Number(/^retry-after: (\d+)/im.exec(xhr.getAllResponseHeaders())?.[1]),
  });
}

// Try again after 1, 2, 4 … seconds, when the server says, or when the browser is online again.
export async function persistently(attempt, { signal, again }) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (failure) {
      if (!failure.temporary || tries === MAX_TRIES) throw failure;
      await again?.(failure);
      await sleep(Math.min(failure.retryAfter || 2 ** (tries - 1), MAX_WAIT_SECONDS), signal);
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
  canDelete = false;
  #limits = null;

  constructor(url) {
    this.url = url;
  }

  ask(method, path, options = {}) {
    return persistently(() => this.askOnce(method, path, options), options);
  }

  async askOnce(method, path, options) {
    const response = await this.#send(method, this.url + path, options);
    if (!response) throw new Failure("The response did not come from the upload endpoint.");
    return response;
  }

  // The host in the URL may be another name for this endpoint.
  delete({ url }) {
    return this.#send("DELETE", new URL(url).pathname, {});
  }

  async #send(method, url, { json, body = json && JSON.stringify(json), ...options }) {
    const { token } = this;
    const headers = { ...options.headers };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (json) headers["Content-Type"] = "application/json";
    try {
      return await request(method, url, { ...options, body, headers });
    } catch (failure) {
      if ([401, 403].includes(failure.status)) failure.token = token; // by now there may be another
      throw failure;
    }
  }

  // Kept until the token changes.
  limits() {
    return (this.#limits ??= this.#askLimits());
  }

  use(token) {
    this.token = token;
    this.#limits = null;
  }

  async #askLimits() {
    try {
      const limits = await this.ask("GET", "");
      const ways = Object.fromEntries(limits.ways.map((way) => [way.name, way]));
      this.canDelete = limits.scopes.includes("delete");
      return { ...limits, ways, maxBytes: (ways.direct ?? ways.form).max_bytes };
    } catch (failure) {
      this.#limits = null;
      throw failure;
    }
  }
}
