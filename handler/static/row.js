// The row of one upload.

import { nameOf } from "./direct.js";

const RATE_MS = 5000; // of the average rate
const THUMBNAIL = 96;
const MAX_DRAWN_BYTES = 32 * 2 ** 20; // a browser reads all of it
const BUTTONS = {
  paused: "Resume",
  cancelled: "Retry",
  failed: "Retry",
  interrupted: "Choose again",
  stored: "Copy link",
};
const WORDS = {
  new: "Waiting",
  waiting: "Waiting",
  checking: "Checking …",
  paused: "Paused",
  cancelled: "Cancelled",
  interrupted: "Interrupted. Choose the file again to continue.",
  stored: "Stored",
};
const MARKS = { stored: "✓", refused: "✕", failed: "✕", interrupted: "!" };
export const ATTENTION = ["refused", "failed", "interrupted"];

let drawn = Promise.resolve(); // in turn: a photo takes 50 MB of memory

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Row {
  first = false; // among the rows that need attention
  #samples = [];

  constructor({ file }) {
    const name = nameOf(file);
    this.element = make(
      "li",
      { tabIndex: -1 },
      (this.tile = make("span", { className: "tile", ariaHidden: "true", textContent: file.name.split(".").pop().slice(0, 4) })),
      (this.mark = make("b", { role: "img" })),
      (this.link = make("a", { className: "name", dir: "auto", target: "_blank", textContent: name, title: name })),
      make("p", undefined, (this.state = make("span", { className: "state" })), " ", make("small", { textContent: bytes(file.size) })),
      (this.bar = make("progress", { ariaLabel: name })),
      make("div", { className: "buttons" }, ...["action", "remove", "end"].map((key) => (this[key] = make("button", { className: key })))),
    );
    this.draw(file);
  }

  // Draw a thumbnail. Few browsers know HEIC, and a row that survived a reload has no file.
  draw(file) {
    if (!(file instanceof File) || !/^image\/(?!hei[cf])/.test(file.type) || file.size > MAX_DRAWN_BYTES) return;
    drawn = drawn.then(() => this.#draw(file)).catch(() => {});
  }

  show({ file, state, words, sent, stored, endpoint, active }) {
    this.element.className = state;
    this.mark.hidden = !MARKS[state];
    this.mark.textContent = MARKS[state];
    this.mark.ariaLabel = state;
    this.bar.hidden = !["sending", "checking", "paused"].includes(state);
    this.bar.value = file.size ? sent / file.size : 1;
    const kept = state === "stored" && stored.expires ? ` · kept until ${stored.expires.slice(0, 10)}` : "";
    this.state.textContent = words || (WORDS[state] || this.#progress(sent, file.size)) + kept;
    if (stored?.url) this.link.href = stored.url;
    name(this.end, active || state === "paused" ? "Cancel" : "Dismiss", file);
    name(this.remove, state === "stored" && stored.url && endpoint.canDelete ? "Delete" : "", file);
    const action = state === "stored" && !(stored.url && navigator.clipboard) ? "" : active ? "Pause" : BUTTONS[state];
    if (!action && document.activeElement === this.action) this.end.focus(); // before the focus is lost
    name(this.action, action, file);
  }

  #progress(sent, size) {
    const now = performance.now();
    const fresh = (sample) => now - sample.now < RATE_MS && sample.sent <= sent;
    this.#samples = [...this.#samples.filter(fresh), ...(sent ? [{ now, sent }] : [])];
    const [first] = this.#samples;
    const parts = [`${bytes(sent)} of ${bytes(size)}`];
    if (sent > first?.sent) {
      const rate = ((sent - first.sent) / (now - first.now)) * 1000;
      parts.push(`${bytes(rate)}/s`, `${duration((size - sent) / rate)} left`);
    }
    return parts.join(" · ");
  }

  async #draw(file) {
    const image = await createImageBitmap(file, { resizeHeight: THUMBNAIL, resizeQuality: "medium" });
    const canvas = make("canvas", { width: THUMBNAIL, height: THUMBNAIL });
    canvas.getContext("2d").drawImage(image, (THUMBNAIL - image.width) / 2, 0);
    this.tile.replaceChildren(canvas);
    image.close();
  }
}

function name(button, label = "", file) {
  button.hidden = !label;
  button.textContent = label;
  button.ariaLabel = `${label} ${nameOf(file)}`;
}

// Rounded down: a limit is never shown as more than it is.
export function bytes(number) {
  const power = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), 4);
  const tenths = Math.floor((number / 1024 ** power) * 10);
  return power ? `${(tenths / 10).toFixed(1)} ${"KMGT"[power - 1]}iB` : `${Math.floor(number)} bytes`;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  return seconds < 3600 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
