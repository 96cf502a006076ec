"""Uploads a file with tuspy, as its documentation shows. Prints one JSON object."""

from __future__ import annotations

import json
import sys

from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage

options = json.loads(sys.argv[1])
try:
    uploader = TusClient(options["endpoint"]).uploader(
        options["path"],
        chunk_size=options["chunkSize"],
        metadata={"filename": options["name"]},
        retries=options["retries"],
        retry_delay=0.2,
        store_url=True,
        url_storage=FileStorage(options["urls"]),
        upload_checksum=True,
    )
    uploader.upload()
except TusCommunicationError as error:
    body = error.response_content.decode() if error.response_content else None
    print(json.dumps({"error": str(error), "status": error.status_code, "body": body}))
else:
    content = uploader.request.response_content if uploader.request else b""
    print(json.dumps({"url": uploader.url, "body": content.decode()}))
