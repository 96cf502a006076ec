"""PDF: forms of the header that readers take, and pages that hide before the first object."""

from __future__ import annotations

import pytest

from ..support import samples
from ..support.checks import inspect, refusal, sentences

PAGE = b"<html><script>alert(1)</script></html>"
OBJECT = b"1 0 obj<</Type/Catalog>>endobj\n"


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b"   \t\f\x00", b"\xef\xbb\xbf\r\n ", b" " * 1000]
)
def test_byte_order_mark_and_white_space_before_the_header_are_accepted(before: bytes) -> None:
    inspect("pdf", before + samples.PDF)


@pytest.mark.parametrize("before", [b"x", b"\n<html>", PAGE, b"/*", b"#!/bin/sh\n", b"GIF89a", b"%\n", b"\xff\xfe"])
def test_anything_else_before_the_header_is_refused(before: bytes) -> None:
    assert refusal("pdf", before + samples.PDF) == "it does not begin with a PDF header"


def test_refusal_of_a_late_header_says_so() -> None:
    late = "Save the document as PDF again: something else stands before the header."
    assert sentences("pdf", b"GPL Ghostscript 10.02.0\n" + samples.PDF).endswith(
        f"It does not begin with a PDF header. {late}"
    )
    for text in (b"Dear Sir", b"A %PDF file"):
        assert late not in sentences("pdf", text)


@pytest.mark.parametrize("header", [b"%PDF-1.\n", b"%PDF-1.\r", b"%PDF-1.7\n", b"%PDF-2.0\n"])
def test_header_of_any_version_is_accepted(header: bytes) -> None:
    inspect("pdf", header + b"\n" + OBJECT)


@pytest.mark.parametrize("header", [b"%PDF-0.9\n", b"%PDF-3.0\n", b"%PDF-1,7\n", b"%PDF-1.x\n"])
def test_header_of_an_unknown_version_is_refused(header: bytes) -> None:
    assert refusal("pdf", header + OBJECT) == "it does not begin with a PDF header"


@pytest.mark.parametrize(
    "comment",
    [
        b"% obj",
        b"% 1 0 obj",
        b"%1 0 obj\n%",
        b"%\n% 1 0 obj\r%",
        b"obj",
        b"x 1 0 obj",
        b"1 0 object",
        b"%\n\n0 obj",
        b"%\n1 0obj",
        b"%\n1 123456 obj",
        b"%\n12345678901 0 obj",
        b"%\n12345678901 obj",
        b"%" + b"x" * 5000 + b"\n%",
        b"%" + b"x" * 60_000 + b"\n%",
    ],
)
def test_page_before_the_first_object_is_refused(comment: bytes) -> None:
    content = b"%PDF-1.7\n" + comment + b" " + PAGE + b"\n" + OBJECT
    assert refusal("pdf", content) == "it has a page or a script inside"


@pytest.mark.parametrize(
    "before", [b"\n", b"\r", b"\r\n", b"\n% a comment\n", b"\n\t \f\x00", b"\n%" + b"x" * 6000 + b"\n"]
)
@pytest.mark.parametrize("first", [b"1 0 obj", b"0012 0\nobj", b"4294967295  00000\tobj", b"1 0\r\nobj"])
def test_page_in_an_object_is_accepted(before: bytes, first: bytes) -> None:
    inspect("pdf", b"%PDF-1.7" + before + first + b"(" + PAGE + b")endobj\n")


def test_64_kib_before_the_first_object_are_searched() -> None:
    header, code = b"%PDF-1.7\n%", b"<script>"
    for end, is_refused in ((64 * 1024, True), (64 * 1024 + 1, False)):
        content = header.ljust(end - len(code), b"x") + code + b"\n" + OBJECT
        if is_refused:
            assert refusal("pdf", content) == "it has a page or a script inside"
        else:
            inspect("pdf", content)


def test_further_bytes_are_read_only_for_a_late_object() -> None:
    tail = b"x" * 100_000
    assert (0, 64 * 1024) not in inspect("pdf", b"%PDF-1.7\n" + OBJECT + tail).ranges
    assert (0, 64 * 1024) in inspect("pdf", b"%PDF-1.7\n%" + b"x" * 5000 + b"\n" + OBJECT + tail).ranges
