"""Forms, in reads of any size."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.problems import MalformedRequest, NoFile, TooManyParts
from handler.web import forms

if TYPE_CHECKING:
    from flask.testing import FlaskClient

HEADER = b'Content-Disposition: form-data; name="file"; filename="%b"\r\n\r\n'


class Pieces:
    """A body that arrives in pieces which end at these places."""

    def __init__(self, body: bytes, cuts: list[int]) -> None:
        self._pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    def read(self, _size: int, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def read(body: bytes, cuts: list[int]) -> list[tuple[str | None, bytes]]:
    return [(part.file_name, b"".join(content)) for part, content in forms.parts(Pieces(body, cuts), b"xyz")]


@pytest.mark.parametrize("content", [b"hello", b"", b"\r", b"\r\n", b"a\r\n--xy", b"a\r\n--xyzz\r\n", b"\r\n--xyz-"])
@pytest.mark.parametrize("padding", [b"", b" \t"])
@pytest.mark.parametrize("end", [b"--\r\n", b"--", b"--\r\nepilogue"])
def test_parts_do_not_depend_on_the_end_of_a_read(content: bytes, padding: bytes, end: bytes) -> None:
    parts = [HEADER % b"a.txt" + content, HEADER % b"b.txt" + b"second"]
    body = b"".join(b"--xyz" + padding + b"\r\n" + part + b"\r\n" for part in parts) + b"--xyz" + end
    everywhere = list(range(1, len(body)))
    for cuts in [everywhere, *([cut] for cut in everywhere), *([cut, cut + 1] for cut in everywhere[:-1])]:
        assert read(body, cuts) == [("a.txt", content), ("b.txt", b"second")], cuts


PIECES = [
    b"\r\n--xyz",
    b"\r\n--xyz--",
    b"\r\n",
    b"\r",
    b"\n",
    b"--",
    b"xyz",
    b" ",
    b"\t",
    b"a",
    HEADER % b"a.txt",
    b"\r\n\r\n",
]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12), size=st.integers(1, 9))
def test_parts_do_not_depend_on_the_size_of_reads(pieces: list[bytes], size: int) -> None:
    def outcome(cuts: list[int]) -> list[tuple[str | None, bytes]] | str:
        try:
            return read(body, cuts)
        except MalformedRequest as problem:
            return problem.detail

    body = b"--xyz\r\n" + HEADER % b"a.txt" + b"".join(pieces) + b"\r\n--xyz--\r\n"
    assert outcome(list(range(size, len(body), size))) == outcome([])


class Counted:
    """A body that counts how many of its bytes have been read."""

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)
        self.bytes_read = 0

    def read(self, size: int, /) -> bytes:
        data = self._body.read(size)
        self.bytes_read += len(data)
        return data


def form(header: bytes, *, content: bytes = b"hello") -> bytes:
    """A form of one part."""
    return b"--xyz\r\n" + header + b"\r\n\r\n" + content + b"\r\n--xyz--\r\n"


DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.txt"'


# The bounds.


@pytest.mark.parametrize("filler", [b"x", b'\\"', b'"', b";", b"\r\nX:", b"\r\n ", b"%41", b"=?"])
def test_part_header_has_at_most_8_kib(filler: bytes) -> None:
    start = DISPOSITION + b"\r\nX-Filler:"
    room = forms.MAX_PART_HEADER_BYTES - len(start)
    longest = start + filler * (room // len(filler)) + b"." * (room % len(filler))
    assert read(form(longest), []) == [("a.txt", b"hello")]
    body = Counted(form(longest + b"."))
    with pytest.raises(MalformedRequest, match=r"header of a part is longer than 8,192 bytes\. Send"):
        list(forms.parts(body, b"xyz"))


def test_endless_part_header_is_refused_after_8_kib() -> None:
    body = Counted(b"--xyz\r\n" + DISPOSITION + b"x" * 1_000_000)
    with pytest.raises(MalformedRequest, match="header of a part is longer"):
        list(forms.parts(body, b"xyz"))
    assert body.bytes_read == len(b"--xyz\r\n") + forms.MAX_PART_HEADER_BYTES + len(b"\r\n\r\n")


def test_endless_header_of_a_later_part_is_refused_after_8_kib() -> None:
    content = b"c" * forms.READ_BYTES
    body = Counted(form(DISPOSITION, content=content)[: -len(b"--\r\n")] + b"\r\n" + b"x" * 1_000_000)
    with pytest.raises(MalformedRequest, match="header of a part is longer"):
        list(forms.parts(body, b"xyz"))
    assert body.bytes_read <= len(content) + forms.READ_BYTES + 2 * forms.MAX_PART_HEADER_BYTES


@pytest.mark.parametrize("size", [0, 1, 1000, forms.MAX_AROUND_PARTS_BYTES - 2])
def test_text_around_the_parts_is_ignored(size: int) -> None:
    text = b"a" * size
    body = form(DISPOSITION)
    assert read(text + b"\r\n" + body + text, []) == [("a.txt", b"hello")]


def test_too_much_text_before_the_parts_is_refused() -> None:
    body = Counted(b"a" * 10_000_000 + b"\r\n" + form(DISPOSITION))
    with pytest.raises(MalformedRequest, match="does not begin with its boundary"):
        list(forms.parts(body, b"xyz"))
    assert body.bytes_read <= forms.MAX_AROUND_PARTS_BYTES + 2 * forms.MAX_PART_HEADER_BYTES


def test_too_much_text_after_the_parts_is_refused() -> None:
    body = Counted(form(DISPOSITION) + b"a" * 10_000_000)
    with pytest.raises(MalformedRequest, match="follow the last boundary"):
        list(forms.parts(body, b"xyz"))
    assert body.bytes_read <= forms.MAX_AROUND_PARTS_BYTES + 2 * forms.READ_BYTES


@pytest.mark.parametrize("byte", [b" ", b"\t", b"\v", b"\f"])
def test_endless_blanks_after_a_boundary_are_refused(byte: bytes) -> None:
    content = b"c" * 10 + b"\r\n--xyz" + byte * 1_000_000
    with pytest.raises(MalformedRequest, match="blanks"):
        list(forms.parts(Counted(form(DISPOSITION, content=content)), b"xyz"))


def test_100_parts_are_accepted_and_101_refused() -> None:
    part = b"--xyz\r\n" + DISPOSITION + b"\r\n\r\nhello\r\n"
    assert len(read(part * 100 + b"--xyz--\r\n", [])) == 100
    with pytest.raises(TooManyParts):
        read(part * 101 + b"--xyz--\r\n", [])


# Forms that Werkzeug's decoder accepted, and that a stricter reader would divide in another way.


@pytest.mark.parametrize(
    "body",
    [
        b"--xyz\r\n\r\n" + DISPOSITION + b"\r\n\r\nhello\r\n--xyz--\r\n",  # the header is empty, so this is content
        b"--xyz\r\n" + DISPOSITION + b"\n\nhello\r\n\r\nbye\r\n--xyz--\r\n",
        b"--xyz\r\n" + DISPOSITION + b"\r\rhello\r\n\r\nbye\r\n--xyz--\r\n",
        b"--xyz\r\n" + DISPOSITION + b"\r\n--xyz\r\n\r\nhello\r\n--xyz--\r\n",  # a boundary in the header
        b"--xyz\r\n" + DISPOSITION + b"\r\n\r\nhello\n--xyz--\r\n",
    ],
)
def test_form_that_can_be_divided_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(body, [])


def test_empty_part_may_share_its_line_end_with_the_boundary() -> None:
    part = b"--xyz\r\n" + DISPOSITION + b"\r\n\r\n"
    assert read(part + part + b"\r\n--xyz--", []) == [("a.txt", b""), ("a.txt", b"")]


def test_unread_content_is_skipped() -> None:
    content = b"c" * 1_000_000 + b"\r\n--xy"
    body = (b"--xyz\r\n" + DISPOSITION + b"\r\n\r\n" + content + b"\r\n") * 2 + b"--xyz--"
    assert [part.file_name for part, _ in forms.parts(Counted(body), b"xyz")] == ["a.txt", "a.txt"]


# The boundary.


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=b/Qe", b"b/Qe"),
        ("multipart/form-data; boundary==_?:(a),b=", b"=_?:(a),b="),
        ("multipart/form-data; boundary=a@b<c>[d]", b"a@b<c>[d]"),
        ('multipart/form-data; boundary="b/Qe a"', b"b/Qe a"),
        ('multipart/form-data; boundary="a;b"', b"a;b"),
        (r'multipart/form-data; boundary="a\"b"', b'a"b'),
        ("Multipart/Form-Data;BOUNDARY=xyz;", b"xyz"),
        ("multipart/form-data; charset=utf-8; boundary=xyz; x", b"xyz"),
        ("multipart/form-data ; ; boundary = xyz ; charset=utf-8", b"xyz"),
        ('multipart/form-data; charset="boundary=a"; boundary="xyz"', b"xyz"),
        ("multipart/form-data; boundary=" + "x" * forms.MAX_BOUNDARY_CHARS, b"x" * forms.MAX_BOUNDARY_CHARS),
    ],
)
def test_boundary_is_read_from_the_content_type(content_type: str, boundary: bytes) -> None:
    assert forms.boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="a',
        'multipart/form-data; boundary="a\tb"',
        "multipart/form-data; boundary=\xe9",
        "multipart/form-data; boundary=x; boundary=y",
        "multipart/form-data; boundary=x; boundary=x",
        "multipart/form-data; boundary=x; boundary*=UTF-8''y",
        "multipart/form-data; boundary*=UTF-8''x",
        "multipart/form-data; boundary*0=x",
        "multipart/form-data; boundary=" + "x" * (forms.MAX_BOUNDARY_CHARS + 1),
    ],
)
def test_content_type_without_one_clear_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedRequest):
        forms.boundary_of(content_type)


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-datax; boundary=x", "multipart/mixed"])
def test_other_content_type_is_not_a_form(content_type: str) -> None:
    with pytest.raises(NoFile):
        forms.boundary_of(content_type)


# Through the endpoint.


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (b"Content-Disposition: form-data; name=file; filename=photo.txt; filename*=utf-8''photo.txt", "photo.txt"),
        (b'Content-Disposition: form-data; name="file"; filename="Gr\xfc\xdfe.txt"', "Grue.txt"),
        (rb'Content-Disposition: form-data; name="file"; filename="C:\Users\me\photo.txt"', "photo.txt"),
        (b'Content-Disposition: form-data; name="file"; filename="=?utf-8?B?R3LDvMOfZS50eHQ=?="', "Grue.txt"),
        (DISPOSITION + b"\r\nContent-Type: multipart/form-data", "a.txt"),
    ],
)
def test_part_of_a_real_client_is_stored(client: FlaskClient, part: bytes, name: str) -> None:
    response = client.post("/upload", data=form(part), content_type="multipart/form-data; boundary=xyz")
    assert response.status_code == 201, response.text
    assert response.get_json()["files"][0]["name"] == name


def test_unquoted_boundary_is_accepted(client: FlaskClient) -> None:
    body = form(DISPOSITION).replace(b"--xyz", b"--b/Q=e:?")
    response = client.post("/upload", data=body, content_type="multipart/form-data; boundary=b/Q=e:?")
    assert response.status_code == 201, response.text


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        ("", b"H=C3=BCtte"),
        ("quoted-printable", b"H=3DC3=3DBCt=\r\nte"),
        ("base64", b"SD1DMz1C\r\nQ3R0ZQ=="),
    ],
)
def test_text_in_base64_is_decoded(encoding: str, value: bytes) -> None:
    assert forms.text(iter([value[:9], value[9:]]), encoding) == "H=C3=BCtte"


def test_invalid_base64_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="base64"):
        forms.text(iter([b"A"]), "base64")
