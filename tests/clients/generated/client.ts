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
  return data.files[0]!;
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
const album: string | undefined = stored.fields?.album;
const order: unknown = stored.meta?.order;
const { data: status } = await client.GET("/upload/{name}", { params: { path: { name: stored.id } } });
const refused: string = await upload("page.html", "hello").then(() => "", (error: Error) => error.message);
const listed = (await list()).map((file) => file.url);
console.log(JSON.stringify({ stored, album, order, status: status?.status, refused, listed }));
