"""The header of a form's part (RFC 7578, section 4), as real clients write it. No I/O, neither Flask nor AWS.

Written by hand because ``werkzeug.http.parse_options_header`` takes the last of two equal parameters, drops every
backslash, and decodes only UTF-8. Each function here reads its text once, from left to right.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ..inspection.policy import clean_name
from ..problems import MalformedRequest

MAX_PARAMETERS = 32
"""The largest number of parameters of a field. Clients send two or three."""
MAX_DISPOSITION_CHARS = 8192
"""The longest ``Content-Disposition`` of a request that is read."""
MAX_ENCODED_WORDS = 32
"""The largest number of encoded words of a name. Each word has up to 75 characters (RFC 2047, section 2)."""

_CHARSETS = frozenset({
    "utf-8", "us-ascii", "iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-7", "iso-8859-9", "iso-8859-15",
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "koi8-r", "koi8-u", "big5",
    "euc-jp", "euc-kr", "gb2312", "gbk", "gb18030", "iso-2022-jp", "shift_jis",
})  # fmt: skip
"""The charsets that a client may name: those of mail programs, in which Delphi writes names. The names of Python's
other codecs would let a client choose slow ones."""

_UNCHANGED = frozenset({"7bit", "8bit", "binary"})
_TEXT_ENCODINGS = frozenset({"quoted-printable", "base64"})  # RFC 2045, section 6

_FOLD = re.compile(r"\r\n[\t ]++")  # RFC 5322, section 2.2.3
_PARAMETER = re.compile(r"[; \t]*+([^=;]*+)(=?)[ \t]*+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_IN_QUOTES = re.compile(r'\\["\\]|"(?=[ \t]*+(?:;|\Z))')
_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9_-]{1,40})\?([BbQq])\?([^?]*+)\?=[ \t]*+")


class FormPart(NamedTuple):
    """The names in a part's header.

    :param name: the name of the form's field; empty if there is none.
    :param file_name: the name of the file; empty if the user chose no file, ``None`` if the part is text.
    :param text_encoding: ``quoted-printable`` or ``base64`` if the text is encoded so, else empty. Delphi (Indy 10,
        ``AddFormField``) sends each text field as quoted-printable.
    """

    name: str
    file_name: str | None
    text_encoding: str = ""


def parse(block: bytes) -> FormPart:
    """Return the names in the header of a part.

    :param block: the lines between the boundary and the blank line, without the CRLF of the last one. The caller bounds
        its length.
    :raises MalformedRequest: the lines are not header fields, or two readers could read the header in two ways.
    """
    fields = _fields(block)
    dispositions = fields.get("content-disposition", [])
    if len(dispositions) != 1:
        raise MalformedRequest(
            "A part of the form does not have exactly one Content-Disposition. Send one with each part, such as: "
            'form-data; name="file"; filename="photo.jpg".'
        )
    _check_media_types(fields.get("content-type", []))
    given = _names_in(dispositions[0])
    file_name = _file_name(given)
    encoding = _encoding(fields.get("content-transfer-encoding", []), is_file=bool(file_name))
    return FormPart(_name(given) or "", file_name, encoding)


def file_name_in(disposition: str) -> str | None:
    """Return the name of the file in the ``Content-Disposition`` of a request; ``None`` without one.

    :param disposition: each byte as one character.
    :raises MalformedRequest: two readers could read the name in two ways, or the field is too long.
    """
    if len(disposition) > MAX_DISPOSITION_CHARS:
        raise MalformedRequest(f"Content-Disposition has more than {MAX_DISPOSITION_CHARS:,} characters. Send fewer.")
    return _file_name(_names_in(disposition)) or None


def _check_media_types(media_types: Iterable[str]) -> None:
    """Check that a part is not itself divided into parts.

    Without a boundary nobody can divide the part, so it is a file like any other (RFC 7578, section 4.3).

    :raises MalformedRequest: the part is multipart.
    """
    lowered = [media_type.lower() for media_type in media_types]
    if any(media_type.startswith("multipart/") and "boundary" in media_type for media_type in lowered):
        raise MalformedRequest("A part of the form is itself multipart. Send each file as a part of the form.")


def _names_in(disposition: str) -> dict[str, str]:
    """Return the parameters of a ``Content-Disposition`` that name the field or the file.

    :raises MalformedRequest: a parameter comes twice, or is split into pieces.
    """
    given: dict[str, str] = {}
    for parameter, value in parameters(disposition):
        kind = parameter.partition("*")[0]
        if kind not in {"name", "filename"}:
            continue
        if parameter in given:
            raise MalformedRequest(f"A part of the form has more than one {parameter}. Send each parameter once.")
        if parameter not in {kind, f"{kind}*"}:  # RFC 2231, section 3
            raise MalformedRequest(f"A part of the form splits its {kind} into pieces. Send it in one piece.")
        given[parameter] = value
    return given


def _encoding(transfer_encodings: Iterable[str], *, is_file: bool) -> str:
    """Return the encoding of a text part; empty if the bytes are unchanged (RFC 7578, section 4.7).

    :param transfer_encodings: the values of ``Content-Transfer-Encoding``.
    :param is_file: whether the part is a file. The bytes of a file must be unchanged.
    :raises MalformedRequest: the bytes of the part are encoded.
    """
    encodings = {value.lower() for value in transfer_encodings}
    if encodings <= _UNCHANGED:
        return ""
    if is_file or len(encodings) > 1 or not encodings <= _TEXT_ENCODINGS:
        raise MalformedRequest(
            "A part of the form has a Content-Transfer-Encoding. Send the bytes of the file unchanged."
        )
    return encodings.pop()


def parameters(field: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a field such as ``form-data; name=file``, each with its name in lower case.

    Between quotes, ``\\"`` and ``\\\\`` are escapes (RFC 9110, section 5.6.4). Every other backslash stays, because
    browsers do not escape it (WHATWG HTML, "Multipart form data") and old ones send a Windows path. For the same reason
    a quote ends a value only before a semicolon or at the end of the field. A value without quotes ends there too.

    :param field: the value of the field, each byte as one character.
    :raises MalformedRequest: a quote is not closed, a name is not a token, or there are too many parameters.
    """
    field = field.rstrip(" \t")
    at, count = field.find(";"), 0
    while 0 <= at < len(field) and (match := _PARAMETER.match(field, at)):
        count += 1
        if count > MAX_PARAMETERS:
            raise MalformedRequest(f"A header field has more than {MAX_PARAMETERS} parameters. Send fewer.")
        name, at = match[1].rstrip(" \t").lower(), match.end()
        if not match[2]:  # a parameter has "="
            continue
        if not _TOKEN.fullmatch(name):
            raise MalformedRequest(
                'A header field has a parameter whose name is not valid. Write it like name="value".'
            )
        if field.startswith('"', at):
            value, at = _quoted(field, at + 1)
        else:
            end = field.find(";", at)
            end = len(field) if end < 0 else end
            value, at = field[at:end].rstrip(" \t"), end
        yield name, value


def _quoted(field: str, start: int) -> tuple[str, int]:
    """Return the value whose opening quote is just before ``start``, and the place after its closing quote.

    :raises MalformedRequest: no quote closes it, or another reader could find its end at an earlier quote.
    """
    pieces: list[str] = []
    at, escaped_quotes = start, 0
    for special in _IN_QUOTES.finditer(field, start):
        end = special.start()
        if special[0] == '\\"' and special.end() == len(field):
            end += 1  # the value ends in a backslash, since no other quote could close it
        elif special[0] != '"':
            pieces.append(field[at:end] + special[0][1])
            at = special.end()
            escaped_quotes += special[0] == '\\"'
            continue
        if field.count('"', start, end) > escaped_quotes and ";" in field[start:end]:
            raise MalformedRequest("A header field has a quote inside a value. Write it as %22, as browsers do.")
        return "".join(pieces) + field[at:end], special.end()
    raise MalformedRequest("A header field has a quote that is not closed. Close it before the end of the line.")


def _fields(block: bytes) -> dict[str, list[str]]:
    """Return the values of each header field, by its name in lower case.

    :raises MalformedRequest: a line is not like ``Name: value``, or does not end in CRLF.
    """
    fields: dict[str, list[str]] = {}
    for line in _FOLD.sub(" ", block.decode("latin-1")).split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or "\r" in line or "\n" in line:
            raise MalformedRequest(
                "A line in the header of a part is not like 'Name: value' with CRLF at its end. "
                "Let an HTTP library write the form."
            )
        fields.setdefault(name.strip(" \t").lower(), []).append(value.strip(" \t"))
    return fields


def _name(given: dict[str, str]) -> str | None:
    plain, extended = _both(given, "name")
    if plain is not None and extended is not None and plain != extended:
        raise MalformedRequest("A part of the form has two different names, name and name*. Send only name.")
    return plain if extended is None else extended


def _file_name(given: dict[str, str]) -> str | None:
    """Return ``filename*`` if it is there and can be decoded, else ``filename`` (RFC 6266, section 4.3).

    :raises MalformedRequest: they differ in their extension, so another reader could take the file for another type.
    """
    plain, extended = _both(given, "filename")
    if plain is not None and extended is not None and _extension(plain) != _extension(extended):
        raise MalformedRequest(
            "A part of the form has two file names with different extensions, filename and filename*. "
            "Send the same name in both, or only filename."
        )
    return plain if extended is None else extended


def _both(given: dict[str, str], parameter: str) -> tuple[str | None, str | None]:
    """Return the parameter and its extended form, both decoded. ``None`` stands for one that is missing or useless."""
    plain, extended = given.get(parameter), given.get(f"{parameter}*")
    if extended is None:
        return None if plain is None else decoded(plain), None
    name = _decoded_extended(extended)
    if plain is None:
        # Without another name to fall back on, read as much of it as possible.
        return None, decoded(unquote_to_bytes(extended.rpartition("'")[2]).decode("latin-1")) if name is None else name
    return decoded(plain), name


def _extension(name: str) -> str:
    _, dot, extension = clean_name(name).rpartition(".")
    return dot and extension.lower()


def _decoded_extended(value: str) -> str | None:
    """Decode an extended value such as ``utf-8''na%C3%AFve.txt`` (RFC 8187, section 3.2); ``None`` if that fails."""
    charset, _, rest = value.partition("'")
    _, mark, encoded = rest.partition("'")
    if not mark:
        return None
    name = _decode(unquote_to_bytes(encoded.encode("latin-1")), charset)
    if name is not None and name.startswith("UTF-8''"):  # Apache HttpClient 5.5 can encode the value twice
        return _decode(unquote_to_bytes(name.removeprefix("UTF-8''")), "utf-8")
    if name is not None and len(name) > 2 and name[0] == name[-1] == '"':
        # .NET programs write quotes around a name, and .NET takes them off again in filename only.
        return name[1:-1]
    return name


def decoded(value: str) -> str:
    """Decode a name from a header.

    Most clients send UTF-8. Others send the charset of their page or system, and no header field names it: their bytes
    are read as Windows-1252. A name in ASCII can also be encoded: as encoded words (RFC 2047), as .NET Framework does,
    or with percent signs, as aiohttp and React Native do.

    :param value: the name, each byte as one character.
    """
    raw = value.encode("latin-1")
    name = _decode(raw, "utf-8")
    if name is None:
        name = raw.decode("windows-1252", "replace")  # it leaves five bytes undefined
    if name.isascii():
        if (words := _encoded_words(name)) is not None:
            return words
        # Percent signs that stand for ASCII only may just as well belong to the name, as in "100%25.txt".
        unquoted = _decode(unquote_to_bytes(name), "utf-8")
        if unquoted is not None and not unquoted.isascii():
            return unquoted
    # Browsers escape these three, and no others (WHATWG HTML, "Multipart form data").
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _encoded_words(text: str) -> str | None:
    """Decode a text that holds only encoded words in one charset (RFC 2047); ``None`` for any other text."""
    charsets, content, at = set(), b"", 0
    for _ in range(MAX_ENCODED_WORDS):
        word = _ENCODED_WORD.match(text, at)
        if not word:
            return None
        charset, encoding, encoded = word.groups()
        charsets.add(charset.lower())
        try:
            if encoding in "Bb":
                content += base64.b64decode(encoded, validate=True)
            else:
                content += binascii.a2b_qp(encoded, header=True)
        except binascii.Error:
            return None
        at = word.end()
        if at == len(text):
            # Several words may divide one character, although they should not.
            return _decode(content, charsets.pop()) if len(charsets) == 1 else None
    return None


def _decode(content: bytes, charset: str) -> str | None:
    """Decode the bytes; ``None`` if the charset is unknown here, or the bytes are not valid in it."""
    try:
        return content.decode(charset) if charset.lower() in _CHARSETS else None
    except UnicodeDecodeError:
        return None
