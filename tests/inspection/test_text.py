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
    # In one of these texts, the first 512 KiB end between ESC and the next character.
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
    half = "x" * (256 * 1024 - 1) + "\x1a"  # the last character of the first 512 KiB
    assert "0x1A" in refusal("txt", (half + "x" * 5000).encode("utf-16-le"))
    assert "0x1A" in refusal("txt", b"x" * (512 * 1024 - 1) + b"\x1a" + b"x" * 5000)


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
    content = b"\n" + bytes([code]) + b"x"
    assert refusal("txt", content) == f"it has the control character 0x{code:02X} at byte 2, in line 2"
    content = b"x" * 600_000 + bytes([code]) + b"x"
    assert refusal("txt", content) == f"it has the control character 0x{code:02X} at byte 600,001"
    content = "one\ntwö\nth😀".encode("utf-16") + code.to_bytes(2, "little") + b"e\0"
    assert refusal("txt", content) == f"it has the control character 0x{code:02X} at byte 27, in line 3"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_both_ends_of_a_large_utf_16_text_are_searched(encoding: str) -> None:
    padding = "x" * 300_000
    inspect("txt", (padding + padding).encode(encoding))
    content = ("x\x07" + padding + "x").encode(encoding)
    assert refusal("txt", content) == "it has the control character 0x07 at byte 3, in line 1"
    content = (padding + "\n\x07x").encode(encoding)
    assert refusal("txt", content) == "it has the control character 0x07 at byte 600,003"


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
@pytest.mark.parametrize("character", ["\U00010000", "\U000103ff", "\U0010fc00", "\U0010ffff", "\ue000"])
def test_utf_16_may_be_read_from_the_middle_of_a_character(encoding: str, character: str) -> None:
    """The last 4 KiB begin with the first or the second half of a surrogate pair."""
    mark = "\ufeff"
    for before in ("", "x"):
        for repeats in (1025, 5000):
            inspect("txt", (mark + before + character * repeats + "y").encode(encoding))
        content = (mark + before + character * 5000 + "\x07y").encode(encoding)
        assert refusal("txt", content).startswith(f"it has the control character 0x07 at byte {len(content) - 3:,}")


def test_invalid_utf_16_is_refused() -> None:
    reason = "it begins like UTF-16, but it is not valid UTF-16"
    assert refusal("txt", b"\x01\xdc" + "text".encode("utf-16-le")) == reason
    assert refusal("txt", b"\xff\xfe\x01\xd8" + "text".encode("utf-16-le")) == reason
    assert refusal("txt", b"\xff\xfe\x01\xdc" + "text".encode("utf-16-le")) == reason


@pytest.mark.parametrize("character", ["\x80", "\xbf", "\uffff", "😀"])
def test_utf_8_may_be_read_from_the_middle_of_a_character(character: str) -> None:
    for behind in ("", "x", "xx", "xxx"):  # the last 4 KiB begin at each byte of the character
        inspect("txt", (character * 5000 + behind).encode("utf-8-sig"))


@pytest.mark.parametrize("at", [3, 4999, 524_286, 606_007, 606_100])
def test_invalid_utf_8_behind_a_mark_is_refused(at: int) -> None:
    content = b"\xef\xbb\xbf".ljust(at, b"x") + b"\xc0" + b"x"
    content = content.ljust(5000 if at < 5000 else 610_103, b"x")  # the last 4 KiB begin at byte 606,007
    assert refusal("txt", content) == "it has the byte order mark of UTF-8, but it is not valid UTF-8"


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


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf_32_is_known_by_its_mark(encoding: str) -> None:
    assert refusal("txt", "\ufeff😀".encode(encoding)) == "it is in UTF-32"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_needs_three_of_four_characters_in_latin_1(encoding: str) -> None:
    inspect("txt", ("abcя" * 500).encode(encoding))
    assert "control character 0x00" in refusal("txt", ("abcя" * 500 + "я").encode(encoding))
    assert "control character 0x00" in refusal("txt", ("abя" * 1000).encode(encoding))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"<?xml version='1.0'?><a/>", "it is HTML or XML"),
        (b"<?XML version='1.0'?><a/>", "it is HTML or XML"),
        (b"%PDF-1.7", "it is PDF or PostScript"),
        (b"%!PS-Adobe", "it is PDF or PostScript"),
        (b"<html>", "it is HTML or XML"),
        (b"<p>", "it is HTML or XML"),
        (b"<b onload=x>", "it is HTML or XML"),
        (b"<?php", "it is a script"),
        (b"<% x", "it is a script"),
        (b"#!/bin/sh", "it is a script"),
    ],
)
def test_refusal_names_the_active_content(text: bytes, reason: str) -> None:
    assert refusal("txt", text) == reason


def test_refusal_names_an_event_handler_in_markdown() -> None:
    assert refusal("md", b"<b onload=x>") == "it is HTML with a script"


def test_text_with_nuls_in_every_place_is_not_utf_32() -> None:
    reason = "it has the control character 0x00 at byte {}, in line 1"
    for text, byte in ((bytes(8), 1), (b"a" + bytes(7), 2), (bytes(7) + b"a", 1)):
        assert refusal("txt", text) == reason.format(byte)
    for encoding in ("utf-32-le", "utf-32-be"):
        assert refusal("txt", "a\x01".encode(encoding)) == "it is in UTF-32"


def test_text_with_nuls_in_every_place_is_not_utf_16() -> None:
    reason = "it has the control character 0x00 at byte {}, in line 1"
    assert refusal("txt", "abcdefg\0".encode("utf-16-le")) == reason.format(2)
    assert refusal("txt", "abcdefg\0".encode("utf-16-be")) == reason.format(1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_refusal_of_json_in_another_encoding_advises_utf_8(encoding: str) -> None:
    for text in ('{"a": "ü"}', "[1, 2]")[: 1 if encoding == "latin-1" else 2]:
        refused = sentences("json", text.encode(encoding))
        assert refused.endswith(" It is not in UTF-8, as JSON must be. Save it as UTF-8.")


@pytest.mark.parametrize("extension", sorted(set(made.BY_EXTENSION) - {"txt", "csv", "md", "json"}))
def test_no_binary_file_is_taken_for_utf_16(extension: str) -> None:
    assert refusal("txt", made.BY_EXTENSION[extension])


# JSON.


@pytest.mark.parametrize("text", ["[]", "[[]]", "[ [1]]", "[{}]", '["a"]', "{}", '"a"', " \n[1] \n", "null", "-1", "7"])
def test_json_is_accepted(text: str) -> None:
    inspect("json", text.encode())


@pytest.mark.parametrize("text", ["[1", '"abc', '{"a": 1', " [1", " {}]", "[1}"])
def test_json_without_its_end_is_refused(text: str) -> None:
    assert refusal("json", text.encode()) == "it does not end like JSON"


@pytest.mark.parametrize("text", ["[a]", "{a: 1}", "nullify", "truth", "-", "(1)", "[(1)]"])
def test_text_that_does_not_begin_like_json_is_refused(text: str) -> None:
    assert refusal("json", text.encode()) == "it does not begin like JSON"
