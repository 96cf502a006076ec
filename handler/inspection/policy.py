"""What may come in: safe names, size and content checks. Pure: no I/O, neither Flask nor AWS."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from werkzeug.utils import secure_filename

from ..problems import ContentMismatch, EmptyFile, FileTooLarge, ImageTooLarge, TypeNotAllowed
from .filetypes import FileType
from .formats import File, Mismatch, Steps, T, Unsafe

MAX_STEM_CHARS = 80
MAX_ORIGINAL_CHARS = 150
"""What is kept of the client's own name. As RFC 8187 writes it, a character takes up to 12 bytes, and S3 limits all
the metadata of an object to 2 KB; no file system takes names of over 255 bytes either."""
MAX_EXTENSION_CHARS = 20
FALLBACK_STEM = "file"

# Characters that nobody sees, although they are letters, marks or symbols: the Default_Ignorable_Code_Point of Unicode
# (section 5.21) that are not format characters, and three that look blank (of Braille, Khitan and music).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")

# What Windows takes for devices, whatever extension follows (Microsoft: "Naming files, paths and namespaces").
_DEVICE = re.compile(r"(con|prn|aux|nul|conin|conout|clock|com\d|lpt\d)", re.IGNORECASE)

_ACTIVE = re.compile(r"html|svg|xml\b|script|x-msdownload|x-sh\b|x-httpd", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What may come in.

    :param file_types: what is allowed, by extension.
    :param max_file_bytes: what one file may hold.
    :param max_image_pixels: what an image may hold, width times height.
    :param allow_empty_files: whether a file may hold nothing at all.
    """

    file_types: Mapping[str, FileType]
    max_file_bytes: int
    max_image_pixels: int
    allow_empty_files: bool = False

    def narrowed(self, *, max_bytes: int | None, extensions: Collection[str] | None) -> Policy:
        """The same, but no more than that; ``None`` changes nothing."""
        file_types, max_file_bytes = self.file_types, self.max_file_bytes
        if extensions is not None:
            file_types = {extension: each for extension, each in file_types.items() if extension in extensions}
        if max_bytes is not None:
            max_file_bytes = min(max_bytes, max_file_bytes)
        return replace(self, file_types=file_types, max_file_bytes=max_file_bytes)


@dataclass(frozen=True, slots=True)
class FileName:
    """A name that passed.

    :param original: the client's name, without folders and invisible characters: for people, never for a path.
    :param safe: the name that the file is stored under: ASCII, one dot, never empty.
    """

    original: str
    safe: str
    file_type: FileType


def clean_name(client_name: str) -> str:
    """The client's name as it may be shown: no folders, controls or invisible characters, at most 150 characters.

    Format characters (zero-width, bidirectional overrides) go, because ``evil\u202egnp.exe`` reads "evilexe.png".
    Variation selectors and fillers go, because two names that look the same must be the same. An emoji stays, in its
    plain form.
    """
    base = _INVISIBLE.sub("", re.split(r"[/\\]", client_name)[-1])  # some clients send the whole path
    visible = "".join(char for char in base if unicodedata.category(char) not in _INVISIBLE_CATEGORIES)
    stem, dot, extension = visible.strip().rpartition(".")
    if not dot:
        stem, extension = extension, ""
    end = dot + extension[:MAX_EXTENSION_CHARS]
    return stem[: MAX_ORIGINAL_CHARS - len(end)] + end


def inspect_name(client_name: str, *, file_types: Mapping[str, FileType]) -> FileName:
    """Decide by the name alone, before a byte of the file is needed.

    :param client_name: whatever the client says the file is called.
    :param file_types: what is allowed, by extension.
    :raises TypeNotAllowed: the extension is not allowed, or there is none.
    """
    original = clean_name(client_name)
    stem, dot, extension = original.rpartition(".")
    file_type = file_types.get(extension.lower()) if dot else None
    if file_type is None:
        what = f"files of type .{extension}" if dot and extension else "files without an extension"
        raise TypeNotAllowed(
            f"'{original or 'The file'}': {what} are not allowed. Allowed are: {', '.join(file_types) or 'none'}.",
            file_name=original,
            allowed=list(file_types),
        )
    return FileName(original=original, safe=f"{_safe_stem(stem)}.{file_type.extension}", file_type=file_type)


def _safe_stem(stem: str) -> str:
    # secure_filename keeps inner dots, and "a.php" is run as PHP by some servers whatever follows: so no dot is left.
    # Not before it has run, since it makes dots of what looks like one, such as U+FF0E (NFKD).
    safe = secure_filename(stem).replace(".", "_")[:MAX_STEM_CHARS].strip("_-") or FALLBACK_STEM
    return f"{FALLBACK_STEM}_{safe}" if _DEVICE.fullmatch(safe) else safe


def inspect_size(name: FileName, *, size: int, max_file_bytes: int) -> None:
    """Decide by the size so far, in bytes; to be asked again as it grows.

    :raises FileTooLarge: it is over the limit.
    """
    if size > max_file_bytes:
        raise FileTooLarge(
            f"'{name.original}' is larger than a file may be: {max_file_bytes:,} bytes.",
            file_name=name.original,
            max_bytes=max_file_bytes,
        )


def inspect_media_type(name: FileName, *, media_type: str) -> None:
    """Decide by what a client says the type is, where it says so before it sends a byte. Nothing more is made of it:
    browsers know few types, and some by other names; but what one would run is not what the file's name says.

    :raises TypeNotAllowed: it is a page, a script or the like.
    """
    if _ACTIVE.search(media_type):
        raise TypeNotAllowed(
            f"'{name.original}' is said to be {media_type[:100]!r}, and its name says {name.file_type.media_type}. "
            "Send the file with the extension of its real type.",
            file_name=name.original,
        )


def inspect_empty(name: FileName, *, allow_empty: bool) -> None:
    """Decide about a file that holds nothing.

    :raises EmptyFile: that is not allowed.
    """
    if not allow_empty:
        raise EmptyFile(f"'{name.original}' is empty.", file_name=name.original)


def inspect_content(name: FileName, *, size: int, max_image_pixels: int, allow_empty: bool = False) -> Steps[None]:
    """Decide by the content, which it asks for piece by piece; to be run by :func:`run`.

    :param size: of the whole file, in bytes.
    :param max_image_pixels: what an image may hold, width times height.
    :param allow_empty: whether it may hold nothing at all.
    :raises EmptyFile: there is nothing in it.
    :raises ContentMismatch: it is not of the type that its name says.
    :raises ImageTooLarge: it is an image, and its header tells of more pixels.
    """
    if size == 0:
        inspect_empty(name, allow_empty=allow_empty)
        return
    file_type = name.file_type
    try:
        dimensions = yield from file_type.check(File(size))
    except Mismatch as mismatch:
        short = "cannot be accepted" if isinstance(mismatch, Unsafe) else f"is not {file_type.noun}"
        raise ContentMismatch(
            f"'{name.original}' {short}. {mismatch.reason[:1].upper()}{mismatch.reason[1:]}. {mismatch.advice}",
            file_name=name.original,
            media_type=file_type.media_type,
        ) from None
    if dimensions and dimensions.width * dimensions.height > max_image_pixels:
        raise ImageTooLarge(
            f"'{name.original}' is an image of {dimensions.width:,} by {dimensions.height:,} pixels. It may have "
            f"{max_image_pixels:,} in all.",
            file_name=name.original,
            width=dimensions.width,
            height=dimensions.height,
            max_pixels=max_image_pixels,
        )


def run(steps: Steps[T], read: Callable[[int, int], bytes]) -> T:
    """Give a check what it asks for.

    :param read: returns bytes of the file, by offset and length.
    :returns: what the check returns; what it raises, and what ``read`` does, goes on.
    """
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(read(wanted.offset, wanted.length))
    except StopIteration as done:
        result: T = done.value
        return result
