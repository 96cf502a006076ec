// The page: takes files in every way that there is, and has a few of them uploaded at once.

import { keyOf, nameOf, unfinished } from "./direct.js";
import { Endpoint } from "./http.js";
import { Row, bytes } from "./row.js";
import { Upload } from "./upload.js";

const FILES_AT_ONCE = 3;
const ENDS = ["stored", "refused", "cancelled", "failed"];

const $ = (id) => document.getElementById(id);
const form = document.forms[0];
const endpoint = new Endpoint(form.action);
const uploads = new Set();

// Without scripts this is a plain form. With them files go as soon as they are chosen.
document.documentElement.classList.add("js");
$("send").hidden = true;
$("hint").hidden = false;
$("folder").hidden = $("folder").labels[0].hidden = !("webkitdirectory" in $("folder"));

// Files: chosen, dropped, pasted.

for (const input of [$("file"), $("folder")]) {
  input.onchange = () => {
    add([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  };
}

document.onpaste = (event) => add([...event.clipboardData.files]);

document.ondragover = (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("over");
};

document.ondragleave = (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
};

document.ondrop = async (event) => {
  document.body.classList.remove("over");
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  // All entries at once: after the first await there are none.
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  $("notice").textContent = "";
  for (const entry of entries) await walk(entry);
};

async function walk(entry) {
  if (entry instanceof File) offer(entry);
  try {
    if (entry?.isFile) {
      const file = await new Promise((...then) => entry.file(...then));
      // Where it lies is known as if its folder had been chosen.
      offer(Object.defineProperty(file, "webkitRelativePath", { value: entry.fullPath.slice(1) }));
    }
    if (!entry?.isDirectory) return;
    const reader = entry.createReader();
    for (let some; (some = await new Promise((...then) => reader.readEntries(...then))).length; ) {
      for (const each of some) await walk(each);
    }
  } catch {
    $("notice").textContent += `${entry.fullPath.slice(1)} cannot be read. `; // what lies beside it can
  }
}

// Uploads.

function add(files) {
  if (files.length) $("notice").textContent = "";
  files.forEach(offer);
}

function offer(file) {
  const key = keyOf(file);
  const same = [...uploads].find((upload) => upload.key === key && !upload.over);
  if (same) again(same);
  else take(file);
}

function take(file) {
  const upload = new Upload(file, endpoint, changed);
  const row = (upload.row = new Row(document.querySelector("template"), upload));
  row.action.onclick = () => act(upload);
  row.end.onclick = () => end(upload);
  uploads.add(upload);
  $("rows").append(row.element);
  changed(upload);
  upload.check().then(next);
}

function changed(upload) {
  const { row, state, words, file, failure } = upload;
  row.show(upload);
  if (row.said !== state && ENDS.includes(state)) {
    // Whoever hears it does not see which row it is about.
    say(words.includes(file.name) ? words : `${nameOf(file)}: ${words || `${state}.`}`);
  }
  row.said = state;
  if (state === "failed" && wantsToken(failure)) askForToken(words);
  count();
}

function count() {
  const stored = [...uploads].filter(({ state }) => state === "stored").length;
  $("summary").hidden = !uploads.size;
  $("summary").textContent = `${stored} of ${uploads.size} stored`;
}

function say(words) {
  const line = document.createElement("p");
  line.textContent = words;
  $("live").append(line);
}

function next() {
  const waiting = [...uploads].filter(({ state }) => state === "waiting");
  if (waiting.length && $("access") && !endpoint.token) {
    $("notice").textContent ||= `${tokenProblem} The files wait for an upload token.`.trim();
    return;
  }
  const running = [...uploads].filter((upload) => upload.running).length;
  for (const upload of waiting.slice(0, Math.max(FILES_AT_ONCE - running, 0))) upload.run().then(next);
}

async function act(upload) {
  if (upload.running || upload.waiting) return upload.pause();
  if (!upload.over) return again(upload);
  try {
    await navigator.clipboard.writeText(upload.stored.url);
    upload.row.copied(upload);
    say("The link is copied.");
  } catch {
    say("The browser does not let the link be copied. It is in the row.");
  }
}

const again = (upload) => upload.again().then(next);

function end(upload) {
  if (!ENDS.includes(upload.state)) return upload.cancel();
  const { element } = upload.row;
  const near = element.nextElementSibling ?? element.previousElementSibling;
  (near?.querySelector(".end") ?? $("file")).focus();
  element.remove();
  uploads.delete(upload);
  count();
}

addEventListener("online", () => {
  for (const upload of uploads) if (upload.state === "failed" && !upload.failure.status) again(upload);
});

// What stands still sends no news, and has no rate.
setInterval(() => uploads.forEach((upload) => upload.running && upload.row.show(upload)), 1000);

addEventListener("beforeunload", (event) => {
  if ([...uploads].some((upload) => upload.running)) event.preventDefault();
});

// The token: out of the fragment, which is sent nowhere, or out of the field; kept for this tab alone.

const wantsToken = ({ status, ofStorage }) => [401, 403].includes(status) && !ofStorage;
let tokenProblem = ""; // why the last token is of no use

function use(token) {
  endpoint.token = token;
  endpoint.forgetLimits();
  keep((storage, place) => (token ? storage.setItem(place, token) : storage.removeItem(place)));
  if ($("access")) $("access").hidden = Boolean(token);
}

// Where a browser keeps nothing, a token lasts as long as the page.
function keep(action) {
  try {
    return action(sessionStorage, `token ${endpoint.url}`);
  } catch {
    return null;
  }
}

async function start(token) {
  use(token);
  tokenProblem = $("notice").textContent = "";
  try {
    const { extensions, most } = await endpoint.limits();
    $("limits").textContent = `Allowed: ${extensions.join(", ")}; up to ${bytes(most)} each.`;
    $("file").accept = extensions.map((extension) => `.${extension}`).join();
  } catch (failure) {
    if (wantsToken(failure)) askForToken(failure.message);
    else $("notice").textContent = failure.message;
  }
  for (const upload of uploads) if (upload.state === "failed" && wantsToken(upload.failure)) again(upload);
  next();
}

function askForToken(words) {
  use(null);
  tokenProblem = $("notice").textContent = words;
}

// A link's token, unless the tab has another one: anyone can send a link, and the files would go under their token.
function readFragment(own) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  if (!token || !own || token === own) return token;
  return confirm("This link brings another upload token than this tab has. Upload with the link's token?") && token;
}

form.noValidate = true; // it is never sent
form.onsubmit = (event) => event.preventDefault();
if ($("token")) {
  $("token").onchange = async ({ target }) => {
    const token = target.value.trim();
    target.value = ""; // where another is asked for, it is not pasted behind this one
    if (!token) return;
    $("file").focus(); // the field goes, and the focus would be lost
    await start(token);
    if (!endpoint.token && document.activeElement === $("file")) target.focus();
  };
}
addEventListener("hashchange", () => {
  const token = readFragment(endpoint.token);
  if (token) start(token);
});

const names = unfinished(endpoint).join(", "); // before there is anything new
const kept = keep((storage, place) => storage.getItem(place));
await start(readFragment(kept) || kept);
if (names && !uploads.size) $("notice").textContent ||= `Not finished: ${names}. Choose it again to go on from there.`;
