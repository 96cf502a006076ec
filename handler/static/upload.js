// One file on its way: whether it may go, which way it takes, and how far it is.

import { abandon, keyOf, sendInParts } from "./direct.js";
import { Failure } from "./http.js";

const SMALL_BYTES = 4 * 2 ** 20; // up to here one request is less work than parts

// Its state is one of: new, waiting, sending, checking, paused, cancelled, failed, refused, stored.
export class Upload {
  state = "new";
  sent = 0;
  #stop = new AbortController();

  constructor(file, endpoint, changed) {
    Object.assign(this, { file, endpoint, changed, key: keyOf(file) });
  }

  get running() {
    return ["sending", "checking"].includes(this.state);
  }

  get waiting() {
    return ["new", "waiting"].includes(this.state);
  }

  get over() {
    return ["stored", "refused"].includes(this.state);
  }

  // Say what will be refused before anything is sent.
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
    // What is stopped may still have something to say.
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
      try {
        return (await this.endpoint.ask("POST", "", { ...options, body })).files[0];
      } catch (failure) {
        if (failure.status !== 413 || !direct) throw failure; // else there is another way in
      }
    }
    return sendInParts(file, this.endpoint, options);
  }

  // What has changed on the disk cannot be read any more, and a browser calls that a lost connection.
  async #look() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      const reason = `'${clean(this.file.name)}' has changed since it was chosen, or is gone. Choose it again.`;
      throw new Failure(reason, { status: 422 });
    }
  }

  pause() {
    this.#stop.abort();
    this.#become("paused");
  }

  again() {
    if (["paused", "cancelled", "failed"].includes(this.state)) this.#become("new");
    return this.check();
  }

  cancel() {
    this.#stop.abort();
    abandon(this.file, this.endpoint);
    this.#become("cancelled");
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

// The words are those of the server, which says them again to whoever sends the file all the same.
function refusal(file, { extensions, most }) {
  const name = clean(file.name) || "The file";
  const [, extension] = /\.([^.]*)$/.exec(name) ?? [];
  if (!extensions.includes(extension?.toLowerCase())) {
    const what = extension ? `files of type .${extension}` : "files without an extension";
    return `'${name}': ${what} are not allowed. Allowed are: ${extensions.join(", ") || "none"}.`;
  }
  if (file.size > most) return `'${name}' is larger than a file may be: ${most.toLocaleString("en")} bytes.`;
}

// As the server shows names: no invisible characters, and at most 150 with an extension of at most 20.
function clean(name) {
  const visible = name.split(/[/\\]/).pop().replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\u2800\u{16fe4}\u{1d159}]/gu, "").trim();
  const [, stem, end = ""] = /^(.*?)(\.[^.]*)?$/s.exec(visible);
  const kept = [...end].slice(0, 21);
  return [...[...stem].slice(0, 150 - kept.length), ...kept].join("");
}
