"""The patterns of pages and scripts in pixels and in metadata: each part of a pattern, and the limit of each number."""

from __future__ import annotations

import pytest

from handler.inspection.formats import active

from ..support.cases import failures

END = b"\x01"
"""A byte that text does not have."""

IN_PIXELS = [
    *(b"<?php" + white for white in (b" ", b"\t", b"\n", b"\r")),
    *(b"<html" + end + b"xy" for end in (b">", b" ", b"/", b"\n")),
    *(b"<" + name + end for name in (b"script", b"iframe") for end in (b">", b" ", b"/", b"\n")),
    *(b"<svg" + end + name for end in (b" ", b"/") for name in (b"xmlns", b"viewBox", b"onload =", b"onabcd=")),
    b"<svg on" + b"x" * 20 + b"=",
    b"<svg " + b"x" * 200 + b"xmlns",
    b"<svg><",
    b"<svg> \n<",
    b"<!doctype html",
    b"<!DOCTYPE \t\nhtml",
    *(b"<!--#" + name + white for name in (b"exec", b"include") for white in (b" ", b"\n")),
    b"<jsp:" + b"x" * 6,
    *(b"<cf" + name + end for name in (b"script", b"execute", b"include") for end in (b">", b" ", b"/")),
    *(b"<b" + gap + b"onload=" for gap in (b" ", b"/", b"\n", b" /", b" x ", b" x=1/", b" < ", b" <<< ", b"<3 ")),
    *(b"<b " + text + b"onload=" for text in (b'x="" ', b"x='' ", b'x="1"', b"x='1'", b'"', b"'", b"on ", b"onload ")),
    *(b"<b on" + name + end for name in (b"mouse", b"pointer", b"focus", b"animation") for end in (b"x=", b"xyz =")),
    *(b"<b on" + name + b" \n=" for name in (b"load", b"error", b"click", b"focus", b"toggle", b"begin")),
]
"""Each ends with its last necessary byte, so that any shorter beginning is harmless."""

NOT_IN_PIXELS = [
    b"<?phpx",
    b"<?php(",
    b"<html>x" + END,
    b"<html" + END + b"xy",
    b"<htmlx>yy",
    b"<script" + END,
    b"<scripts>",
    b"<iframes>",
    b"<svg " + b"x" * 201 + b"xmlns",
    b"<svg <xmlns",
    b"<svg >xmlns",
    b"<svgx xmlns",
    b"<svg>x<",
    b"<svg onabc=",
    b"<svg on" + b"x" * 21 + b"=",
    b"<!doctypehtml",
    b"<!-- #exec ",
    b"<!--#execx ",
    b"<jsp:" + b"x" * 5 + b">",
    b"<cfother>",
    b"<cfscripts>",
    b"<bonload=",
    b"<1 onload=",
    b"<b <b>onload=",
    *(b"<b" + bytes([byte]) + b" onload=" for byte in (0x00, 0x08, 0x0E, 0x1F)),
    b"<b onload" + END + b"=",
    b"<b onmouse=",
    b"<b onpointer=",
    b"<b onanimation=",
    b"<b onother=text",
]

STRING = b"x" * 200
IN_METADATA = [
    b"<?php",
    b"<svg xyz",
    b"<svg/xyz",
    b"<svg>xyz",
    b"<? echo x",
    b"<?/*12345678",
    b"<?//12345678",
    *(b"<?" + start + b"$a;" for start in (b"=", b" ", b"\n", b"\t")),
    *(b"<?=" + bytes([sign]) + b"$a;" for sign in b"@!([{}~+- \t\n"),
    b"<?=  @@$a;",
    b"<?=$_1234",
    b"<?=$abc;",
    b"<?=$a \n;",
    b"<?=$abc?>",
    b"<?=$z?>",
    b"<?=`x`",
    b"<?=`" + STRING + b"`",
    *(
        b"<?=" + quote + text + quote + gap + end
        for quote in (b'"', b"'")
        for text in (b"", STRING)
        for gap in (b"", b" \n")
        for end in (b";", b".", b"?")
    ),
    b"<?=/*12345678",
    b"<?=//12345678",
    b"<?=#12345678",
    b"<?=a(1234",
    b"<?=a()",
    b"<?=a ( \n)",
    b"<?=_()",
    b"<?=\\a\\b1()",
    b"<?=" + b"a" * 61 + b"()",
    *(b"<?=<<<" + quote + b"A" + quote + end for quote in (b"", b"'", b'"') for end in (b"\r", b"\n")),
    b"<?=<<<_" + b"a" * 60 + b"\n",
    b"<?=1?>",
    b"<?=1;?>",
    b"<?=1 \n?>",
    b"<?=1" + b"0" * 30 + b"?>",
    *(b"<?=1" + bytes([sign]) + b"?>" for sign in b"a1 .*+/()[]-"),
    *(b"<%" + bytes([sign]) + b"x%>" for sign in b"@=!:#$ \t\n-"),
    b"<%=" + b"1" * 200 + b"%>",
    *(b"<%" + bytes([sign]) + b" ab%>" for sign in b"@=! \n-"),
    b"<%ab%>",
    b"<%_.%>",
    b"<%a" + b"b" * 260 + b"%>",
    b"<%ab:" + b"x" * 199 + b"%>",
    *(b"<%ab" + gap + bytes([sign]) + b"x" * 12 for gap in (b"", b" \n") for sign in b'"(='),
    *(b"<%ab" + bytes([sign]) + b"<b>" + b"x" * 7 + b"%>" for sign in b'"(='),
    b'<%ab"%>',
    b"<b onabc=1234",
    b"<b on" + b"x" * 30 + b"=1234",
    b"<b onabc \n= \t1234",
]
"""Each is found in metadata and not in pixels, and ends with its last necessary byte."""

NOT_IN_METADATA = [
    b"<?phpx",
    b"<svg xy" + END,
    b"<svgxyz1",
    b"<?/*1234567" + END,
    b"<? echo " + END,
    b"<?/x12345678",
    b"<?$a;",
    b"<?=%$a;",
    b"<?=$1234",
    b"<?=$a" + b"123" + END,
    b"<?=$a" + END + b";",
    b"<?=$",
    b"<?=``",
    b"<?=`" + STRING + b"x`",
    *(b"<?=`x" + bytes([byte]) + b"x`" for byte in (0x00, 0x1F, 0x7F, 0x80, 0xFF)),
    *(b"<?=" + quote + STRING + b"x" + quote + b";" for quote in (b'"', b"'")),
    *(b"<?=" + quote + b"x" + quote + b"," for quote in (b'"', b"'")),
    *(
        b"<?=" + quote + b"x" + bytes([byte]) + quote + b";"
        for quote in (b'"', b"'")
        for byte in (0x00, 0x1F, 0x7F, 0x80, 0xFF)
    ),
    b"<?=/*1234567" + END,
    b"<?=/x12345678",
    b"<?=#1234567" + END,
    b"<?=a(123" + END,
    b"<?=1()",
    b"<?=" + b"a" * 62 + b"()",
    b"<?=a-b()",
    b"<?=<<A\n",
    b"<?=<<<1\n",
    b"<?=<<<A ",
    b"<?=<<<A" + b"a" * 61 + b"\n",
    b"<?=1" + b"0" * 31 + b"?>",
    b"<?=1,?>",
    b"<?=1;;?>",
    b"<?=1>",
    b"<%&x%>",
    b"<%=%>",
    b"<%=" + b"1" * 201 + b"%>",
    b"<%=x" + END + b"%>",
    b"<%a%>",
    b"<%1b%>",
    b"<%ab<%>",
    b"<%a" + b"b" * 261 + b"%>",
    b"<%ab:" + b"x" * 200 + b"%>",
    *(b"<%ab" + bytes([sign]) + b"x" * 11 + END for sign in b'"(='),
    *(b"<%ab" + bytes([sign]) + b"<" + b"x" * 10 + END + b"%>" for sign in b'"(='),
    b"<%ab," + b"x" * 12,
    b"<b onab=1234",
    b"<b on" + b"x" * 31 + b"=1234",
    b"<b onabc=123" + END,
    b"<b onabc=  12" + END,
    b"<b onabc=" + END + b"1234",
]


def test_active_content_in_pixels_is_found() -> None:
    def check(_shown: str, code: bytes) -> None:
        assert active.inside_pixels(END + code + END)
        assert active.inside(END + code + END), "metadata have every pattern of pixels"
        assert not active.inside_pixels(END + code[:-1] + END), "harmless without the last byte"

    assert not failures(check, ((repr(code), code) for code in IN_PIXELS))


def test_harmless_pixels_are_accepted() -> None:
    def check(_shown: str, code: bytes) -> None:
        assert not active.inside_pixels(END + code + END)

    assert not failures(check, ((repr(code), code) for code in (*NOT_IN_PIXELS, *IN_METADATA, *NOT_IN_METADATA)))


def test_active_content_in_metadata_is_found() -> None:
    def check(_shown: str, code: bytes) -> None:
        assert active.inside(END + code + END)
        assert not active.inside(END + code[:-1] + END), "harmless without the last byte"

    assert not failures(check, ((repr(code), code) for code in IN_METADATA))


def test_harmless_metadata_are_accepted() -> None:
    def check(_shown: str, code: bytes) -> None:
        assert not active.inside(END + code + END)

    assert not failures(check, ((repr(code), code) for code in NOT_IN_METADATA))


@pytest.mark.parametrize("search", [active.inside, active.inside_pixels])
def test_search_finds_matches_of_1024_bytes_across_its_steps(search: object) -> None:
    """A search has steps of 1 MiB. A longer match is found only if it does not cross the end of a step."""
    assert callable(search)
    code = {length: b"<b " + b"x" * (length - 11) + b" onload=" for length in (1024, 1025)}
    assert len(code[1024]) == 1024
    step = 1024 * 1024
    for start in (0, step - 1025, step - 1024, step - 1, step, step + 1):
        assert search(bytes(start) + code[1024])
    assert search(bytes(step - 1025) + code[1025])
    assert search(bytes(step) + code[1025])
    assert not search(bytes(step - 1) + code[1025])
