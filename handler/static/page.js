// The page: takes files and a token, and shows all uploads.

import { keyOf, nameOf, unfinished } from "./direct.js";
import { Endpoint } from "./http.js";
import { ATTENTION, Row, bytes, make } from "./row.js";
import { ACTIVE, Upload } from "./upload.js";

const FILES_AT_ONCE = 3;
const MAX_SPOKEN = 3; // refusals before the next summary
const UNFINISHED = [...ACTIVE, "paused"];
const TITLE = document.title;
const COPIED = "Copied";

const $ = (id) => document.getElementById(id);
const form = document.forms[0];
const endpoint = new Endpoint(form.action);
const uploads = new Set();
const byKey = new Map();
const queue = [];

// Without scripts this is a form. With scripts, files are sent once they are chosen.
document.documentElement.classList.add("js");
$("send").hidden = true;
$("hint").hidden = false;

const folder = make("input", { id: "folder", type: "file" });
if ("webkitdirectory" in folder) {
  folder.webkitdirectory = true;
  $("file").parentNode.append(folder, make("label", { htmlFor: "folder", textContent: "Choose a folder" }));
}
const notice = make("p", { id: "notice", role: "status" });
const link = make("a");
const heading = make("h2", { id: "summary", tabIndex: -1 }, link);
const all = make("div", { className: "buttons" });
const bar = make("progress", { id: "total", ariaLabel: "All files" });
const whole = make("div", { id: "whole", hidden: true }, heading, all, bar);
const mark = document.createComment("attention above, others below");
const rows = make("ul", { id: "rows", role: "list", ariaLabel: "Files" }, mark);
const live = make("div", { className: "unseen", role: "log", ariaLabel: "Messages" });
form.after(notice, whole, rows, live, make("p", { id: "over", textContent: "Drop to upload" }));

// Files.

for (const input of [$("file"), folder]) {
  input.onchange = () => {
    add([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  };
}

document.onpaste = (event) => add([...event.clipboardData.files]);

function add(files) {
  if (files.length) notify("");
  files.forEach(offer);
}

// Browsers enter an element before they leave the last one: files that leave the newest one leave the page.
let entered;

function drag(event) {
  const { target, type, dataTransfer } = event;
  if (!dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  if (type === "dragenter") entered = target;
  const over = type === "dragenter" || type === "dragover" || (type === "dragleave" && target !== entered);
  document.body.classList.toggle("over", over);
  if (type === "drop") take(dataTransfer);
}

document.ondragenter = document.ondragover = document.ondragleave = document.ondrop = drag;

async function take(dataTransfer) {
  // After the first await there are no entries.
  const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  notify("");
  for (const entry of entries) await walk(entry);
}

async function walk(entry) {
  if (entry instanceof File) offer(entry);
  try {
    if (entry?.isFile) {
      const file = await new Promise((...then) => entry.file(...then));
      // As if the folder had been chosen.
      offer(Object.defineProperty(file, "webkitRelativePath", { value: entry.fullPath.slice(1) }));
    }
    if (!entry?.isDirectory) return;
    const reader = entry.createReader();
    for (let some; (some = await new Promise((...then) => reader.readEntries(...then))).length; ) {
      for (const each of some) await walk(each);
    }
  } catch {
    notice.textContent += `${entry.fullPath.slice(1)} cannot be read. `;
  }
}

// Uploads.

// An unfinished upload of the same file goes on.
function offer(file) {
  const same = byKey.get(keyOf(file));
  if (!same || same.over) return list(file).check();
  if (same.state === "interrupted") same.row.draw((same.file = file));
  same.again();
}

function list(file, rest) {
  const upload = Object.assign(new Upload(file, endpoint, changed), rest);
  const row = (upload.row = new Row(upload));
  row.action.onclick = () => act(upload);
  row.remove.onclick = () => removeStored(upload);
  row.end.onclick = () => (UNFINISHED.includes(upload.state) ? upload.cancel() : drop(upload));
  uploads.add(upload);
  byKey.set(upload.key, upload);
  rows.append(row.element);
  changed(upload);
  return upload;
}

function changed(upload) {
  const { row, state, failure, counted, stored } = upload;
  row.show(upload);
  account(upload, state);
  linked ||= navigator.clipboard && stored?.url;
  if (state !== counted?.state) place(row, ATTENTION.includes(state));
  showAll();
  if (state === counted?.state) return;
  if (state === "waiting") queue.push(upload);
  // The token may be new.
  if (state === "failed" && refused(failure) && endpoint.token) return upload.again();
  if (counted && !ACTIVE.includes(state)) sayEnd(upload);
  next();
}

function next() {
  while (queue.length && count("sending", "checking") < FILES_AT_ONCE) {
    if ($("access") && !endpoint.token) return showTokenError(`${tokenProblem} The files wait for an upload token.`.trim());
    const upload = queue.shift();
    if (upload.state === "waiting") upload.run();
  }
}

function place(row, first) {
  if (first === row.first) return;
  row.first = first;
  const focused = row.element.contains(document.activeElement) && document.activeElement;
  mark[first ? "before" : "after"](row.element);
  if (focused) focused.focus(); // a moved element loses the focus
}

function act(upload) {
  const { state, row, stored, file } = upload;
  if (upload.active) upload.pause();
  else if (stored) copy([upload], row.action);
  else if (state === "interrupted") (nameOf(file).includes("/") ? folder : $("file")).click();
  else upload.again();
}

async function copy(some, button) {
  const { textContent, ariaLabel } = button;
  try {
    await navigator.clipboard.writeText(some.map(({ stored }) => stored.url).join("\n"));
    if (textContent !== COPIED) setTimeout(() => Object.assign(button, { textContent, ariaLabel }), 2000);
    Object.assign(button, { textContent: COPIED, ariaLabel: ariaLabel && ariaLabel.replace(textContent, COPIED) });
    say(some.length > 1 ? `${some.length} links are copied.` : "The link is copied.");
  } catch {
    notify("The browser did not allow copying.");
  }
}

async function removeStored(upload) {
  const name = nameOf(upload.file);
  if (!confirm(`Delete ${name}? Its link will stop working.`)) return;
  try {
    await endpoint.delete(upload.stored);
  } catch (failure) {
    if (failure.status === 401) refused(failure);
    if (failure.status !== 404) return upload.show(failure.message); // 404: it was deleted before
  }
  drop(upload);
  say(`${name}: deleted.`);
}

// Take an upload out of the list.
function drop(upload) {
  const { element, end } = upload.row;
  if (element.contains(document.activeElement)) {
    const ends = [...rows.querySelectorAll(".end")];
    const index = ends.indexOf(end);
    (ends[index + 1] ?? ends[index - 1] ?? $("file")).focus();
  }
  element.remove();
  uploads.delete(upload);
  if (byKey.get(upload.key) === upload) byKey.delete(upload.key);
  account(upload);
  showAll();
}

const retry = (fits) => uploads.forEach((upload) => upload.state === "failed" && fits(upload.failure) && upload.again());

addEventListener("online", () => retry(({ status }) => !status));

// Rates fall without events, too.
setInterval(() => uploads.forEach((upload) => upload.running && upload.row.show(upload)), 1000);

addEventListener("beforeunload", (event) => {
  if (count("sending", "checking")) event.preventDefault();
});

// All uploads.

const counts = {}; // uploads by state
let total = { size: 0, sent: 0 }; // bytes, since all was last finished
let linked; // whether stored files have links
let spoken = 0;
let timer;

// By the difference: progress comes often.
function account(upload, state) {
  const { counted, file, sent } = upload;
  const stored = state === "stored";
  const size = stored || UNFINISHED.includes(state) ? Math.max(file.size, 1) : 0;
  const now = (upload.counted = { state, size, sent: stored ? size : Math.min(sent, size), total });
  const before = counted?.total === total ? counted : { size: 0, sent: 0 };
  total.size += now.size - before.size;
  total.sent += now.sent - before.sent;
  if (counted) counts[counted.state]--;
  if (state) counts[state] = count(state) + 1;
  if (!count(...UNFINISHED)) total = { size: 0, sent: 0 };
}

function count(...states) {
  return states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
}

const buttons = [
  ["Cancel all", UNFINISHED, (some) => some.forEach((upload) => upload.cancel())],
  ["Retry failed", ["failed"], (some) => some.forEach((upload) => upload.again())],
  ["Clear stored", ["stored"], (some) => some.forEach(drop)],
  ["Copy all links", ["stored"], copy],
].map(([textContent, states, action]) => {
  const onclick = () => action([...uploads].filter(({ state }) => states.includes(state)), button);
  const button = make("button", { textContent, onclick });
  all.append(button);
  return [button, states, action];
});

function showAll() {
  const empty = !uploads.size;
  const focused = document.activeElement;
  whole.hidden = empty;
  bar.hidden = !count(...UNFINISHED);
  bar.value = total.sent / total.size || 0;
  for (const [button, states, action] of buttons) button.hidden = !count(...states) || (action === copy && !linked);
  const words = summary();
  if (link.textContent !== words) link.textContent = words;
  const attention = count(...ATTENTION) > 0;
  if (attention !== link.matches("[href]")) link.toggleAttribute("href", attention);
  const news = count(...ACTIVE) ? `${Math.floor((100 * total.sent) / total.size)} %` : words;
  document.title = empty ? TITLE : `${news} · ${TITLE}`;
  // The pressed button may be hidden now.
  if (focused.hidden) (empty ? $("file") : heading).focus();
}

link.onclick = (event) => {
  event.preventDefault();
  rows.firstElementChild.focus(); // rows that need attention come first
};

function summary() {
  const words = (state) => `${count(state)} ${state}`;
  const parts = [...ATTENTION, "cancelled", "paused"].filter((state) => count(state)).map(words);
  if (count(...ACTIVE)) parts.unshift(`${count("stored")} of ${uploads.size} stored`);
  else if (count("stored")) parts.unshift(words("stored"));
  return parts.join(", ");
}

// For screen readers: refusals at once, the summary when nothing more ends.
function sayEnd({ state, words, file }) {
  if (ATTENTION.includes(state) && spoken++ < MAX_SPOKEN) {
    say(words.includes(file.name) ? words : `${nameOf(file)}: ${words}`);
  }
  clearTimeout(timer);
  const speak = () => {
    spoken = 0;
    say(`${summary()}.`);
  };
  timer = setTimeout(speak, count(...ACTIVE) ? 5000 : 500);
}

const say = (textContent) => live.append(make("p", { textContent }));

function notify(words) {
  notice.textContent = words;
}

// The token: from the field, or from the fragment, which browsers send to no server.

let tokenProblem = ""; // why the last token was refused

function use(token) {
  endpoint.use(token);
  keep("token", token ?? "");
  if ($("access")) $("access").hidden = !!token;
}

// Keep a text for this tab, or return the kept one.
function keep(name, text) {
  const key = `${name} ${endpoint.url}`;
  try {
    if (text !== undefined) sessionStorage.setItem(key, text);
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function showTokenError(words) {
  if (!$("access")) return notify(words);
  if ($("token-error").textContent !== words) $("token-error").textContent = words; // read out once
  $("token").ariaInvalid = !!words;
}

async function start(token) {
  use(token);
  tokenProblem = "";
  notify("");
  showTokenError("");
  try {
    const { extensions, maxBytes } = await endpoint.limits();
    $("limits").textContent = `Allowed: ${extensions.join(", ")}; up to ${bytes(maxBytes)} each.`;
    $("file").accept = extensions.map((extension) => `.${extension}`).join();
  } catch (failure) {
    if (!refused(failure)) notify(failure.message);
  }
  for (const upload of uploads) upload.row.show(upload); // another token may delete, or not
  retry((failure) => "token" in failure);
  next();
}

// Ask for another token if the failure is about this one.
function refused(failure) {
  const about = "token" in failure;
  if (about && failure.token === endpoint.token) {
    use(null);
    showTokenError((tokenProblem = failure.message));
  }
  return about;
}

// Anyone can send a link with their own token, so ask before it replaces the tab's token.
function readFragment(own) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  if (!token || !own || token === own) return token;
  return confirm("This link brings another upload token than this tab has. Upload with the link's token?") && token;
}

form.noValidate = true; // scripts send the files
form.onsubmit = (event) => event.preventDefault();
if ($("token")) {
  const read = async ({ target }) => {
    const token = target.value.trim();
    target.value = ""; // for the next one
    if (!token) return;
    $("file").focus(); // the field is hidden now
    await start(token);
    if (!endpoint.token && document.activeElement === $("file")) target.focus();
  };
  $("token").onchange = read;
  $("token").oninput = (event) => event.inputType === "insertFromPaste" && read(event);
}
addEventListener("hashchange", () => {
  const token = readFragment(endpoint.token);
  if (token) start(token);
});

// The rows survive a reload of the tab, but their files do not.

function keepRows() {
  const listed = [...uploads].filter(({ state }) => state !== "cancelled");
  const kept = listed.map(({ key, over, state, words, stored }) => [key, over ? { state, words, stored } : { state: "interrupted" }]);
  keep("rows", JSON.stringify(kept));
}

// Phones end a hidden page without "pagehide".
for (const name of ["pagehide", "visibilitychange"]) addEventListener(name, keepRows);
for (const [key, rest] of JSON.parse(keep("rows") || "[]")) {
  const [name, size, lastModified] = JSON.parse(key);
  list({ name, size, lastModified }, rest);
}

const names = unfinished(endpoint).filter((key) => !byKey.has(key)).map((key) => JSON.parse(key)[0]);
const kept = keep("token");
await start(readFragment(kept) || kept || null);
if (names.length) notice.textContent ||= `Not finished: ${names.join(", ")}. Choose it again to continue.`;
