"""A client that openapi-python-client makes of handler/openapi.json uploads, asks for the status, and lists."""

import json
import os
from io import BytesIO

from upload_client import AuthenticatedClient
from upload_client.api.files import list_files
from upload_client.api.upload import append_piece, get_upload_status, upload_form
from upload_client.models import FileList, Files, ListedFile, Problem, UploadForm, UploadStatus
from upload_client.types import UNSET, File

client = AuthenticatedClient(os.environ["SERVER"], os.environ["TOKEN"])


def upload(name: str, content: bytes) -> Files | Problem:
    body = UploadForm(file=File(BytesIO(content), file_name=name))
    body["album"] = "Summer"
    result = upload_form.sync(client=client, body=body)
    assert isinstance(result, Files | Problem)
    return result


def upload_in_pieces(name: str, content: bytes) -> str:
    """Upload a file in pieces of two bytes."""
    # The contract has only the response to a whole file, so the request that begins an upload is plain.
    begun = client.get_httpx_client().put(f"/upload/{name}", headers={"Upload-Complete": "?0"})
    upload_id = begun.headers["Location"].rpartition("/")[2]
    for offset in range(0, len(content), 2):
        is_last = offset + 2 >= len(content)
        response = append_piece.sync_detailed(
            upload_id,
            client=client,
            body=File(BytesIO(content[offset : offset + 2])),
            upload_offset=offset,
            upload_complete="?1" if is_last else "?0",
        )
    assert isinstance(response.parsed, Files)
    stored_name: str = response.parsed.files[0].name
    return stored_name


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
    "pieces": upload_in_pieces("pieces.txt", b"12345"),
    "album": stored.fields["album"],
    "order": stored.meta["order"],
    "status": status.status,
    "refused": refused,
    "listed": [file.url for file in list_all()],
}
print(json.dumps(report))
