// A typed client: its types are those that openapi-typescript makes of handler/openapi.json.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: Record<string, string> };

const client = createClient<paths, "application/json">({
  baseUrl: process.env.SERVER,
  headers: { Authorization: `Bearer ${process.env.TOKEN}` },
});

async function upload(name: string, content: string): Promise<components["schemas"]["StoredFile"]> {
  const form = new FormData();
  form.append("album", "Summer");
  form.append("file", new Blob([content]), name);
  const { data, error } = await client.POST("/upload", { body: { file: name }, bodySerializer: () => form });
  if (error) throw new Error(`${error.status} ${error.type}: ${error.detail}`);
  if (!data || !("files" in data)) throw new Error("The file is not stored yet.");
  return data.files[0]!;
}

/** Upload a file in pieces of two bytes. */
async function uploadInPieces(name: string, content: string): Promise<string> {
  const begun = await client.PUT("/upload/{name}", {
    params: { path: { name } },
    headers: { "Upload-Complete": "?0", "Content-Type": "application/octet-stream" },
    body: "",
    bodySerializer: (nothing) => nothing,
  });
  const id = begun.response.headers.get("Location")!.split("/").pop()!;
  let offset = 0;
  while (offset < content.length) {
    const isLast = offset + 2 >= content.length;
    const { data, error, response } = await client.PATCH("/upload/{name}", {
      params: { path: { name: id }, header: { "Upload-Offset": offset, "Upload-Complete": isLast ? "?1" : "?0" } },
      headers: { "Content-Type": "application/partial-upload" },
      body: content.slice(offset, offset + 2),
      bodySerializer: (piece) => piece,
    });
    if (error) throw new Error(error.detail);
    if (isLast && data && "files" in data) return data.files[0]!.name;
    offset = Number(response.headers.get("Upload-Offset"));
  }
  return "";
}

async function list(): Promise<components["schemas"]["FileList"]["files"]> {
  const files = [];
  let cursor: string | undefined;
  do {
    const { data, error } = await client.GET("/files", { params: { query: { limit: 1, cursor } } });
    if (error) throw new Error(error.detail);
    files.push(...data.files);
    cursor = data.cursor;
  } while (cursor);
  return files;
}

const stored = await upload("hello.txt", "hello");
const pieces = await uploadInPieces("pieces.txt", "12345");
const album: string | undefined = stored.fields?.album;
const order: unknown = stored.meta?.order;
const { data: status } = await client.GET("/upload/{name}", { params: { path: { name: stored.id } } });
const refused: string = await upload("page.html", "hello").then(() => "", (error: Error) => error.message);
const listed = (await list()).map((file) => file.url);
console.log(JSON.stringify({ stored, pieces, album, order, status: status?.status, refused, listed }));
