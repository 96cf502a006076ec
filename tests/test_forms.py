"""Forms, however the reads cut them."""

from __future__ import annotations

import pytest

from handler import forms

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
def test_the_end_of_a_read_is_no_end_of_a_line(content: bytes, padding: bytes, end: bytes) -> None:
    parts = [HEADER % b"a.txt" + content, HEADER % b"b.txt" + b"second"]
    body = b"".join(b"--xyz" + padding + b"\r\n" + part + b"\r\n" for part in parts) + b"--xyz" + end
    everywhere = list(range(1, len(body)))
    for cuts in [everywhere, *([cut] for cut in everywhere), *([cut, cut + 1] for cut in everywhere[:-1])]:
        assert read(body, cuts) == [("a.txt", content), ("b.txt", b"second")], cuts
