"""Client dialects: the names, the response shapes and the statuses that editors and upload widgets expect. Pure.

``POST /upload?for=NAME`` chooses one. It is used only where ``for`` is in the query, and imported only then.

Each shape was read in the source of the package that its comment names, and ``tests/clients`` runs the same packages.
A response holds the client's own keys and no others: Froala, for one, copies every further key into the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entries = Sequence[Mapping[str, Any]]
ProblemObject = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A response in the client's own shape.

    :param status: the HTTP status that makes the client show the result or the reason.
    :param body: text is sent as ``text/plain``, anything else as JSON.
    """

    status: int
    body: str | Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """One client's way to name its files and to read the response.

    :param name: the value of ``for``, in lower case.
    :param fields: the names of the form parts in which this client sends files by default. Each is taken in its array
        forms too: ``upload`` stands for ``upload[]``, ``upload[0]``, ``upload-0`` and ``upload0`` as well.
    :param needs_url: the client shows the file from its URL, so that it cannot work where ``DOWNLOADS`` is off.
    :param stored: returns the response after all files were stored. Its argument has one entry for each file, as
        :func:`handler.web.responses.file_entry` makes it. ``url`` and ``location`` are missing where ``DOWNLOADS`` is
        off.
    :param refused: returns the response to a request that failed. Its argument is the problem object (RFC 9457) that
        other clients get; ``detail`` is the sentence for a person.
    """

    name: str
    fields: tuple[str, ...]
    needs_url: bool = True
    stored: Callable[[Entries], Reply]
    refused: Callable[[ProblemObject], Reply]


def _ok(shape: Callable[[Entries], str | Mapping[str, Any]]) -> Callable[[Entries], Reply]:
    """Return the response to stored files, with status 200: SunEditor and EasyMDE take no other success."""
    return lambda entries: Reply(status=200, body=shape(entries))


def _failed(shape: Callable[[str], str | Mapping[str, Any]]) -> Callable[[ProblemObject], Reply]:
    """Return the response to a failed request, with the status of the problem."""
    return lambda problem: Reply(status=problem["status"], body=shape(_sentence(problem)))


def _refused_with_200(shape: Callable[[str], str | Mapping[str, Any]]) -> Callable[[ProblemObject], Reply]:
    """Return the response to a failed request for a client that reads a body only with a status of 2xx.

    A failure of the server keeps its status, so that proxies and alarms see it. The client then shows a sentence of
    its own.
    """

    def reply(problem: ProblemObject) -> Reply:
        status = 200 if problem["status"] < 500 else problem["status"]
        return Reply(status=status, body=shape(_sentence(problem)))

    return reply


def _sentence(problem: ProblemObject) -> str:
    """Return the sentence for a person, safe as text and as HTML.

    It can hold a file name that somebody else chose, and some clients (Editor.js, CKEditor 4) put it into the page as
    HTML. Others show it as text, where ``&lt;`` would be seen as such. So angle brackets are replaced by quotation
    marks that look similar.
    """
    detail: str = problem["detail"]
    return detail.replace("<", "\u2039").replace(">", "\u203a")


def _jodit(entries: Entries) -> Mapping[str, Any]:
    return {
        "success": True,
        "data": {
            "baseurl": "",
            "files": [entry["url"] for entry in entries],
            "isImages": [entry["type"].startswith("image/") for entry in entries],
            "messages": [],
        },
    }


def _fine_uploader(entries: Entries) -> Mapping[str, Any]:
    first = entries[0]
    response = {"success": True, "newUuid": first["id"]}
    if "url" in first:
        response["url"] = first["url"]
    return response


def _fine_uploader_refused(problem: ProblemObject) -> Reply:
    """Return the response that Fine Uploader shows. Fine Uploader tries again only after failures that can pass."""
    status = problem["status"]
    return Reply(status=status, body={"success": False, "error": _sentence(problem), "preventRetry": status < 500})


_ALL = (
    # tinymce 5.10.9, 6.8.6, 8.9.2: the default upload handler. With another status than 2xx it shows the number only;
    # else all of a body that is JSON without "location", behind the words "Invalid JSON".
    Dialect(
        name="tinymce",
        fields=("file",),
        stored=_ok(lambda entries: {"location": entries[0]["url"]}),
        refused=_refused_with_200(lambda sentence: {"error": {"message": sentence}}),
    ),
    # ckeditor5 44.3.0, 48.5.2: SimpleUploadAdapter reads "url" and "error", with any status; CKFinder's adapter
    # "uploaded" as well. ckeditor4 4.22.1: filetools reads all of them, and reads nothing with another status than 2xx.
    Dialect(
        name="ckeditor",
        fields=("upload",),
        stored=_ok(lambda entries: {"uploaded": 1, "fileName": entries[0]["name"], "url": entries[0]["url"]}),
        refused=_refused_with_200(lambda sentence: {"uploaded": 0, "error": {"message": sentence}}),
    ),
    # @editorjs/image 2.10.3 (field "image") and @editorjs/attaches 1.3.2 (field "file"). The document keeps the
    # members of "file". They show a sentence of their own; the README has the line that shows "error".
    Dialect(
        name="editorjs",
        fields=("image", "file"),
        stored=_ok(
            lambda entries: {
                "success": 1,
                "file": {"url": entries[0]["url"], "name": entries[0]["name"], "size": entries[0]["size"]},
            }
        ),
        refused=_refused_with_200(lambda sentence: {"success": 0, "error": sentence}),
    ),
    # froala-editor 3.2.7, 4.7.1, 5.4.0: image.js, file.js and video.js read "link" of a response of 2xx, and make
    # attributes of all other keys. The event image.error gets the body of a failure, with any status.
    Dialect(
        name="froala",
        fields=("file",),
        stored=_ok(lambda entries: {"link": entries[0]["url"]}),
        refused=_failed(lambda sentence: {"error": sentence}),
    ),
    # jodit 3.24.9, 4.15.13: core/request/ajax reads a body only with the statuses 200, 201 and 202.
    Dialect(
        name="jodit",
        fields=("files",),
        stored=_ok(_jodit),
        refused=_refused_with_200(lambda sentence: {"success": False, "data": {"messages": [sentence]}}),
    ),
    # suneditor 2.47.12, 3.3.3: with another status than 200 the sentence stands behind the name of an exception.
    Dialect(
        name="suneditor",
        fields=("file",),
        stored=_ok(
            lambda entries: {
                "result": [{"url": entry["url"], "name": entry["name"], "size": entry["size"]} for entry in entries]
            }
        ),
        refused=_refused_with_200(lambda sentence: {"errorMessage": sentence}),
    ),
    # easymde 2.21.0: uploadImage takes 200 only, and shows "error" with any status.
    Dialect(
        name="easymde",
        fields=("image",),
        stored=_ok(lambda entries: {"data": {"filePath": entries[0]["url"]}}),
        refused=_failed(lambda sentence: {"error": sentence}),
    ),
    # fine-uploader 5.16.2: "success" must be there, "newUuid" becomes its id of the file, onComplete gets all of it.
    Dialect(
        name="fineuploader",
        fields=("qqfile",),
        needs_url=False,
        stored=_ok(_fine_uploader),
        refused=_fine_uploader_refused,
    ),
    # filepond 4.32.12: the body of a 2xx is the server's id of the file, which its form sends later; the body of
    # another response goes to `onerror`. Several files come in one request only from a plugin that makes variants.
    Dialect(
        name="filepond",
        fields=("filepond",),
        needs_url=False,
        stored=_ok(lambda entries: ",".join(entry["id"] for entry in entries)),
        refused=_failed(lambda sentence: sentence),
    ),
)

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in _ALL}
"""Every dialect by its name."""


def find(name: str) -> Dialect | None:
    """Return the dialect of that name, in any case of letters; ``None`` if there is none."""
    return DIALECTS.get(name.lower())


def names() -> list[str]:
    """Return the names of all dialects, in alphabetical order."""
    return sorted(DIALECTS)
