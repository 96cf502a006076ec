"""Documents that are zip files: Office and OpenDocument."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from handler.inspection.formats.office import MAX_CONTENT_TYPES_BYTES

from ..support import filetype_samples as made
from ..support.checks import inspect, refusal
from ..support.filetype_samples import ODF

# Office.

CONTENT_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def content_types(*elements: str, encoding: str = "utf-8") -> bytes:
    text = f'<?xml version="1.0" encoding="{encoding}"?><Types xmlns="{CONTENT_TYPES}">{"".join(elements)}</Types>'
    return text.encode(encoding)


def override(part: str, content_type: str) -> str:
    return f'<Override PartName="{part}" ContentType="{content_type}"/>'


def default(extension: str, content_type: str) -> str:
    return f'<Default Extension="{extension}" ContentType="{content_type}"/>'


def document(types: bytes, *more: str, stored: bool = False) -> bytes:
    parts = {"[Content_Types].xml": types, "_rels/.rels": b"<x/>", "word/document.xml": b"<x/>"}
    return made.make_zip(parts | dict.fromkeys(more, b"x"), stored=list(parts) if stored else [])


def test_ordinary_document_is_accepted() -> None:
    types = content_types(default("xml", "application/xml"), override("/word/document.xml", MAIN))
    inspect("docx", document(types))
    inspect("docx", document(types, stored=True))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
        "application/vnd.ms-office.vbaProject",
        "application/vnd.ms-office.vbaProjectSignature",
        "application/vnd.ms-word.vbaData+xml",
        "application/vnd.ms-excel.macrosheet+xml",
        "application/vnd.ms-excel.intlmacrosheet+xml",
        "APPLICATION/VND.MS-OFFICE.VBAPROJECT",
        "application/vnd.ms-office.vba&#80;roject",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_macros_under_any_part_name_are_refused(content_type: str, encoding: str) -> None:
    types = content_types(
        override("/word/document.xml", MAIN), override("/word/x.bin", content_type), encoding=encoding
    )
    assert refusal("docx", document(types, "word/x.bin")) == "it has macros"
    assert refusal("docx", document(types, "word/x.bin", stored=True)) == "it has macros"
    types = content_types(override("/word/document.xml", MAIN), default("BIN", content_type), encoding=encoding)
    assert refusal("docx", document(types, "word/x.bin")) == "it has macros"
    assert refusal("docx", document(types, "word/x%2Ebin")) == "it has macros"


def test_type_of_an_extension_that_no_part_has_is_accepted() -> None:
    """SheetJS declares the type of binary workbooks in each workbook that it writes."""
    types = content_types(
        default("bin", "application/vnd.ms-excel.sheet.binary.macroEnabled.main"),
        override("/word/document.xml", MAIN),
        override("/word/printer.bin", "application/vnd.openxmlformats-officedocument.wordprocessingml.printerSettings"),
    )
    inspect("docx", document(types, "word/printer.bin"))


@pytest.mark.parametrize(
    "name", [r"word\vbaProject.bin", "word/vbaproject.BIN", "WORD/vbaData.xml", "word/vbaProjectSignature.bin"]
)
def test_macros_under_the_usual_part_name_are_refused(name: str) -> None:
    assert refusal("docx", document(content_types(), name)) == "it has macros"


def test_content_types_are_read_to_their_end() -> None:
    padding = "<!--" + "x" * 100_000 + "-->"
    inspect("docx", document(content_types(padding)))
    types = content_types(padding, override("/word/x", "application/vnd.ms-office.vbaProject"))
    assert refusal("docx", document(types, "word/x")) == "it has macros"
    long = content_types("<!--" + "x" * MAX_CONTENT_TYPES_BYTES + "-->")
    assert "larger than 1,048,576 bytes" in refusal("docx", document(long))


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        (b"", "damaged"),
        (b"<x", "damaged"),
        (b'<?xml version="1.0" encoding="none"?><x/>', "damaged"),
        (b'<?xml version="1.0" encoding="gb18030"?><x/>', "damaged"),
        (b"\x00\x01", "damaged"),
        (b'<!DOCTYPE x [<!ENTITY a "application/vnd.ms-office.vbaProject">]><x/>', "declares entities"),
    ],
)
def test_unreadable_content_types_are_refused(types: bytes, reason: str) -> None:
    assert refusal("docx", document(types)) == "its list of content types " + ("is " * (reason == "damaged")) + reason


def test_two_lists_of_content_types_are_refused() -> None:
    parts = ["[Content_Types].xml", "[content_types].XML", "_rels/.rels", "word/document.xml"]
    assert refusal("docx", made.make_zip(parts)) == "it has several entries named '[content_types].xml'"


def test_content_types_longer_than_the_directory_says_are_refused() -> None:
    content = document(content_types("<!--" + "x" * 2 * MAX_CONTENT_TYPES_BYTES + "-->"))
    at = content.find(b"PK\x01\x02")
    lying = content[: at + 24] + struct.pack("<I", 100) + content[at + 28 :]
    assert refusal("docx", lying) == "its entry '[content_types].xml' is damaged"


def test_content_types_packed_in_another_way_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as made_archive:
        for name in ("[Content_Types].xml", "_rels/.rels", "word/document.xml"):
            made_archive.writestr(name, content_types())
    assert "packed by a method that documents do not use" in refusal("docx", buffer.getvalue())


@pytest.mark.parametrize(
    "names",
    [
        ["[Content_Types].xml", r"_rels\.rels", r"word\document.xml"],
        ["[content_types].xml", "_RELS/.RELS", "Word/Document.xml"],
        [r"_rels\.rels", r"WORD\document.xml", "[CONTENT_TYPES].XML"],
    ],
)
def test_part_names_with_backslashes_or_in_other_case_are_accepted(names: list[str]) -> None:
    inspect("docx", made.make_zip(names))


def test_document_in_another_folder_is_known_by_its_content_type() -> None:
    types = content_types(override("/wtf/document.xml", MAIN))
    content = made.make_zip({"[Content_Types].xml": types, "_rels/.rels": b"<x/>", "wtf/document.xml": b"<x/>"})
    inspect("docx", content)
    assert refusal("xlsx", content) == "it is an Office document of another kind"


def compound_file(*names: str, at: int = 512) -> bytes:
    """The header of a compound file and the names in its directory (MS-CFB, sections 2.2 and 2.6)."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(30, b"\x00") + struct.pack("<H", 9)
    header = header.ljust(48, b"\x00") + struct.pack("<I", at // 512 - 1)
    directory = b"".join(name.encode("utf-16-le").ljust(128, b"\x00") for name in names)
    return header.ljust(at, b"\x00") + directory + bytes(10_000)


@pytest.mark.parametrize("extension", ["docx", "xlsx", "pptx", "odt"])
@pytest.mark.parametrize("at", [512, 100 * 512])
def test_document_with_a_password_is_refused_with_that_reason(extension: str, at: int) -> None:
    content = compound_file("Root Entry", "EncryptionInfo", "EncryptedPackage", at=at)
    assert refusal(extension, content) == "it has a password, so it cannot be checked"


def test_document_from_before_2007_is_refused_with_that_reason() -> None:
    assert "Office before 2007" in refusal("docx", compound_file("Root Entry", "WordDocument"))
    assert "Office before 2007" in refusal("docx", compound_file()[:60])


def test_document_with_an_encrypted_part_is_refused() -> None:
    content = bytearray(document(content_types()))
    content[content.find(b"PK\x01\x02") + 8] |= 1
    assert refusal("docx", bytes(content)).startswith("it has a password")


# OpenDocument.

OTHER_TYPE = "its 'mimetype' entry or its manifest does not name this type"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_mimetype_may_stand_anywhere_and_be_compressed(compressed: bool, end: bytes) -> None:
    parts = {"content.xml": b"<x/>", "META-INF/manifest.xml": b"<x/>", "mimetype": (ODF + "text").encode() + end}
    content = made.make_zip(parts, stored=[] if compressed else ["mimetype"])
    inspect("odt", content)
    assert refusal("ods", content) == OTHER_TYPE


def test_manifest_counts_without_a_mimetype() -> None:
    manifest = f"""<!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "Manifest.dtd">
        <manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">
        <manifest:file-entry manifest:media-type="text/xml" manifest:full-path="content.xml"/>
        <manifest:file-entry manifest:media-type="{ODF}text" manifest:full-path="/"/></manifest:manifest>"""
    content = made.make_zip({"content.xml": b"<x/>", "META-INF/manifest.xml": manifest.encode()})
    inspect("odt", content)
    assert refusal("ods", content) == OTHER_TYPE
    assert refusal("odt", made.make_zip(["META-INF/manifest.xml"])) == OTHER_TYPE


def test_two_mimetypes_are_refused() -> None:
    content = made.open_document(ODF + "text", "MIMETYPE")
    assert refusal("odt", content) == "it has several entries named 'mimetype'"


@pytest.mark.parametrize(
    "name", [r"Basic\Standard\Module1.xml", "Object 1/Basic/Standard/M.xml", "Scripts/python/a.py"]
)
def test_macros_in_an_open_document_are_refused(name: str) -> None:
    assert refusal("odt", made.open_document(ODF + "text", name)) == "it has macros"


def test_open_document_with_a_password_is_refused() -> None:
    assert refusal("odt", made.open_document(ODF + "text", "encrypted-package")).startswith("it has a password")
