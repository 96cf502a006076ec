"""The textbook version of an upload endpoint that saves to a folder: what the local server is compared with."""

import os
import shutil
from pathlib import Path

from flask import Flask, jsonify, request
from werkzeug.utils import secure_filename

app = Flask(__name__)
UPLOAD_FOLDER = Path(os.environ["UPLOAD_FOLDER"])
ALLOWED_EXTENSIONS = {"txt", "csv", "pdf", "png", "jpg", "jpeg", "gif", "webp"}


def allowed_file(filename):
    return "." in filename and filename.rsplit(".", 1)[1].lower() in ALLOWED_EXTENSIONS


@app.route("/upload", methods=["POST"])
def upload():
    if "file" not in request.files:
        return jsonify({"error": "No file part"}), 400
    file = request.files["file"]
    if file.filename == "":
        return jsonify({"error": "No selected file"}), 400
    if not allowed_file(file.filename):
        return jsonify({"error": "File type not allowed"}), 400
    filename = secure_filename(file.filename)
    file.save(UPLOAD_FOLDER / filename)
    return jsonify({"message": "File uploaded", "filename": filename}), 201


@app.route("/upload/<name>", methods=["PUT"])
def put(name):
    if not allowed_file(name):
        return jsonify({"error": "File type not allowed"}), 400
    filename = secure_filename(name)
    with (UPLOAD_FOLDER / filename).open("wb") as file:
        shutil.copyfileobj(request.stream, file)
    return jsonify({"message": "File uploaded", "filename": filename}), 201
