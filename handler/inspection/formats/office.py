"""Documents that are zip files: Office (ECMA-376) and OpenDocument.

The checks unpack two entries at most, each up to a limit: the list of content types of an Office document, and the
media type or the manifest of an OpenDocument file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from ...units import MIB
from . import Check, Damaged, Dimensions, File, Mismatch, Steps, Unsafe
from .archives import LOCKED, UNLOCK, Entry, read_entries, unpack

MAX_CONTENT_TYPES_BYTES = MIB
"""The largest list of content types or manifest, packed and unpacked. It is enough for about eight thousand parts."""
_MAX_MEDIA_TYPE_BYTES = 256

# The parts where Office and LibreOffice keep macros, as _normal writes their names.
_MACRO_NAME = re.compile(rb"(?:^|/)vba(?:project|data)[^/]*$|^xl/macrosheets/|^(?:object [^/]*/)?(?:basic|scripts)/")
# The content types of Office's macros, and of the documents that may hold macros (MS-OFFMACRO2, MS-XLSB).
_MACRO_TYPE = re.compile(r"macroenabled|vbaproject|vbadata|macrosheet", re.IGNORECASE)
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OFFICE_KINDS = {b"word/": "wordprocessingml", b"xl/": "spreadsheetml", b"ppt/": "presentationml"}
_CONTENT_TYPES = b"[content_types].xml"
_MANIFEST = b"meta-inf/manifest.xml"


def office(folder: bytes) -> Check:
    """Return the check of an Office document (ECMA-376, part 2).

    The document is a zip with the parts of every package and the parts of its own kind, without macros. Office finds
    macros by the names of the parts and by the content types in the document, so the check looks at both. Names are
    compared without regard to case (part 2, section 6.3.2.3), and a backslash counts as a slash.

    :param folder: a key of :data:`_OFFICE_KINDS`. The kind of the document shows by a part in this folder, or by the
        content type of a part.
    """
    main_type = re.compile(
        rf"application/vnd\.openxmlformats-officedocument\.{_OFFICE_KINDS[folder]}\.[a-z]+\.main\+xml", re.IGNORECASE
    )

    def check(file: File) -> Steps[Dimensions | None]:
        yield from _refuse_compound_file(file)
        entries = yield from read_entries(file)
        names = _part_names(entries)
        xml = yield from _read_single(file, entries, _CONTENT_TYPES, MAX_CONTENT_TYPES_BYTES)
        if xml is None or b"_rels/.rels" not in names:
            raise Mismatch("it is not an Office document")
        content_types = _content_types(xml, names)
        if not any(map(main_type.fullmatch, content_types)) and not any(name.startswith(folder) for name in names):
            raise Mismatch("it is an Office document of another kind")
        if any(map(_MACRO_TYPE.search, content_types)):
            raise Unsafe("it has macros")
        _refuse_macro_names(names)
        return None

    return check


def open_document(media_type: bytes) -> Check:
    """Return the check of an OpenDocument file (OpenDocument 1.3, part 2, sections 3.2 and 3.3).

    The file is a zip with a manifest and an entry ``mimetype`` that names the media type, without macros. The entry
    should be the first and not compressed, but programs that pack a document again ignore this rule. Without the entry,
    the media type in the manifest counts. LibreOffice reads all of these files.

    :param media_type: the media type that the document must name.
    """

    def check(file: File) -> Steps[Dimensions | None]:
        yield from _refuse_compound_file(file)
        entries = yield from read_entries(file)
        names = _part_names(entries)
        if _MANIFEST not in names:
            raise Mismatch("it has no manifest")
        named = yield from _read_single(file, entries, b"mimetype", _MAX_MEDIA_TYPE_BYTES)
        if named is None:
            manifest = yield from _read_single(file, entries, _MANIFEST, MAX_CONTENT_TYPES_BYTES)
            named = _manifest_media_type(manifest or b"")
        if named.strip() != media_type:
            raise Mismatch("its 'mimetype' entry or its manifest does not name this type")
        if b"encrypted-package" in names:  # LibreOffice packs a document with a password into this part
            raise Unsafe(LOCKED, advice=UNLOCK)
        _refuse_macro_names(names)
        return None

    return check


def _refuse_compound_file(file: File) -> Steps[None]:
    """Refuse a compound file (MS-CFB) with the right reason.

    Office writes a document with a password as a compound file (MS-OFFCRYPTO, section 2.3.4). Before 2007 Office wrote
    all documents as compound files.

    :raises Mismatch: the file is a compound file.
    """
    head = yield from file.head()
    if not head.startswith(_COMPOUND_FILE):
        return
    directory = b""
    if len(head) >= 76:
        shift, first_sector = struct.unpack_from("<30xH16xI", head)
        directory = yield from file.read((first_sector + 1) << min(shift, 12), 4096)
    if any("EncryptedPackage".encode("utf-16-le") in data for data in (head, directory, (yield from file.tail()))):
        raise Unsafe(LOCKED, advice=UNLOCK)
    raise Mismatch(
        "it is in the format of Office before 2007, or it has a password",
        advice="Save it in the current format, without a password.",
    )


def _part_names(entries: Sequence[Entry]) -> set[bytes]:
    return {_normal(name) for entry in entries for name in entry.names}


def _normal(name: bytes) -> bytes:
    """Return the name of a part as Office compares names: with slashes, and in lower case."""
    return name.replace(b"\\", b"/").lower()


def _refuse_macro_names(names: set[bytes]) -> None:
    if any(map(_MACRO_NAME.search, names)):
        raise Unsafe("it has macros")


def _read_single(file: File, entries: Sequence[Entry], name: bytes, limit: int) -> Steps[bytes | None]:
    """Return the content of the only entry with this name; ``None`` if no entry has the name.

    :param name: as :func:`_normal` writes it.
    :param limit: the largest size of the content in bytes, packed and unpacked.
    :raises Mismatch: several entries have the name, or the entry cannot be unpacked.
    """
    named = [entry for entry in entries if any(_normal(other) == name for other in entry.names)]
    if not named:
        return None
    if len(named) > 1:
        raise Unsafe(f"it has several entries named '{name.decode()}'")
    return (yield from unpack(file, named[0], limit, name.decode()))


def _content_types(xml: bytes, names: set[bytes]) -> set[str]:
    """Return the content types that an Office document gives to its parts (ECMA-376, part 2, section 7.2.3).

    The content type of an extension counts if a part has this extension and no content type of its own. Some programs
    declare content types for extensions that no part has, even the content types of macros.

    :param names: the names of the parts, as :func:`_normal` writes them.
    :raises Mismatch: the list of content types is damaged, or it declares entities.
    """
    elements = _elements(xml, ("Override", "Default"), "its list of content types")
    own_names = {attributes.get("PartName", "").lower().encode() for attributes in elements}
    extensions = {unquote_to_bytes(name).rpartition(b".")[2] for name in names if b"/" + name not in own_names}
    return {
        attributes.get("ContentType", "")
        for attributes in elements
        if "PartName" in attributes or attributes.get("Extension", "").lower().encode() in extensions
    }


def _manifest_media_type(xml: bytes) -> bytes:
    """Return the media type that the manifest of an OpenDocument file gives to the document; empty without one."""
    for attributes in _elements(xml, ("file-entry",), "its manifest"):
        if attributes.get("full-path") == "/":
            return attributes.get("media-type", "").encode()
    return b""


def _elements(xml: bytes, wanted: Sequence[str], label: str) -> list[dict[str, str]]:
    """Return the attributes of each wanted element in an XML document. All names are without their prefix.

    :param label: the name of the XML document in a sentence.
    :raises Mismatch: the content is not XML, or declares entities, which no such document needs.
    """
    from xml.parsers import expat  # noqa: PLC0415  (only documents need it)

    elements: list[dict[str, str]] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] in wanted:
            elements.append({key.rpartition(":")[2]: value for key, value in attributes.items()})

    def refuse(*_declaration: object) -> None:
        raise Unsafe(f"{label} declares entities")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, LookupError, ValueError):  # an unknown encoding raises one of the latter two
        raise Damaged(f"{label} is damaged") from None
    return elements
