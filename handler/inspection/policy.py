"""The policy that a file must pass: its name, its size and its content. Pure: no I/O, neither Flask nor AWS."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from werkzeug.utils import secure_filename

from ..problems import ContentMismatch, EmptyFile, FileTooLarge, ImageTooLarge, TypeNotAllowed
from .filetypes import FileType
from .formats import Damaged, Dimensions, File, Mismatch, Steps, T, Unsafe

MAX_STEM_CHARS = 80
MAX_ORIGINAL_CHARS = 150
"""How many characters of the client's name are kept. RFC 8187 writes a character in up to 12 bytes, and S3 limits the
metadata of an object to 2 KB. File systems reject names of more than 255 bytes."""
MAX_EXTENSION_CHARS = 20
MAX_SHOWN_MEDIA_TYPE_CHARS = 100
"""How many characters of the client's media type an error shows."""
MIN_BEGINNING_BYTES = 32
"""The shortest beginning of a file that is checked: longer than every signature."""
FALLBACK_STEM = "file"
_BLANKS = b" \t\n\r\x0b\x0c\x00\xef\xbb\xbf"
"""The bytes that may stand before a signature: white space and the byte order mark of UTF-8."""

# Invisible characters that Unicode counts as letters, marks or symbols: its Default_Ignorable_Code_Point (section 5.21)
# without the format characters, and three that look blank (of Braille, Khitan and music).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")

# Windows opens a device for these names, with any extension (Microsoft: "Naming files, paths and namespaces").
_DEVICE = re.compile(r"(con|prn|aux|nul|conin|conout|clock|com\d|lpt\d)", re.IGNORECASE)

_ACTIVE = re.compile(r"html|svg|xml\b|script|x-msdownload|x-sh\b|x-httpd", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileName:
    """A name that passed the policy.

    :param original: the client's name, without folders and invisible characters. It is shown to people and never used
        as a path.
    :param safe: the name that the file is stored under: ASCII, one dot, never empty.
    :param file_type: the type that the extension stands for.
    """

    original: str
    safe: str
    file_type: FileType


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The files that may be uploaded.

    :param file_types: the allowed types, by extension.
    :param max_file_bytes: the largest file, in bytes.
    :param max_image_pixels: the largest image, in pixels: width times height.
    :param allow_empty_files: whether a file of no bytes is allowed.
    """

    file_types: Mapping[str, FileType]
    max_file_bytes: int
    max_image_pixels: int
    allow_empty_files: bool = False

    def narrowed(self, *, max_bytes: int | None = None, extensions: Collection[str] | None = None) -> Policy:
        """Return this policy with further limits. ``None`` adds no limit, and no limit ever grows.

        :param max_bytes: the largest file, in bytes.
        :param extensions: the extensions that stay allowed.
        """
        file_types, max_file_bytes = self.file_types, self.max_file_bytes
        if extensions is not None:
            file_types = {name: file_type for name, file_type in file_types.items() if name in extensions}
        if max_bytes is not None:
            max_file_bytes = min(max_bytes, max_file_bytes)
        return replace(self, file_types=file_types, max_file_bytes=max_file_bytes)

    def inspect_name(self, client_name: str) -> FileName:
        """Decide by the name only, before a byte of the file is needed.

        :param client_name: the name as the client sent it, of any length and with any characters.
        :raises TypeNotAllowed: the extension is not allowed, or the name has none.
        """
        original = clean_name(client_name)
        stem, dot, extension = original.rpartition(".")
        file_type = self.file_types.get(extension.lower()) if dot else None
        if file_type is None:
            rejected = f"files of type .{extension}" if dot and extension else "files without an extension"
            raise TypeNotAllowed(
                f"'{original or 'The file'}': {rejected} are not allowed. "
                f"Allowed are: {', '.join(self.file_types) or 'none'}.",
                file_name=original,
                allowed=list(self.file_types),
            )
        return FileName(original=original, safe=f"{_safe_stem(stem)}.{file_type.extension}", file_type=file_type)

    def inspect_media_type(self, name: FileName, media_type: str) -> None:
        """Decide by the media type that the client declares before it sends the file.

        Only active types (pages, scripts, programs) are rejected. Browsers know few types, and some under other names,
        so any other declared type is ignored.

        :raises TypeNotAllowed: the client declares an active type.
        """
        if _ACTIVE.search(media_type):
            raise TypeNotAllowed(
                f"'{name.original}' is declared as {media_type[:MAX_SHOWN_MEDIA_TYPE_CHARS]!r}, but its extension "
                f"stands for {name.file_type.media_type}. Send the file with the extension of its real type.",
                file_name=name.original,
            )

    def inspect_growing_size(self, name: FileName, size: int) -> None:
        """Decide by the bytes that have arrived so far. Call this again while the file grows.

        :param size: in bytes.
        :raises FileTooLarge: the size is over the limit.
        """
        if size > self.max_file_bytes:
            raise FileTooLarge(
                f"'{name.original}' is larger than a file may be: {self.max_file_bytes:,} bytes.",
                file_name=name.original,
                max_bytes=self.max_file_bytes,
            )

    def inspect_size(self, name: FileName, size: int) -> None:
        """Decide by the size of the whole file.

        :param size: in bytes.
        :raises FileTooLarge: the size is over the limit.
        :raises EmptyFile: the file is empty, and empty files are not allowed.
        """
        self.inspect_growing_size(name, size)
        if size == 0 and not self.allow_empty_files:
            raise EmptyFile(f"'{name.original}' is empty. Send a file with content.", file_name=name.original)

    def inspect_content(self, name: FileName, *, size: int, read: Callable[[int, int], bytes]) -> None:
        """Decide by the size and the content of the whole file.

        :param size: in bytes.
        :param read: returns bytes of the file, by offset and length. Only the bytes that a check needs are read.
        :raises FileTooLarge: the size is over the limit.
        :raises EmptyFile: the file is empty, and empty files are not allowed.
        :raises ContentMismatch: the content is not of the type that the extension stands for.
        :raises ImageTooLarge: the header of the image declares too many pixels.
        """
        self.inspect_size(name, size)
        if size == 0:
            return
        dimensions = _check_type(name, size=size, read=read)
        if dimensions and dimensions.width * dimensions.height > self.max_image_pixels:
            raise ImageTooLarge(
                f"'{name.original}' is an image of {dimensions.width:,} by {dimensions.height:,} pixels. It may have "
                f"{self.max_image_pixels:,} in all. Send a smaller image.",
                file_name=name.original,
                width=dimensions.width,
                height=dimensions.height,
                max_pixels=self.max_image_pixels,
            )

    def inspect_beginning(self, name: FileName, *, size: int, beginning: bytes) -> None:
        """Decide by the first bytes, before the rest has arrived. Only the whole file can pass: see
        :meth:`inspect_content`.

        A beginning that shows nothing yet, or looks like that of a damaged file, is not refused.

        :param size: of the whole file, in bytes. If it is unknown, an even number that the file cannot exceed.
        :param beginning: at most the whole file.
        :raises ContentMismatch: no file that begins so is of the type that the extension stands for.
        :raises ImageTooLarge: the header of the image declares too many pixels.
        """
        if len(beginning.lstrip(_BLANKS)) < min(MIN_BEGINNING_BYTES, size):
            return
        try:
            self.inspect_content(name, size=size, read=_Beginning(beginning).read)
        except _NotArrived:
            pass
        except ContentMismatch as refusal:
            if not isinstance(refusal.__cause__, Damaged):
                raise


class _NotArrived(Exception):
    """A check needs bytes that have not arrived."""


class _Beginning:
    """The first bytes of a file.

    The first question of a check is for the head of the file, of which the first bytes decide most. So the answer to
    that question can be shorter.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._is_first = True

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > len(self._data) and (offset or not self._is_first):
            raise _NotArrived
        self._is_first = False
        return self._data[offset : offset + length]


def clean_name(client_name: str) -> str:
    """Return the client's name as it may be shown: without folders and invisible characters, at most 150 characters.

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


def _safe_stem(stem: str) -> str:
    # secure_filename keeps inner dots. Some servers run "a.php.txt" as PHP, so no dot may stay. secure_filename comes
    # first, because it turns lookalikes such as U+FF0E into dots (NFKD).
    safe = secure_filename(stem).replace(".", "_")[:MAX_STEM_CHARS].strip("_-") or FALLBACK_STEM
    return f"{FALLBACK_STEM}_{safe}" if _DEVICE.fullmatch(safe) else safe


def _check_type(name: FileName, *, size: int, read: Callable[[int, int], bytes]) -> Dimensions | None:
    """Run the check of the file's type.

    :returns: the dimensions, if the file is an image.
    :raises ContentMismatch: the content is not of that type.
    """
    file_type = name.file_type
    try:
        return run(file_type.check(File(size)), read)
    except Mismatch as mismatch:
        verdict = "cannot be accepted" if isinstance(mismatch, Unsafe) else f"is not {file_type.noun}"
        raise ContentMismatch(
            f"'{name.original}' {verdict}. {mismatch.reason[:1].upper()}{mismatch.reason[1:]}. {mismatch.advice}",
            file_name=name.original,
            media_type=file_type.media_type,
        ) from mismatch


def run(steps: Steps[T], read: Callable[[int, int], bytes]) -> T:
    """Run a check to its end.

    :param steps: the check, which asks for one range of bytes after the other.
    :param read: returns bytes of the file, by offset and length. Errors from ``read`` are not caught.
    :returns: the result of the check.
    """
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(read(wanted.offset, wanted.length))
    except StopIteration as done:
        result: T = done.value
        return result
