"""The header of a form's part, in the bytes that real clients send."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.problems import MalformedRequest
from handler.web import part_headers
from handler.web.part_headers import MAX_PARAMETERS, FormPart


def disposition(parameters: bytes) -> bytes:
    return b"Content-Disposition: form-data; " + parameters


def file_name(parameters: bytes) -> str | None:
    return part_headers.parse(disposition(b"name=file; " + parameters)).file_name


# The exact fields of clients that send both parameters.


@pytest.mark.parametrize(
    ("header", "name"),
    [
        # .NET 9, MultipartFormDataContent; PowerShell 7.4, Invoke-WebRequest -Form
        (b"Content-Disposition: form-data; name=file; filename=photo.jpg; filename*=utf-8''photo.jpg", "photo.jpg"),
        (
            b"Content-Type: application/octet-stream\r\n"
            b"Content-Disposition: form-data; name=file; filename=\"my photo.jpg\"; filename*=utf-8''my%20photo.jpg",
            "my photo.jpg",
        ),
        (
            b'Content-Disposition: form-data; name=file; filename="=?utf-8?B?R3LDvMOfZS5qcGc=?="; '
            b"filename*=utf-8''Gr%C3%BC%C3%9Fe.jpg",
            "Grüße.jpg",
        ),
        # The same, where the program writes quotes around the names
        (
            b'Content-Disposition: form-data; name="file"; filename="photo.jpg"; filename*=utf-8\'\'%22photo.jpg%22',
            "photo.jpg",
        ),
        # React Native 0.74 to 0.78
        (
            b'content-disposition: form-data; name="file"; filename="photo.jpg"; filename*=utf-8\'\'photo.jpg\r\n'
            b"content-type: image/jpeg",
            "photo.jpg",
        ),
        (
            'content-disposition: form-data; name="file"; filename="写真.jpg"; '
            "filename*=utf-8''%E5%86%99%E7%9C%9F.jpg".encode(),
            "写真.jpg",
        ),
        # React Native 0.79
        (b'content-disposition: form-data; name="file"; filename="%E5%86%99%E7%9C%9F.jpg"', "写真.jpg"),
        # Apache HttpClient 5.5: strict, extended, and extended where it encodes the value twice
        (
            b'Content-Disposition: form-data; name="file"; filename="??.jpg"; '
            b"filename*=\"UTF-8''%E5%86%99%E7%9C%9F.jpg\"",
            "写真.jpg",
        ),
        (
            b'Content-Disposition: form-data; name="file"; filename="%E5%86%99%E7%9C%9F.jpg"; '
            b"filename*=\"UTF-8''UTF-8%27%27%25E5%2586%2599%25E7%259C%259F.jpg\"",
            "写真.jpg",
        ),
        # aiohttp 3
        (
            b"Content-Type: image/jpeg\r\n"
            b'Content-Disposition: form-data; name="file"; filename="%D1%84%D0%BE%D1%82%D0%BE.jpg"',
            "фото.jpg",
        ),
    ],
)
def test_file_name_of_a_real_client_is_read(header: bytes, name: str) -> None:
    assert part_headers.parse(header) == FormPart("file", name)


@pytest.mark.parametrize("charset", sorted(part_headers._CHARSETS))
def test_charset_of_a_name_is_read(charset: str) -> None:
    """Delphi (Indy 10) writes names as encoded words in the charset of its system."""
    name = {"koi8-r": "фото", "windows-1251": "фото", "shift_jis": "写真", "big5": "照片", "euc-kr": "사진"}.get(
        charset, "a"
    )
    word = base64.b64encode(f"{name}.jpg".encode(charset)).decode()
    assert file_name(f'filename="=?{charset}?B?{word}?="'.encode()) == f"{name}.jpg"


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
def test_encoding_of_a_text_is_returned(encoding: str) -> None:
    header = f"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: {encoding.upper()}"
    assert part_headers.parse(header.encode()) == FormPart("a", None, encoding)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (b"filename*=UTF-8''b.txt; filename=a.txt", "b.txt"),
        (b"filename=a.TXT; filename*=UTF-8''b.txt", "b.txt"),
        (b"FILENAME=a.txt; FileName*=UTF-8''b.txt", "b.txt"),
        (b"filename*=UTF-8'en'na%C3%AFve.txt", "naïve.txt"),
        (b"filename*=iso-8859-1''na%EFve.txt", "naïve.txt"),
        (b"filename*=UTF-8''it%27s.txt", "it's.txt"),
        (b"filename*=UTF-8''it's.txt", "it's.txt"),
        # One that cannot be decoded counts for nothing next to a filename.
        (b"filename=a.txt; filename*=UTF-8''%FF.png", "a.txt"),
        (b"filename=a.txt; filename*=klingon''b.png", "a.txt"),
        (b"filename=a.txt; filename*=b.png", "a.txt"),
        (b"filename*=b.txt", "b.txt"),
        (b"filename*=UTF-8''%E9.txt", "é.txt"),
        (b"filename*=gb2312''%C3%FB.txt", "名.txt"),
        (b"filename*=idna''%C3%FB.txt", "Ãû.txt"),  # a slow codec of Python's
    ],
)
def test_extended_name_is_preferred_if_it_can_be_decoded(parameters: bytes, name: str) -> None:
    assert file_name(parameters) == name


@pytest.mark.parametrize(
    "parameters",
    [
        b"name=file; filename=a.txt; filename*=UTF-8''b.exe",
        b"name=file; filename=a.txt; filename*=UTF-8''b",
        b"name=file; filename=\"\"; filename*=UTF-8''b.txt",
        b"name=file; filename=\"=?utf-8?B?YS5leGU=?=\"; filename*=UTF-8''a.txt",
        b'name=file; filename="a.txt"; filename="a.txt"',
        b'name=file; filename=a.txt; FILENAME="b.txt"',
        b"name=file; filename*=UTF-8''a.txt; filename*=UTF-8''b.txt",
        b"name=file; filename*0=a; filename*1=.txt",
        b"name=file; filename*0*=UTF-8''a.txt",
        b"name=file; filename=a.txt; filename**=UTF-8''a.txt",
        b"name=file; filename=a.txt; filename *=UTF-8''a.txt",
        b"name=file; name=file; filename=a.txt",
        b"name=file; name*=UTF-8''other; filename=a.txt",
        b"name*0=fi; name*1=le; filename=a.txt",
    ],
)
def test_ambiguous_names_are_rejected(parameters: bytes) -> None:
    with pytest.raises(MalformedRequest):
        part_headers.parse(disposition(parameters))


# Quotes and backslashes.


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (rb'filename="C:\Users\me\photo.png"', r"C:\Users\me\photo.png"),
        (rb'filename="\\server\share\photo.png"', r"\server\share\photo.png"),
        (rb'filename="a\\b.png"', r"a\b.png"),  # curl before 7.81, and Go
        (rb'filename="say \"hi\".png"', 'say "hi".png'),
        (rb'filename="a\"; filename=\"b.png"', 'a"; filename="b.png'),
        (rb'filename="100%22.png"', '100".png'),
        (rb'filename="a%0D%0Ab.png"', "a\r\nb.png"),
        (b'filename="a"b".png"', 'a"b".png'),  # clients that do not escape quotes
        (rb'filename="a"b\"c".png"', 'a"b"c".png'),
        (rb'filename="a\";b.png"', 'a";b.png'),
        (b'filename="a;b.png"; x=y', "a;b.png"),
        (b'filename="a;filename=.png"', "a;filename=.png"),
        (rb'filename="folder\"', "folder\\"),
        (rb'filename="folder\"  ', "folder\\"),
        (b'filename=""', ""),
        (b"filename=", ""),
        (b"filename=photo.png;", "photo.png"),
        (b"filename =  photo 1.png  ;  x=y", "photo 1.png"),
        (b";; ;filename=photo.png;; ;", "photo.png"),
        (b'x; filename="photo.png"', "photo.png"),
        (b"x=y", None),
    ],
)
def test_quotes_and_backslashes_of_a_name_are_read(parameters: bytes, name: str | None) -> None:
    assert file_name(parameters) == name


# Bytes that are not UTF-8, and other encodings.


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Grüße.txt".encode(), "Grüße.txt"),
        ("Grüße.txt".encode("latin-1"), "Grüße.txt"),
        ("“a”.txt".encode("windows-1252"), "“a”.txt"),
        ("%22Süd%22.txt".encode("latin-1"), '"Süd".txt'),  # a browser, for a page in that charset
        ("名.txt".encode("gb2312"), "Ãû.txt"),
        ("ソ.txt".encode("shift_jis"), "ƒ\\.txt"),  # its second byte is a backslash
        (b"\x81\x8d\x8f\x90\x9d\xff.txt", "\ufffd" * 5 + "ÿ.txt"),
        (b"=?utf-8?B?R3LDvMOfZS50eHQ=?=", "Grüße.txt"),
        (b"=?UTF-8?Q?Gr=C3=BC=C3=9Fe_1.txt?=", "Grüße 1.txt"),
        (b"=?iso-8859-1?q?Gr=FC=DFe.txt?=", "Grüße.txt"),
        (b"=?utf-8?B?R3LDvMM=?= =?utf-8?B?n2UudHh0?=", "Grüße.txt"),
        (b"=?utf-8?B?R3LD?=", "=?utf-8?B?R3LD?="),
        (b"=?utf-8?B?!!!!?=", "=?utf-8?B?!!!!?="),
        (b"=?utf-7?B?YS50eHQ=?=", "=?utf-7?B?YS50eHQ=?="),
        (b"=?utf-8?X?a.txt?=", "=?utf-8?X?a.txt?="),
        (b"=?utf-8?Q?a.txt?=.exe", "=?utf-8?Q?a.txt?=.exe"),
        (b"%C3%BC%2Fa.txt", "ü/a.txt"),
        (b"%C3%BC 100%.txt", "ü 100%.txt"),
        (b"100%25.txt", "100%25.txt"),
        (b"a%2Fb.txt", "a%2Fb.txt"),
        (b"%FC.txt", "%FC.txt"),
        ("ü%C3%BC.txt".encode(), "ü%C3%BC.txt"),  # a browser: it encodes no other percent signs
        (b"%", "%"),
    ],
)
def test_every_encoding_of_a_name_is_read(raw: bytes, name: str) -> None:
    assert part_headers.parse(disposition(b'name="%b"; filename="%b"' % (raw, raw))) == FormPart(name, name)
    if b" " not in raw:
        assert file_name(b"filename=" + raw) == name


def test_five_undefined_bytes_become_characters() -> None:
    every_byte = bytes(range(0x80, 0x100))
    name = file_name(b'filename="' + every_byte + b'.txt"')
    assert name is not None
    assert len(name) == len(every_byte) + len(".txt")


CLIENTS: dict[str, Callable[[str], bytes]] = {
    "browser": lambda name: (
        b'filename="%b"' % name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode()
    ),
    "curl 7.80, Go": lambda name: b'filename="%b"' % name.replace("\\", "\\\\").replace('"', '\\"').encode(),
    "aiohttp": lambda name: b'filename="%b"' % quote(name, safe="").encode(),
    ".NET": lambda name: (
        b"filename=\"=?utf-8?B?%b?=\"; filename*=utf-8''%b"
        % (base64.b64encode(name.encode()), quote(name, safe="").encode())
    ),
    "RFC 8187": lambda name: b"filename*=UTF-8''" + quote(name, safe="").encode(),
}


@settings(derandomize=True, deadline=None, max_examples=60)
@given(name=st.text(st.characters(exclude_characters='\\%\r\n"?=\0', exclude_categories=["Cs", "Cc"]), max_size=60))
@pytest.mark.parametrize("write", CLIENTS.values(), ids=CLIENTS)
def test_every_client_is_understood(write: Callable[[str], bytes], name: str) -> None:
    name += "ü.txt"  # so that aiohttp's percent signs stand for something
    assert file_name(write(name)) == name
    assert file_name(write(name) + b"; x=y") == name


@settings(derandomize=True, deadline=None, max_examples=60)
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n%="), max_size=60))
def test_escaped_names_are_decoded_completely(name: str) -> None:
    assert file_name(CLIENTS["curl 7.80, Go"](name + ".txt")) == name + ".txt"


# Other fields.


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Content-Type: text/plain",
        b"Content-Disposition: form-data; name=file\r\ncontent-disposition : form-data; name=file",
        b"Content-Disposition: form-data; name=file\r\nContent-Type: multipart/mixed; boundary=y",
        b"Content-Disposition: form-data; name=file\r\nContent-Type: a/b\r\ncontent-type: Multipart/X;Boundary=y",
        b"Content-Disposition: form-data; name=file\r\nContent-Type: multipart/form-data;\r\n boundary=y",
        b"Content-Disposition: form-data; name=file; filename=a.txt\r\nContent-Transfer-Encoding: base64",
        b"Content-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: x-uuencode",
        b"Content-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: 8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable",
        b"Content-Disposition: form-data; name=file\nContent-Type: text/plain",
        b"Content-Disposition: form-data; name=file\rContent-Type: text/plain",
        b"Content-Disposition: form-data; name=file\r\nno colon",
        b"\r\nContent-Disposition: form-data; name=file",
        b'Content-Disposition: form-data; name="file',
        b'Content-Disposition: form-data; name="file; filename=a.txt',
        b'Content-Disposition: form-data; name=file; filename="' + rb"\"" * 4000 + b"a",
        b'Content-Disposition: form-data; na"me=file',
        b'Content-Disposition: form-data; name="file"x; filename="a.txt"',
        b'Content-Disposition: form-data; name="file" filename="a;b.txt"',
        rb'Content-Disposition: form-data; name="a\"b"c; filename="a.txt"',
        b"Content-Disposition: form-data" + b"; x=y" * (MAX_PARAMETERS + 1),
    ],
)
def test_malformed_part_header_is_rejected(header: bytes) -> None:
    with pytest.raises(MalformedRequest):
        part_headers.parse(header)


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Disposition: form-data; name=file; filename=a.txt\r\nContent-Type: multipart/form-data",
        b"CONTENT-DISPOSITION:form-data;name=file;filename=a.txt\r\nX: multipart/mixed; boundary=y",
        b"Content-Disposition: form-data;\r\n name=file;\r\n\tfilename=a.txt\r\nContent-Transfer-Encoding: BINARY",
        b"Content-Disposition: attachment; name=file; filename=a.txt\r\nContent-Length: 5\r\nX:",
        b"Content-Disposition: form-data; name*=UTF-8''file; name=file; filename=a.txt",
        b"Content-Disposition: form-data; name=file; filename=a.txt" + b"; x=y" * (MAX_PARAMETERS - 2),
    ],
)
def test_unusual_part_header_is_accepted(header: bytes) -> None:
    assert part_headers.parse(header) == FormPart("file", "a.txt")


def test_missing_name_is_empty() -> None:
    assert part_headers.parse(b"Content-Disposition: form-data") == FormPart("", None)
    assert part_headers.parse(b'Content-Disposition: form-data; filename="a.txt"') == FormPart("", "a.txt")
