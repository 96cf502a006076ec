"""The textbook version of an upload function, as tutorials have it: what the benchmark compares with.

It is deployed the same way: Flask behind ``awsgi``, files in S3. It checks the extension and makes the name safe.
"""

import os

import awsgi
import boto3
from flask import Flask, jsonify, request
from werkzeug.utils import secure_filename

app = Flask(__name__)
s3 = boto3.client("s3")
ALLOWED_EXTENSIONS = {"txt", "csv", "pdf", "png", "jpg", "jpeg", "gif", "webp"}


def allowed_file(filename):
    return "." in filename and filename.rsplit(".", 1)[1].lower() in ALLOWED_EXTENSIONS


@app.route("/upload", methods=["GET"])
def form():
    return """<form method="post" enctype="multipart/form-data">
      <input type="file" name="file"><button>Upload</button></form>"""


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
    s3.upload_fileobj(file, os.environ["UPLOAD_BUCKET"], filename)
    return jsonify({"message": "File uploaded", "filename": filename}), 201


def lambda_handler(event, context):
    return awsgi.response(app, event, context)
