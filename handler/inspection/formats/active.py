"""Active content, which browsers, servers or desktops run: HTML, scripts, programs. No file name lets it in."""

from __future__ import annotations

import codecs
import re
import sys

from ...units import MIB

EMBEDDED = "a page or a script inside"
_WHITE_SPACE = b"\t\n\v\f\r "

# The beginning of a text that is a document or a script: elements that only a whole page starts with, elements that run
# or load something, instructions to an interpreter.
_DOCUMENT = re.compile(
    rb"""<(?: !doctype | \? | % | (?: [a-z]+: )?  # an XML prefix
         (?: html | head | body | title | base | meta | link | style | script | noscript | template | frameset | frame
           | iframe | object | embed | applet | form | svg | math | xml | xsl | stylesheet | transform
           | jsp: [a-z]+ | cfscript | cfexecute | cfinclude )
         (?= [\s/>] | \Z ) )
       | \#!""",
    re.IGNORECASE | re.VERBOSE,
)
# Other elements that a browser takes for HTML at the beginning of a text without a type (WHATWG MIME Sniffing, section
# 7.1), and elements that carry event handlers. Markdown may begin with these elements, because README files do.
_FRAGMENT = re.compile(
    rb"""<(?: !-- | (?: h[1-6] | div | font | table | a | b | br | p | center | span | img | picture | video | audio
                      | input | button | details | marquee | select | textarea | ul | ol | pre )
         (?= [\s/>] | \Z ) )""",
    re.IGNORECASE | re.VERBOSE,
)
# An element with an event handler at the beginning of a text, which not even Markdown needs. A quoted value may hold
# any bytes. A quotation mark begins a value only behind "=" (WHATWG HTML, "before attribute value state").
_HANDLER = re.compile(
    rb"""<[a-z] (?: = \s*+ (?: "[^"]*+" | '[^']*+' | (?! ["'] ) ) | [^=>] )*? [\s/] on[a-z]{3,30}+ \s*+ =""",
    re.IGNORECASE | re.VERBOSE,
)
# A comment as browsers read it: "<!-->" and "<!--->" are whole comments, and "--!>" ends a comment as well (WHATWG
# HTML, "comment start state", "comment start dash state" and "comment end bang state").
_COMMENT = re.compile(rb"<!--(?:-?>|.*?--!?>)[\t\n\v\f\r ]*+", re.DOTALL)
# XML that is a web page or a drawing with scripts, or that a stylesheet turns into one. The pattern is searched near
# the beginning of the XML, because comments, a DOCTYPE or another root element may stand first.
_ACTIVE_XML = re.compile(
    rb"<(?:[\w.-]+:)?(?:html|svg|script)[\s/>]|//www\.w3\.org/(?:1999/xhtml|2000/svg|1999/xsl)|<\?xml-stylesheet",
    re.IGNORECASE,
)
# The beginning of a page or a script in an image, a sound or a film. A server or a browser that is made to run or
# render the file begins there. Compressed data hold every short string by chance, and pixels that are not compressed
# are full of text such as "<?=<;<=>?>". The patterns are therefore long. A test computes that a million photos have
# none of them by chance.
_TEXT = rb"[\t\n\r\x20-\x7e]"
_TAG = rb"[\t\n\r\x20-;=-\x7e]"  # up to the next "<", so that the time stays linear
_EVENT = rb"""
    on (?: load | error | click | mouse[a-z]+ | pointer[a-z]+ | focus[a-z]*+ | toggle | begin | animation[a-z]+ ) \s*+ =
    """
_ANY_EVENT = rb"""(?: %b | on[a-z]{3,30}+ \s*+ = \s*+ %b{4} )""" % (_EVENT, _TEXT)


def _element_with(attribute: bytes) -> bytes:
    """Return the pattern of an element that has the attribute.

    The pattern ends before the next element, which a search finds by itself. The search reads no byte for two elements,
    so its time stays linear.

    :param attribute: the pattern of the attribute.
    """
    return rb"""[a-z] (?: [^<\x00-\x08\x0e-\x1f\s"'/]++ | [\s"'/]++ (?! %(attribute)b ) | <++ (?! [a-z] ) )*+
        [\s"'/]++ %(attribute)b""" % {b"attribute": attribute}


_ANYWHERE = rb"""
      \? php \s
    | html [\s/>] %(text)b{2}
    | (?: script | iframe ) [\s/>]
    | svg (?: [\s/] [^<>]{0,200}? (?: xmlns | viewbox | on[a-z]{4,20}+ \s*+ = ) | > \s*+ < )
    | !doctype \s+ html
    | !--\# (?: exec | include ) \s
    | jsp: [a-z]{6}
    | cf (?: script | execute | include ) [\s/>]
    """ % {b"text": _TEXT}
# Metadata are short, so shorter beginnings count there, together with characters that only code has behind them: colour
# profiles and the tables of a thumbnail are full of similar text.
_IN_METADATA = rb"""
      \? php \b
    | svg [\s/>] %(text)b{3}
    | \? / [*/] %(text)b{8}
    | \? [=\s] [\s@!(\[{}~+-]*+ (?= [$`"'/\#\w\\] | <<< ) (?:
          [$] [a-z_] (?: %(text)b{4} | \w*+ \s*+ (?: ; | \?> ) )
        | ` [^`\x00-\x1f\x7f-\xff]{1,200}+ `
        | " [^"\x00-\x1f\x7f-\xff]{0,200}+ " \s*+ [;.?]
        | ' [^'\x00-\x1f\x7f-\xff]{0,200}+ ' \s*+ [;.?]
        | (?: / [*/] | \# ) %(text)b{8}
        | [a-z_\\] [\w\\]{0,60}+ \s*+ \( (?: %(text)b{4} | \s*+ \) )
        | <<< ["']?+ [a-z_] \w{0,60}+ ["']?+ [\r\n]
        | (?: echo | print | include | require | return | eval | exit | die | if | for | foreach | while | function
            | class | namespace | use ) \b %(text)b{2}
        | \w [\w\x20.*+/()[\]-]{0,30}+ ;?+ \s*+ \?> )
    | %% [@=!:\#$\s-] %(tag)b{1,200}? %%>
    | %% [@=!\s-]?+ \s*+ [a-z_] [\w.]{1,60}+ (?:
          %(tag)b{0,200}? %%>
        | \s*+ ["(=] (?: %(text)b{12} | %(text)b{0,11}? %%> ) )
    """ % {b"text": _TEXT, b"tag": _TAG}
MAX_EMBEDDED_BYTES = 1024
"""The longest match that is found across two pieces of a file, in bytes."""
_STEP_BYTES = MIB
# The lookahead makes the search faster: most "<" in a photo fail there, before the alternatives are tried one by one.
_EMBEDDED_ANYWHERE = re.compile(
    rb"<(?=[!?a-z])(?:%b|%b)" % (_ANYWHERE, _element_with(_EVENT)), re.IGNORECASE | re.VERBOSE
)
_EMBEDDED_IN_METADATA = re.compile(
    rb"<(?=[!?%%a-z])(?:%b|%b|%b)" % (_ANYWHERE, _IN_METADATA, _element_with(_ANY_EVENT)), re.IGNORECASE | re.VERBOSE
)
_PROGRAMS = (
    (b"\x7fELF", "a program (ELF)"),
    (b"\xca\xfe\xba\xbe", "a program (Java class or Mach-O)"),
    (b"\xca\xfe\xba\xbf", "a program (Mach-O)"),
    (b"\xca\xfe\xd0\x0d", "a program (Java pack)"),
    (b"\xfe\xed\xfa\xce", "a program (Mach-O)"),
    (b"\xfe\xed\xfa\xcf", "a program (Mach-O)"),
    (b"\xce\xfa\xed\xfe", "a program (Mach-O)"),
    (b"\xcf\xfa\xed\xfe", "a program (Mach-O)"),
    (b"\x00asm", "a program (WebAssembly)"),
    (b"dex\n0", "a program (Android)"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "a Windows shortcut"),
    (b"FWS", "a Flash program"),
    (b"CWS", "a Flash program"),
    (b"ZWS", "a Flash program"),
    (b"ITSF", "a Windows help file"),
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # binary data bytes (WHATWG MIME Sniffing) and VT


def utf_16_encoding(head: bytes) -> str | None:
    """Return the codec of a text in UTF-16; ``None`` for any other bytes.

    UTF-16 shows by its byte order mark, or by a NUL in every other byte. Without the mark, three of four characters
    must be in Latin-1, as in text in English or German.

    :param head: the beginning of the text.
    """
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            return encoding
    even, odd = head[::2], head[1::2]
    for low, high, encoding in ((even, odd, "utf-16-le"), (odd, even, "utf-16-be")):
        if odd and 0 not in low and 4 * high.count(0) >= 3 * len(high):
            return encoding
    return None


def is_utf_32(head: bytes) -> bool:
    """Return whether a text is in UTF-32.

    UTF-32 shows by its byte order mark, or by two NULs in the same place of every character. Only the rarest characters
    do not have these NULs.

    :param head: the beginning of the text.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return True
    first, second, third, fourth = (head[at::4] for at in range(4))
    return bool(fourth) and (
        (not any(third + fourth) and 0 not in first) or (not any(first + second) and 0 not in fourth)
    )


def text_of(data: bytes) -> bytes:
    """Return the beginning of a text without byte order mark and leading white space, and UTF-16 as UTF-8."""
    if encoding := utf_16_encoding(data):
        data = data.decode(encoding, errors="replace").encode("utf-8", errors="replace")
    return data.removeprefix(codecs.BOM_UTF8).lstrip(_WHITE_SPACE)


def in_text(head: bytes, *, fragments: bool = False) -> str | None:
    """Return the name of the page or script that a text begins with; ``None`` for other text.

    :param head: the beginning of the text.
    :param fragments: whether the text may begin with a piece of HTML that is neither a page nor a script, as Markdown
        does.
    """
    text = text_of(head)
    at = 0
    if fragments:
        while comment := _COMMENT.match(text, at):
            at = comment.end()
    elif _FRAGMENT.match(text):
        return "HTML or XML"
    if _HANDLER.match(text, at):
        return "HTML with a script"
    if beginning := _DOCUMENT.match(text, at):
        is_script = beginning[0] in (b"#!", b"<?", b"<%") and text[at : at + 5].lower() != b"<?xml"
        return "a script" if is_script else "HTML or XML"
    return None


def in_anything(head: bytes) -> str | None:
    """Return the name of the active content that a file of an unknown type begins with; ``None`` for other content.

    :param head: the beginning of the file.
    """
    # A text can begin with the two letters, too ("MZ-01;..."). A program has control characters directly behind them.
    if head.startswith(b"MZ") and _CONTROL.search(head):
        return "a program (Windows)"
    for magic, kind in _PROGRAMS:
        if head.startswith(magic) and (not magic.isalpha() or _CONTROL.search(head)):
            return kind
    text = text_of(head)
    if text[:5].lower() == b"<?xml":  # many harmless formats are XML, so the elements decide
        return "XML that a browser runs" if _ACTIVE_XML.search(text) else None
    return in_text(head)


def inside(data: bytes, start: int = 0, end: int = sys.maxsize) -> bool:
    """Return whether there is a page or a script in data that may hold text, such as the metadata of an image.

    :param start: the position in ``data`` where the search begins, without a copy.
    :param end: the position where the search ends.
    """
    return _has(_EMBEDDED_IN_METADATA, data, start, end)


def inside_pixels(data: bytes) -> bool:
    """Return whether there is a page or a script in compressed data or pixels.

    Only patterns that are not there by chance are searched, in data of any length.
    """
    return _has(_EMBEDDED_ANYWHERE, data, 0, len(data))


def _has(pattern: re.Pattern[bytes], data: bytes, start: int, end: int) -> bool:
    """Search in steps, because a search holds the GIL, and the server answers no other request meanwhile."""
    end = min(end, len(data))
    return any(
        pattern.search(data, at, min(at + _STEP_BYTES + MAX_EMBEDDED_BYTES - 1, end))
        for at in range(start, end, _STEP_BYTES)
    )


_ACTIVE_MEDIA_TYPE = r"""(?x)
      .* / x?html? (?: \+xml )?
    | .* / (?: xml | xsl | .* \+xml )  # as HTML, XML is scriptable (WHATWG MIME Sniffing, section 4.6)
    | .* (?: script | macroenabled ) .*  # every name of JavaScript, VBScript, PostScript; Office with macros
    | .* / (?: x- )? (?: httpd- )? (?: php | python | perl | ruby | sh | csh | bat | asp | jsp | cgi ) \b .*
    | application / (?: hta | wasm | java-archive | java-vm | x-java .* | x-shockwave-flash | x-ms-shortcut
                      | x-ms-application | x-msdownload | x-msi | x-dosexec | x-executable | x-elf | x-mach-binary
                      | x-sharedlib | x-msdos-program | vnd\.microsoft\.portable-executable
                      | vnd\.android\.package-archive )
    | text / cache-manifest
    | (?: multipart | message ) / .*  # MHTML
    """


def is_active_media_type(media_type: str) -> bool:
    """Return whether a browser or a desktop would run a file that is served with this media type.

    :param media_type: in lower case.
    """
    return re.fullmatch(_ACTIVE_MEDIA_TYPE, media_type) is not None  # compiled only for a declared type
