"""Text: control characters, and encodings that are not UTF-8."""

from __future__ import annotations

import pytest

from handler.problems import ContentMismatch

from ..support import filetype_samples as made
from ..support.checks import inspect, refusal, sentences

TEXTS = ["txt", "csv", "md"]


# Control characters.


@pytest.mark.parametrize("extension", TEXTS)
@pytest.mark.parametrize("escape", [b"\x1b[31m", b"\x1b]0;title\x07", b"\x1b", b"\x1bc", b"\x1b\x1b(B", b"\x1b."])
@pytest.mark.parametrize("padding", [0, 600_000])
def test_escape_is_refused_except_in_iso_2022_jp(extension: str, escape: bytes, padding: int) -> None:
    for content in (b"a" * padding + b"b" + escape, b"b" + escape + b"a" * padding):
        assert refusal(extension, content).startswith("it has the control character 0x1B at byte ")


@pytest.mark.parametrize("extension", TEXTS)
def test_iso_2022_jp_is_accepted(extension: str) -> None:
    text = "日本語, and ASCII\r\n".encode("iso2022_jp")
    assert b"\x1b$" in text
    assert b"\x1b(" in text
    inspect(extension, text)
    # One of these has its 524,288th byte between ESC and what follows.
    for shift in range(30):
        inspect(extension, b"x" * shift + text * 30_000)


@pytest.mark.parametrize("extension", [*TEXTS, "json"])
@pytest.mark.parametrize("end", [b"\x1a", b"\x1a\r\n", b"\r\n\x1a", b"\x1a" * 127])
@pytest.mark.parametrize("padding", [0, 10_000, 600_000])
def test_ctrl_z_at_the_end_is_accepted(extension: str, end: bytes, padding: int) -> None:
    inspect(extension, b'"' + b"a" * padding + b'"' + end)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_ctrl_z_at_the_end_of_utf_16_is_accepted(encoding: str) -> None:
    inspect("txt", "name\r\n\x1a".encode(encoding))


def test_ctrl_z_elsewhere_is_refused() -> None:
    assert refusal("txt", b"a\x1ab") == "it has the control character 0x1A at byte 2, in line 1"
    assert "0x1A" in refusal("txt", "a\x1ab".encode("utf-16"))


def test_refusal_of_a_control_character_says_what_to_do() -> None:
    advice = "Remove it, or send the file with the extension of its real type."
    assert sentences("txt", b"a\x07b").endswith(advice)
    assert sentences("txt", "a\x07b".encode("utf-16")).endswith(advice)
    assert sentences("txt", b"a\x00bc").endswith("If it is text in UTF-16, save it as UTF-8.")


@pytest.mark.parametrize("separator", [0x1C, 0x1D, 0x1E, 0x1F])
def test_separators_of_exports_are_accepted(separator: int) -> None:
    inspect("txt", b"name%cvalue\r\n" % separator)
    inspect("csv", f"name{separator:c}value\r\n".encode("utf-16"))


@pytest.mark.parametrize("code", [*range(9), *range(0x0E, 0x1A), 0x7F])
def test_refusal_names_the_control_character_and_its_place(code: int) -> None:
    content = b"one\ntwo\nthr" + bytes([code]) + b"ee\n"
    assert refusal("txt", content) == f"it has the control character 0x{code:02X} at byte 12, in line 3"
    content = b"x" * 600_000 + bytes([code]) + b"x"
    assert refusal("txt", content) == f"it has the control character 0x{code:02X} at byte 600,001"
    content = "one\ntwö\nth😀".encode("utf-16") + code.to_bytes(2, "little") + b"e\0"
    assert refusal("txt", content) == f"it has the control character 0x{code:02X} at byte 27, in line 3"


@pytest.mark.parametrize("size", [10_000, 400_000])
@pytest.mark.parametrize("extension", ["txt", "csv", "md"])
def test_control_character_in_the_middle_of_a_text_is_refused(extension: str, size: int) -> None:
    content = b"x" * (size // 2) + b"\0" + b"x" * (size // 2)
    inspect(extension, b"x" * size)
    with pytest.raises(ContentMismatch, match="control character 0x00"):
        inspect(extension, content)


# Encodings.


@pytest.mark.parametrize("extension", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("length", [1, 5000, 300_000])
def test_utf_16_without_a_mark_is_accepted(extension: str, encoding: str, length: int) -> None:
    inspect(extension, ("Größe;5 €\r\n" * length).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("page", ["<html>", "  <script>alert(1)</script>", "<?php system(1) ?>", "#!/bin/sh\n"])
def test_page_in_utf_16_without_a_mark_is_refused(encoding: str, page: str) -> None:
    assert refusal("txt", page.encode(encoding)) in ("it is HTML or XML", "it is a script")


def test_refusal_of_unrecognised_utf_16_advises_utf_8() -> None:
    for content in ("你好世界\n".encode("utf-16-le"), b"a\0b", b"abc\0"):
        assert sentences("txt", content).endswith(" If it is text in UTF-16, save it as UTF-8.")


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["a", "Größe", "日本語\n" * 2000])
def test_refusal_of_utf_32_advises_utf_8(encoding: str, text: str) -> None:
    assert sentences("txt", text.encode(encoding)).endswith(" It is in UTF-32. Save it as UTF-8.")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_refusal_of_json_in_another_encoding_advises_utf_8(encoding: str) -> None:
    refused = sentences("json", '{"a": "ü"}'.encode(encoding))
    assert refused.endswith(" It is not in UTF-8, as JSON must be. Save it as UTF-8.")


@pytest.mark.parametrize("extension", sorted(set(made.BY_EXTENSION) - {"txt", "csv", "md", "json"}))
def test_no_binary_file_is_taken_for_utf_16(extension: str) -> None:
    assert refusal("txt", made.BY_EXTENSION[extension])
