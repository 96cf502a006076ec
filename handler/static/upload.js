// One upload: checks its file and sends it.

import { abandon, keyOf, sendInParts } from "./direct.js";
import { Failure } from "./http.js";

const SMALL_BYTES = 4 * 2 ** 20; // in one request

export const ACTIVE = ["new", "waiting", "sending", "checking"];

// Other states: paused, cancelled, failed, interrupted, refused, stored.
export class Upload {
  state = "new";
  words = "";
  sent = 0;
  #stop = new AbortController();
  #once = crypto.getRandomValues(new Uint32Array(4)).join("-");

  constructor(file, endpoint, changed) {
    Object.assign(this, { file, endpoint, changed, key: keyOf(file) });
  }

  get running() {
    return ["sending", "checking"].includes(this.state);
  }

  get active() {
    return ACTIVE.includes(this.state);
  }

  get over() {
    return ["stored", "refused"].includes(this.state);
  }

  // Refuse a file that the server would refuse.
  async check() {
    try {
      const limits = await this.endpoint.limits();
      const reason = refusal(this.file, limits);
      if (reason) throw new Failure(reason, { status: 415 });
      if (this.state === "new") this.#become("waiting");
    } catch (failure) {
      if (this.state === "new") this.#fail(failure);
    }
  }

  async run() {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#become("sending");
    // A stopped upload may still report something.
    const become = (...news) => signal.aborted || this.#become(...news);
    const options = {
      signal,
      progress: (bytes) => {
        this.sent = Math.min(bytes, this.file.size);
        become("sending");
      },
      again: async (failure) => {
        become("sending", `${failure.message} Trying again …`);
        await this.#look();
      },
      checking: () => become("checking"),
    };
    try {
      this.stored = await this.#send(options);
      this.#become("stored");
    } catch (failure) {
      if (!signal.aborted) this.#fail(failure);
    }
  }

  async #send(options) {
    const { form, direct } = (await this.endpoint.limits()).ways;
    const { file } = this;
    if (!direct || file.size <= Math.min(SMALL_BYTES, form.max_bytes)) {
      const body = new FormData();
      body.append(form.field, file);
      const headers = { "Idempotency-Key": this.#once }; // of all tries
      try {
        return (await this.endpoint.ask("POST", "", { ...options, body, headers })).files[0];
      } catch (failure) {
        if (failure.status !== 413 || !direct) throw failure; // else in parts
      }
    }
    return sendInParts(file, this.endpoint, options);
  }

  // Browsers report a changed file as a lost connection.
  async #look() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      const reason = `'${clean(this.file.name)}' was changed or removed after you chose it. Choose it again.`;
      throw new Failure(reason, { status: 422 });
    }
  }

  pause() {
    this.#stop.abort();
    this.#become("paused");
  }

  again() {
    if (!this.active && !this.over) this.#become("new");
    return this.check();
  }

  cancel() {
    this.#stop.abort();
    abandon(this.file, this.endpoint);
    this.#become("cancelled");
  }

  show(words) {
    this.#become(this.state, words);
  }

  #fail(failure) {
    this.failure = failure;
    this.#become([413, 415, 422].includes(failure.status) ? "refused" : "failed", failure.message);
  }

  #become(state, words = "") {
    Object.assign(this, { state, words });
    this.changed(this);
  }
}

// In the words of the server.
function refusal(file, { extensions, maxBytes }) {
  const name = clean(file.name) || "The file";
  const [, extension] = /\.([^.]*)$/.exec(name) ?? [];
  if (!extensions.includes(extension?.toLowerCase())) {
    const files = extension ? `files of type .${extension}` : "files without an extension";
    return `'${name}': ${files} are not allowed. Allowed are: ${extensions.join(", ") || "none"}.`;
  }
  if (file.size > maxBytes) return `'${name}' is larger than a file may be: ${maxBytes.toLocaleString("en")} bytes.`;
}

// As the server shows names: no invisible characters, at most 150, and 20 in the extension.
function clean(name) {
  const visible = name.split(/[/\\]/).pop().replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\u2800\u{16fe4}\u{1d159}]/gu, "").trim();
  const [, stem, end = ""] = /^(.*?)(\.[^.]*)?$/s.exec(visible);
  const kept = [...end].slice(0, 21);
  return [...[...stem].slice(0, 150 - kept.length), ...kept].join("");
}
