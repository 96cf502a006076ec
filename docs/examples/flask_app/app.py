"""A small web application whose users upload files. README.md says how to run it.

The browser sends the files straight to the upload endpoint. This app only makes tokens, and keeps one row for each
stored file. It learns of a file in two ways: from the receipt that the page hands over, and from the webhook.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import jwt
import requests
from flask import Flask, abort, redirect, render_template, request, session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from werkzeug.security import check_password_hash, generate_password_hash

ENDPOINT = os.environ.get("ENDPOINT", "http://127.0.0.1:8000/upload")
FILES = ENDPOINT.removesuffix("/upload") + "/files"
TOKEN_SECRET = os.environ["TOKEN_SECRET"]  # the endpoint has the same one
WEBHOOK = Webhook(os.environ["WEBHOOK_SECRET"])  # the endpoint has the same one
DATABASE = os.environ.get("DATABASE", "files.sqlite3")
USERS = {name: generate_password_hash(name) for name in ("ann", "bob")}  # your own users and their real passwords

app = Flask(__name__)
app.secret_key = os.environ["SESSION_SECRET"]  # another secret than the tokens have
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # other sites cannot send forms in a user's name


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, user TEXT, entry TEXT)")
        yield connection


def keep(user: str, entry: dict[str, Any]) -> None:
    """Keep a stored file. Receipts and webhooks both name the file's id, and may come twice: the first one counts."""
    with database() as connection:
        connection.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?)", (entry["id"], user, json.dumps(entry)))


def kept(user: str) -> dict[str, dict[str, Any]]:
    """Return the files of a user, by id."""
    with database() as connection:
        rows = connection.execute("SELECT id, entry FROM files WHERE user = ?", (user,)).fetchall()
    return {file_id: json.loads(entry) for file_id, entry in rows}


def current_user() -> str:
    return session.get("user") or abort(401)


def token(user: str, scope: str, **claims: Any) -> str:
    """Return a token for ten minutes. It works in the user's own folder only."""
    claims |= {"scope": scope, "sub": user, "folder": user, "exp": int(time.time()) + 600}
    return jwt.encode(claims, TOKEN_SECRET, "HS256")


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def list_files(user: str) -> list[dict[str, Any]]:
    """Return the list of the user's folder, with the data that we keep about each file. Newest files come first."""
    files: list[dict[str, Any]] = []
    query: dict[str, str] | None = {}
    while query is not None:
        response = requests.get(FILES, query, headers=bearer(token(user, "list")), timeout=10)
        response.raise_for_status()
        page = response.json()
        files += page["files"]
        query = {"cursor": page["cursor"]} if "cursor" in page else None
    known = kept(user)
    return sorted((known.get(file["id"], {}) | file for file in files), key=lambda file: file["stored"], reverse=True)


@app.get("/")
def index() -> str:
    user = session.get("user")
    return render_template("index.html", user=user, files=list_files(user) if user else [], endpoint=ENDPOINT)


@app.post("/login")
def login() -> Any:
    name, password = request.form["name"], request.form["password"]
    if not check_password_hash(USERS.get(name, USERS["ann"]), password) or name not in USERS:
        abort(401)
    session["user"] = name
    return redirect("/")


@app.post("/upload-token")
def upload_token() -> dict[str, str]:
    """Return a token for the page. ``meta`` comes back in the receipt and in the webhook as we wrote it here."""
    return {"token": token(current_user(), "upload", meta={"plan": "free"}, max_bytes=20_000_000)}


@app.post("/receipts")
def take_receipt() -> tuple[str, int]:
    """Keep a file that the page uploaded. The signature proves that the file is stored, and names its user."""
    receipt = request.get_data(as_text=True)
    try:
        entry = jwt.decode(receipt, TOKEN_SECRET, ["HS256"], audience="receipt", options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        abort(400)
    if entry["sub"] != current_user():
        abort(403)
    keep(entry["sub"], entry)
    return "", 204


@app.post("/webhook")
def take_webhook() -> tuple[str, int]:
    """Keep a file that the endpoint reports, also where the page never came back."""
    try:
        event = WEBHOOK.verify(request.get_data(), dict(request.headers))
    except (WebhookVerificationError, ValueError):  # ValueError: the signature is not base64, or has no comma
        abort(401)
    if event["type"] == "file.stored" and "subject" in event["data"]:
        keep(event["data"]["subject"], event["data"])
    return "", 204


@app.post("/delete/<file_id>")
def delete(file_id: str) -> Any:
    """Delete a file of the user. Its URL comes from our database, and never from the browser."""
    user = current_user()
    file = kept(user).get(file_id) or abort(404)
    response = requests.delete(file["url"], headers=bearer(token(user, "delete")), timeout=10)
    if response.status_code not in (204, 404):
        abort(502)
    with database() as connection:
        connection.execute("DELETE FROM files WHERE id = ? AND user = ?", (file_id, user))
    return redirect("/")


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
