// A small web application whose users upload files. README.md says how to run it.
//
// The browser sends the files straight to the upload endpoint. This app only makes tokens, and keeps one entry for each
// stored file. It learns of a file in two ways: from the receipt that the page hands over, and from the webhook.

import express from "express";
import jwt from "jsonwebtoken";
import { Webhook } from "standardwebhooks";

const endpoint = process.env.ENDPOINT ?? "http://127.0.0.1:8000/upload";
const { TOKEN_SECRET, WEBHOOK_SECRET, SESSION_SECRET, PORT = "3000" } = process.env; // the endpoint has the first two
const webhook = new Webhook(WEBHOOK_SECRET);
const passwords = new Map([["ann", "ann"], ["bob", "bob"]]); // your own users, with hashed passwords
const files = new Map(); // by id; use your database

// Receipts and webhooks both name the file's id, and may come twice: the first one counts.
const keep = (user, entry) => files.has(entry.id) || files.set(entry.id, { user, ...entry });

// A token for ten minutes. It works in the user's own folder only.
const token = (user, scope, claims = {}) =>
  jwt.sign({ ...claims, scope, folder: user }, TOKEN_SECRET, { subject: user, expiresIn: "10m" });
const bearer = (value) => ({ Authorization: `Bearer ${value}` });

function signedIn(request, response, next) {
  const cookie = /(?:^|; )session=([^;]+)/.exec(request.get("Cookie") ?? "");
  try {
    request.user = jwt.verify(cookie?.[1], SESSION_SECRET, { algorithms: ["HS256"] }).sub;
  } catch {
    return response.sendStatus(401);
  }
  next();
}

const app = express();

app.post("/login", express.urlencoded(), (request, response) => {
  const { name, password } = request.body ?? {};
  if (typeof password !== "string" || passwords.get(name) !== password) return response.sendStatus(401);
  const session = jwt.sign({}, SESSION_SECRET, { subject: name, expiresIn: "8h" });
  response.cookie("session", session, { httpOnly: true, sameSite: "lax" }).sendStatus(204);
});

// `meta` comes back in the receipt and in the webhook as we wrote it here.
app.post("/upload-token", signedIn, (request, response) => {
  response.json({ token: token(request.user, "upload", { meta: { plan: "free" }, max_bytes: 20_000_000 }) });
});

// The signature proves that the file is stored, and names its user.
app.post("/receipts", signedIn, express.text({ type: () => true }), (request, response) => {
  let entry;
  try {
    entry = jwt.verify(request.body, TOKEN_SECRET, { algorithms: ["HS256"], audience: "receipt" });
  } catch {
    return response.sendStatus(400);
  }
  if (entry.sub !== request.user) return response.sendStatus(403);
  keep(entry.sub, entry);
  response.sendStatus(204);
});

// The endpoint reports each stored file, also where the page never came back. The signature covers the exact bytes.
app.post("/webhook", express.raw({ type: () => true }), (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch {
    return response.sendStatus(401);
  }
  if (event.type === "file.stored" && event.data.subject) keep(event.data.subject, event.data);
  response.sendStatus(204);
});

app.get("/files", signedIn, async (request, response) => {
  const headers = bearer(token(request.user, "list"));
  const listed = [];
  let cursor;
  do {
    const query = cursor ? `?${new URLSearchParams({ cursor })}` : "";
    const page = await fetch(endpoint.replace(/upload$/, "files") + query, { headers });
    if (!page.ok) return response.sendStatus(502);
    const body = await page.json();
    listed.push(...body.files);
    cursor = body.cursor;
  } while (cursor);
  response.json(listed.map((file) => ({ ...files.get(file.id), ...file })));
});

// The file's URL comes from our own data, and never from the browser.
app.delete("/files/:id", signedIn, async (request, response) => {
  const file = files.get(request.params.id);
  if (file?.user !== request.user) return response.sendStatus(404);
  const { status } = await fetch(file.url, { method: "DELETE", headers: bearer(token(request.user, "delete")) });
  if (status !== 204 && status !== 404) return response.sendStatus(502);
  files.delete(file.id);
  response.sendStatus(204);
});

const server = app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`Listening on http://127.0.0.1:${server.address().port}`);
});
