"""A client that openapi-python-client makes of handler/openapi.json uploads, asks for the status, and lists."""

import json
import os
from io import BytesIO

from upload_client import AuthenticatedClient
from upload_client.api.files import list_files
from upload_client.api.upload import get_upload_status, upload_form
from upload_client.models import FileList, Files, ListedFile, Problem, UploadForm, UploadStatus
from upload_client.types import UNSET, File

client = AuthenticatedClient(os.environ["SERVER"], os.environ["TOKEN"])


def upload(name: str, content: bytes) -> Files | Problem:
    body = UploadForm(file=File(BytesIO(content), file_name=name))
    body["album"] = "Summer"
    result = upload_form.sync(client=client, body=body)
    assert isinstance(result, Files | Problem)
    return result


def list_all() -> list[ListedFile]:
    files, cursor = [], ""
    while cursor is not UNSET:
        page = list_files.sync(client=client, limit=1, cursor=cursor or UNSET)
        assert isinstance(page, FileList)
        files += page.files
        cursor = page.cursor
    return files


files = upload("hello.txt", b"hello")
assert isinstance(files, Files)
(stored,) = files.files
status = get_upload_status.sync(stored.id, client=client)
assert isinstance(status, UploadStatus)
problem = upload("page.html", b"hello")
assert isinstance(problem, Problem)
refused = f"{problem.status} {problem.type_}: {problem.detail}"
report = {
    "stored": stored.to_dict(),
    "album": stored.fields["album"],
    "order": stored.meta["order"],
    "status": status.status,
    "refused": refused,
    "listed": [file.url for file in list_all()],
}
print(json.dumps(report))
