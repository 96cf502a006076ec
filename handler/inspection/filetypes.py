"""The file types that this server knows: extension, media type, and the check of the content."""

from __future__ import annotations

from dataclasses import dataclass

from .formats import (
    Check,
    Dimensions,
    File,
    Mismatch,
    Steps,
    active,
    archives,
    hidden,
    images,
    isobmff,
    media,
    office,
    pdf,
    runnable,
    text,
)


@dataclass(frozen=True, slots=True)
class FileType:
    """A type of file, under one of its extensions.

    :param extension: lower case, without the dot.
    :param media_type: the ``Content-Type`` of a stored file in downloads. The client has no influence on it.
    :param check: decides whether the content of a file is of the type; see :mod:`.formats`.
    """

    extension: str
    media_type: str
    check: Check

    @property
    def noun(self) -> str:
        """The name of the type in a sentence, with its article: ``a PNG image``."""
        return NOUNS.get(self.media_type) or f"a file of the type {self.media_type}"


def _unknown(file: File) -> Steps[Dimensions | None]:
    """Check a file of a type that the deployer declared and this server does not know.

    Such a file may be anything except a page, a script or a program.
    """
    if kind := active.in_anything((yield from file.head())):
        raise Mismatch(f"it is {kind}")
    return None


_MEDIA = ("image/", "audio/", "video/")
_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

KNOWN = {
    extension: FileType(extension, media_type, check)
    for extensions, media_type, check in (
        ("txt", "text/plain", text.plain),
        ("csv", "text/csv", text.plain),
        ("md", "text/markdown", text.markdown),
        ("json", "application/json", text.json),
        ("pdf", "application/pdf", pdf.pdf),
        ("png", "image/png", hidden.image(images.png)),
        ("jpg jpeg", "image/jpeg", hidden.image(images.jpeg)),
        ("gif", "image/gif", hidden.image(images.gif)),
        ("webp", "image/webp", hidden.image(images.webp)),
        ("avif", "image/avif", hidden.image(isobmff.avif)),
        ("heic", "image/heic", hidden.image(isobmff.heic)),
        ("heif", "image/heif", hidden.image(isobmff.heif)),
        ("tif tiff", "image/tiff", hidden.image(images.tiff)),
        ("bmp", "image/bmp", hidden.image(images.bmp)),
        ("docx", _OOXML + "wordprocessingml.document", office.office(b"word/")),
        ("xlsx", _OOXML + "spreadsheetml.sheet", office.office(b"xl/")),
        ("pptx", _OOXML + "presentationml.presentation", office.office(b"ppt/")),
        ("odt", _ODF + "text", office.open_document(b"application/vnd.oasis.opendocument.text")),
        ("ods", _ODF + "spreadsheet", office.open_document(b"application/vnd.oasis.opendocument.spreadsheet")),
        ("odp", _ODF + "presentation", office.open_document(b"application/vnd.oasis.opendocument.presentation")),
        ("zip", "application/zip", archives.zip_),
        ("gz", "application/gzip", archives.gzip),
        ("mp3", "audio/mpeg", hidden.media(media.mp3)),
        ("wav", "audio/wav", hidden.media(media.wav)),
        ("ogg", "audio/ogg", hidden.media(media.ogg)),
        ("m4a", "audio/mp4", hidden.media(isobmff.mp4)),
        ("mp4", "video/mp4", hidden.media(isobmff.mp4)),
        ("mov", "video/quicktime", hidden.media(isobmff.quicktime)),
        ("webm", "video/webm", hidden.media(media.webm)),
    )
    for extension in extensions.split()
}
"""The types whose content this server can check, by extension."""

SHOWABLE = {
    extension: file_type
    for extension, file_type in KNOWN.items()
    if file_type.media_type.startswith(_MEDIA) or file_type.media_type == "application/pdf"
}
"""The known types that a browser may show without saving the file: images, sound, video and PDF documents. None of them
is a page, and each is checked."""

NOUNS = {
    "text/plain": "a text file",
    "text/csv": "a CSV file",
    "text/markdown": "a Markdown file",
    "application/json": "a JSON file",
    "application/pdf": "a PDF document",
    "image/png": "a PNG image",
    "image/jpeg": "a JPEG image",
    "image/gif": "a GIF image",
    "image/webp": "a WebP image",
    "image/avif": "an AVIF image",
    "image/heic": "an HEIC image",
    "image/heif": "an HEIF image",
    "image/tiff": "a TIFF image",
    "image/bmp": "a BMP image",
    _OOXML + "wordprocessingml.document": "a Word document",
    _OOXML + "spreadsheetml.sheet": "an Excel workbook",
    _OOXML + "presentationml.presentation": "a PowerPoint presentation",
    _ODF + "text": "an OpenDocument text",
    _ODF + "spreadsheet": "an OpenDocument spreadsheet",
    _ODF + "presentation": "an OpenDocument presentation",
    "application/zip": "a ZIP archive",
    "application/gzip": "a gzip file",
    "audio/mpeg": "an MP3 file",
    "audio/wav": "a WAV file",
    "audio/ogg": "an Ogg sound file",
    "audio/mp4": "an M4A file",
    "video/mp4": "an MP4 video",
    "video/quicktime": "a QuickTime video",
    "video/webm": "a WebM video",
}
"""The name of each known type in a sentence, by media type."""

_CHECKS = {file_type.media_type: file_type.check for file_type in KNOWN.values()}


def declared(extension: str, media_type: str) -> FileType:
    """Return the type of an extension that the deployer declares.

    With the media type of a known type (``jfif=image/jpeg``), its files are checked as files of that type. With a media
    type ``text/…`` they are checked as text. Other files may be anything except a page, a script or a program.

    :param extension: in lower case, and not in :data:`KNOWN`.
    :param media_type: in lower case.
    :raises ValueError: programs run files with this extension or media type. The text is a sentence with the reason.
    """
    if reason := runnable.reason(extension):
        raise ValueError(f"{extension!r} is not accepted as an extension: {reason}. Remove it from the list.")
    if active.is_active_media_type(media_type):
        raise ValueError(
            f"{media_type!r} is not accepted as a media type, because browsers or desktops run or render it. "
            "'application/octet-stream' is served as data."
        )
    if media_type in _CHECKS:
        return FileType(extension, media_type, _CHECKS[media_type])
    check = text.plain if media_type.startswith("text/") else _unknown
    return FileType(extension, media_type, hidden.media(check) if media_type.startswith(_MEDIA) else check)
