// The row of a file: what it is, how far it has come, and what can be done about it.

import { nameOf } from "./direct.js";

const RATE_MS = 5000; // what the rate is taken from
const THUMBNAIL = 96;
const MOST_DRAWN = 32 * 2 ** 20; // a browser reads the whole file for it
const BUTTONS = {
  new: "Pause",
  waiting: "Pause",
  sending: "Pause",
  checking: "Pause",
  paused: "Resume",
  cancelled: "Retry",
  failed: "Retry",
  stored: "Copy link",
};
const WORDS = {
  new: "Waiting",
  waiting: "Waiting",
  checking: "Being checked …",
  paused: "Paused",
  cancelled: "Cancelled",
  stored: "Stored",
};

let drawn = Promise.resolve(); // one after the other: unpacked, a photo takes 50 MB

export class Row {
  #samples = [];

  constructor(template, upload) {
    this.element = template.content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    [this.bar, this.state, this.tile] = [find("progress"), find(".state"), find(".tile")];
    [this.action, this.end] = this.element.querySelectorAll("button");
    const { file } = upload;
    find("bdi").textContent = nameOf(file);
    find("small").textContent = bytes(file.size);
    this.bar.ariaLabel = nameOf(file);
    this.tile.textContent = file.name.split(".").pop().slice(0, 4);
    if (!file.type.startsWith("image/") || file.size > MOST_DRAWN) return;
    drawn = drawn.then(() => this.#draw(file)).catch(() => {}); // or it has none
  }

  show({ file, state, words, sent, stored }) {
    this.element.className = state;
    this.bar.hidden = !["sending", "checking", "paused"].includes(state);
    this.bar.value = file.size ? sent / file.size : 1;
    this.state.textContent = words || WORDS[state] || this.#progress(sent, file.size);
    if (state === "stored") this.#link(stored);
    const underWay = !["stored", "refused", "cancelled", "failed"].includes(state);
    name(this.end, underWay ? "Cancel" : "Dismiss", file);
    const action = state === "stored" && !(stored.url && navigator.clipboard) ? "" : BUTTONS[state];
    if (!action && document.activeElement === this.action) this.end.focus(); // before it is lost
    name(this.action, action, file);
  }

  copied({ file }) {
    name(this.action, "Copied", file);
  }

  #link({ url }) {
    if (!url) return;
    const link = document.createElement("a");
    link.href = link.textContent = url;
    this.state.append(": ", link);
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
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMBNAIL;
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

// Rounded down, as the page without scripts does it: a limit is never shown as more than it is.
export function bytes(number) {
  const power = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), 4);
  const tenths = Math.floor((number / 1024 ** power) * 10);
  return power ? `${(tenths / 10).toFixed(1)} ${"KMGT"[power - 1]}iB` : `${Math.floor(number)} bytes`;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  return seconds < 3600 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
