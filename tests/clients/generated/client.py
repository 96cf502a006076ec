"""A client that openapi-python-client makes of handler/openapi.json uploads, and asks for the status."""

import json
import os
from io import BytesIO

from upload_client import AuthenticatedClient
from upload_client.api.upload import get_upload_status, upload_form
from upload_client.models import Files, Problem, UploadForm, UploadStatus
from upload_client.types import File

client = AuthenticatedClient(os.environ["SERVER"], os.environ["TOKEN"])


def upload(name: str, content: bytes) -> Files | Problem:
    body = UploadForm(file=File(BytesIO(content), file_name=name))
    body["album"] = "Summer"
    result = upload_form.sync(client=client, body=body)
    assert isinstance(result, Files | Problem)
    return result


files = upload("hello.txt", b"hello")
assert isinstance(files, Files)
(stored,) = files.files
status = get_upload_status.sync(stored.id, client=client)
assert isinstance(status, UploadStatus)
problem = upload("page.html", b"hello")
assert isinstance(problem, Problem)
refused = f"{problem.status} {problem.type_}: {problem.detail}"
print(json.dumps({"stored": stored.to_dict(), "status": status.status, "refused": refused}))
