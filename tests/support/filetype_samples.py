"""The smallest honest file of each known type, built by hand or by the standard library, images of any size."""

from __future__ import annotations

import gzip
import io
import json
import struct
import wave
import zipfile
import zlib
from collections.abc import Mapping, Sequence

from . import samples

OOXML = ("[Content_Types].xml", "_rels/.rels")


def png(width: int = 16, height: int = 16, *, depth: int = 8, color: int = 2, chunks: bytes = b"") -> bytes:
    pixels = zlib.compress(b"\x00" * 100)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + chunks
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def jpeg(width: int = 16, height: int = 16, *, segments: bytes = b"", frame: int = 0xC0, components: int = 3) -> bytes:
    """
    :param segments: the bytes between the start and the frame header.
    """
    sof = struct.pack(">BBHBHHB", 0xFF, frame, 8 + 3 * components, 8, height, width, components)
    sof += b"\x01\x11\x00" * components
    scan = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00\xd2\xcf\x20"
    return b"\xff\xd8" + segments + sof + scan + b"\xff\xd9"


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def lines(number: int) -> bytes:
    """The DNL segment, which counts the lines of a JPEG."""
    return jpeg_segment(0xDC, struct.pack(">H", number))


JFIF = jpeg_segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")


def gif(
    width: int = 16,
    height: int = 16,
    *,
    screen: tuple[int, int] | None = None,
    extensions: bytes = b"",
    version: bytes = b"89a",
) -> bytes:
    """
    :param screen: the size of the screen, where it is not that of the image.
    """
    colors = b"\x00\x00\x00\xff\xff\xff"
    image = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02D\x01\x00"
    screen_bytes = struct.pack("<HHBBB", *(screen or (width, height)), 0x80, 0, 0)
    return b"GIF" + version + screen_bytes + colors + extensions + image + b";"


def gif_comment(text: bytes) -> bytes:
    pieces = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"!\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\x00"


def riff(form: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\x00" * (len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + form + body


def webp_vp8(width: int = 16, height: int = 16) -> bytes:
    frame = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\x01\x00\x02\x00"
    return riff(b"WEBP", (b"VP8 ", frame))


def webp_vp8l(width: int = 16, height: int = 16) -> bytes:
    return riff(b"WEBP", (b"VP8L", vp8l(width, height)))


def webp_vp8x(
    width: int = 16, height: int = 16, *, frame: tuple[int, int] = (16, 16), more: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """
    :param frame: its size, where it is not that of the canvas.
    :param more: further chunks, behind the frame.
    """
    canvas = b"\x10\x00\x00\x00" + uint24(width - 1) + uint24(height - 1)
    return riff(b"WEBP", (b"VP8X", canvas), (b"VP8L", vp8l(*frame)), *more)


def webp_film(width: int = 16, height: int = 16, *, left: int = 0, frame: tuple[int, int] = (16, 16)) -> bytes:
    """An animation of one frame.

    :param left: where in the canvas the frame begins; even.
    :param frame: its size.
    """
    pixels = riff(b"", (b"VP8L", vp8l(*frame)))[8:]
    corner = uint24(left // 2) + uint24(0) + uint24(frame[0] - 1) + uint24(frame[1] - 1) + bytes(4)
    canvas = b"\x02\x00\x00\x00" + uint24(width - 1) + uint24(height - 1)
    return riff(b"WEBP", (b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", corner + pixels))


def vp8l(width: int, height: int) -> bytes:
    return b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x07\x10\x11\x11\x88\x88\xfe\x07"


def uint24(number: int) -> bytes:
    return number.to_bytes(3, "little")


def bmp(width: int = 16, height: int = 16, *, gap: bytes = b"") -> bytes:
    """
    :param gap: the bytes between the header and the pixels.
    """
    pixels = _pixels(width, height)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0) + gap
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header)) + header + pixels


def bmp_core(width: int = 16, height: int = 16) -> bytes:
    pixels = _pixels(width, height)
    header = struct.pack("<IHHI", 26 + len(pixels), 0, 0, 26) + struct.pack("<IHHHH", 12, width, height, 1, 24)
    return b"BM" + header + pixels


def bmp_os2(width: int = 16, height: int = 16, *, header: int = 16) -> bytes:
    """
    :param header: how many bytes of BITMAPINFOHEADER2 there are: 16 to 64.
    """
    content = struct.pack("<IIIHH", header, width, height, 1, 24).ljust(header, b"\x00")
    pixels = _pixels(width, height)
    return b"BM" + struct.pack("<IHHI", 14 + header + len(pixels), 0, 0, 14 + header) + content + pixels


def _pixels(width: int, height: int) -> bytes:
    """Black ones of 24 bits, or the first of an image that is large."""
    return bytes(min(900, (abs(width) * 3 + 3) // 4 * 4 * abs(height)))


def tiff(*pages: tuple[int, int], order: str = "<", short: bool = False, more: Sequence[tuple[int, int]] = ()) -> bytes:
    """
    :param pages: width and height of each.
    :param more: further tags with their values, of each page.
    :param order: ``<`` is Intel's, ``>`` is Motorola's.
    """
    content = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(order + "I", 8)
    for number, (width, height) in enumerate(pages or ((16, 16),)):
        entries = b"".join(
            struct.pack(order + "HHI", tag, 3 if short else 4, 1)
            + struct.pack(order + ("HH" if short else "I"), *((value, 0) if short else (value,)))
            for tag, value in ((256, width), (257, height), (259, 1), (262, 1), *more)
        )
        last = number + 1 >= len(pages or (None,))
        following = 0 if last else len(content) + 2 + len(entries) + 4
        content += struct.pack(order + "H", 4 + len(more)) + entries + struct.pack(order + "I", following)
    return content


def tiff_with_pixels(*, tiles: bool = False) -> bytes:
    """One page of 16 pixels, which end the file."""
    offsets, length = (324, 325) if tiles else (273, 279)
    return tiff((4, 4), more=((offsets, 8 + 2 + 6 * 12 + 4), (length, 16))) + bytes(range(16))


def big_tiff(width: int = 16, height: int = 16, *, order: str = "<") -> bytes:
    entries = b"".join(
        struct.pack(order + "HHQQ", tag, 16, 1, value)
        for tag, value in ((256, width), (257, height), (259, 1), (262, 1))
    )
    header = (b"II+\x00" if order == "<" else b"MM\x00+") + struct.pack(order + "HHQ", 8, 0, 16)
    return header + struct.pack(order + "Q", 4) + entries + bytes(8)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major, b"\x00\x00\x00\x00", *compatible)


def heif_image(
    *sizes: tuple[int, int],
    brands: Sequence[bytes] = (b"heic", b"mif1", b"heic"),
    handler: bytes = b"pict",
    more: bytes = b"",
) -> bytes:
    """
    :param sizes: the sizes of the image, its tiles and its thumbnail.
    :param more: further boxes of the metadata.
    """
    meta = box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), handler, bytes(13)),
        box(b"pitm", bytes(4), b"\x00\x01"),
        properties(*sizes),
        more,
    )
    return ftyp(*brands) + meta + box(b"mdat", b"\x12\x00\x0a\x0a" * 8)


def properties(*sizes: tuple[int, int]) -> bytes:
    ispe = [box(b"ispe", bytes(4), struct.pack(">II", *size)) for size in sizes or ((16, 16),)]
    return box(b"iprp", box(b"ipco", box(b"pixi", bytes(4), b"\x03\x08\x08\x08"), *ispe), box(b"ipma", bytes(8)))


def image_sequence(
    *,
    track: tuple[int, int] = (16, 16),
    sample: tuple[int, int] = (16, 16),
    image: tuple[int, int] | None = (16, 16),
    brands: Sequence[bytes] = (b"avis", b"avis", b"avif", b"msf1"),
    version: int = 0,
) -> bytes:
    """
    :param track: the size in the header of the track.
    :param sample: the size in the description of its samples.
    :param image: the size of the still image, if there is one.
    :param version: of the header of the track.
    """
    header = bytes([version, 0, 0, 3]) + bytes(84 if version else 72) + struct.pack(">II", *(n << 16 for n in track))
    entry = box(b"av01", bytes(24), struct.pack(">HH", *sample), bytes(50))
    table = box(b"stbl", box(b"stsd", bytes(4), struct.pack(">I", 1), entry))
    media = box(b"mdia", box(b"mdhd", bytes(24)), box(b"hdlr", bytes(8), b"pict", bytes(13)), box(b"minf", table))
    still = heif_image(image)[24:] if image else b""
    return ftyp(*brands) + still + box(b"moov", box(b"mvhd", bytes(100)), box(b"trak", box(b"tkhd", header), media))


def film(*brands: bytes, before: bytes = b"") -> bytes:
    return (ftyp(*brands) if brands else b"") + before + box(b"moov", box(b"mvhd", bytes(100)))


def make_zip(names: Mapping[str, bytes] | Sequence[str], *, comment: bytes = b"", stored: Sequence[str] = ()) -> bytes:
    """
    :param names: of the entries, with their content or without.
    :param stored: which of them are not compressed.
    """
    entries = names if isinstance(names, Mapping) else dict.fromkeys(names, b"<x/>")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)  # of 1980: the same bytes at each run
            archive.writestr(info, content, zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED)
        archive.comment = comment
    return buffer.getvalue()


def office(folder: str, *more: str) -> bytes:
    return make_zip([*OOXML, f"{folder}/main.xml", *more])


def open_document(media_type: str, *more: str, first: str = "mimetype", compressed: bool = False) -> bytes:
    content = {first: media_type.encode(), "content.xml": b"<x/>", "META-INF/manifest.xml": b"<x/>"}
    return make_zip(content | dict.fromkeys(more, b"<x/>"), stored=() if compressed else (first,))


def mp3_frames(count: int = 3) -> bytes:
    """MPEG 1, layer III, 128 kbit/s, 44.1 kHz: frames of 417 bytes."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * count


def id3(length: int = 20, *, flags: int = 0) -> bytes:
    size = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + bytes([flags]) + size + bytes(length)


def free_mp3_frames(count: int = 3, *, length: int = 1000) -> bytes:
    """The same in free format: each length that there is, and a padded frame."""
    frame = b"\xff\xfb\x00\x00" + b"\x55" * (length - 4)
    return frame + (b"\xff\xfb\x02\x00" + frame[4:] + b"\x55") + frame * (count - 2)


def wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(64))
    return buffer.getvalue()


def wav_of_motorola() -> bytes:
    chunks = (
        b"fmt " + struct.pack(">IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + struct.pack(">I", 64) + bytes(64)
    )
    return b"RIFX" + struct.pack(">I", 4 + len(chunks)) + b"WAVE" + chunks


def webm(
    doc_type: bytes = b"webm",
    *,
    after: bytes = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",
    more: bytes = b"",
    size_bytes: int = 1,
) -> bytes:
    """
    :param after: the bytes after the header.
    :param more: further elements of the header.
    :param size_bytes: how many bytes the size of the header takes.
    """
    elements = b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08"
    elements += b"\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type + b"\x42\x87\x81\x04\x42\x85\x81\x02" + more
    size = (len(elements) | 1 << 7 * size_bytes).to_bytes(size_bytes, "big")
    return b"\x1a\x45\xdf\xa3" + size + elements + after


OPUS = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"


def ogg(*packets: bytes) -> bytes:
    """
    :param packets: the first of each stream.
    """
    return b"".join(
        b"OggS\x00\x02" + bytes(20) + b"\x01" + bytes([len(packet)]) + packet for packet in packets or (OPUS,)
    )


ODF = "application/vnd.oasis.opendocument."

BY_EXTENSION = {
    "txt": samples.TEXT,
    "csv": samples.CSV,
    "md": b"# Title\n\nSome *text*.\n",
    "json": json.dumps({"a": [1, 2.5, None], "b": "ü"}).encode(),
    "pdf": samples.PDF,
    "png": png(),
    "jpg": jpeg(segments=JFIF),
    "gif": gif(),
    "webp": webp_vp8(),
    "avif": heif_image(brands=(b"avif", b"avif", b"mif1", b"miaf")),
    "heic": heif_image(),
    "heif": heif_image(brands=(b"mif1", b"mif1", b"unci")),
    "tif": tiff(),
    "bmp": bmp(),
    "docx": office("word"),
    "xlsx": office("xl"),
    "pptx": office("ppt"),
    "odt": open_document(ODF + "text"),
    "ods": open_document(ODF + "spreadsheet"),
    "odp": open_document(ODF + "presentation"),
    "zip": make_zip({"a.txt": b"hello", "b/c.txt": b"world"}),
    "gz": gzip.compress(b"hello", mtime=0),
    "mp3": id3() + mp3_frames(),
    "wav": wav(),
    "ogg": ogg(),
    "m4a": film(b"M4A ", b"M4A ", b"mp42", b"isom"),
    "mp4": film(b"isom", b"isom", b"iso2", b"avc1", b"mp41"),
    "mov": film(b"qt  ", b"qt  "),
    "webm": webm(),
}
"""For each type the one extension that comes first; see :data:`SYNONYMS`."""

SYNONYMS = {"jpeg": "jpg", "tiff": "tif"}

VARIANTS = {
    "a PNG of one bit": ("png", png(depth=1, color=0)),
    "a PNG with text": ("png", png(chunks=png_chunk(b"tEXt", b"Software\x00draw & write <https://example.org>"))),
    "a bare JPEG": ("jpg", jpeg()),
    "a progressive JPEG": ("jpg", jpeg(frame=0xC2, segments=JFIF + jpeg_segment(0xDB, bytes(65)))),
    "a grey JPEG": ("jpg", jpeg(components=1)),
    "a JPEG with tables first": ("jpg", jpeg(segments=jpeg_segment(0xC4, bytes(30)) + jpeg_segment(0xFE, b"hi"))),
    "a JPEG with fill bytes": ("jpg", jpeg(segments=JFIF + b"\xff" * 5000)),
    "a JPEG of a telephone": ("jpg", jpeg(segments=jpeg_segment(0xE1, b"Exif\x00\x00" + bytes(60_000)))),
    "a JPEG with a map of depth": ("jpg", jpeg(segments=jpeg_segment(0xE1, bytes(65_533)) * 55)),
    "a JPEG with stray bytes": ("jpg", jpeg(segments=JFIF + b"stray" + jpeg_segment(0xFE, b"hi") + b"\x00\x01\x02")),
    "a JPEG with stuffed bytes": ("jpg", jpeg(segments=JFIF + b"\xff\x00\xff\x00" + jpeg_segment(0xFE, b"hi"))),
    "a JPEG with a length one too small": ("jpg", jpeg(segments=b"\xff\xfe\x00\x05hihi" + JFIF)),
    "a JPEG with a restart first": ("jpg", jpeg(segments=b"\xff\xd0\xff\x01" + JFIF)),
    "a JPEG with much fill": ("jpg", jpeg(segments=b"\xff" * 100_000)),
    "a JPEG without an end": ("jpg", jpeg()[:-2]),
    "a PNG without an end": ("png", png()[:-12]),
    "a PNG with bytes behind it": ("png", png() + b"\x00\x01\x02\x03" * 9),
    "an animated PNG": (
        "png",
        png()[:-12] + png_chunk(b"fcTL", bytes(26)) + png_chunk(b"fdAT", bytes(99)) + png()[-12:],
    ),
    "a GIF without an end": ("gif", gif()[:-1]),
    "a GIF with bytes behind it": ("gif", gif() + bytes(99)),
    "a GIF with much before its image": ("gif", gif(extensions=gif_comment(b"x" * 300_000))),
    "a PDF about pages": ("pdf", samples.PDF + b"2 0 obj (<html><script>) endobj"),
    "a GIF of 1987": ("gif", gif(version=b"87a")),
    "a GIF with a comment": ("gif", gif(extensions=b"!\xf9\x04\x00\x00\x00\x00\x00" + gif_comment(b"hi" * 3000))),
    "a GIF of 256 colours": ("gif", gif()[:10] + b"\xf7" + gif()[11:13] + bytes(768) + gif()[19:]),
    "a GIF without a screen": ("gif", gif(screen=(0, 0))),
    "a lossless JPEG": ("jpg", jpeg(frame=0xC3)),
    "a JPEG with an empty comment": ("jpg", jpeg(segments=jpeg_segment(0xFE, b""))),
    "a lossless WebP": ("webp", webp_vp8l()),
    "the smallest lossless WebP": ("webp", riff(b"WEBP", (b"VP8L", vp8l(1, 1)[:8]))),
    "a WebP film": ("webp", webp_film()),
    "an extended WebP": ("webp", webp_vp8x()),
    "a WebP with bytes behind it": ("webp", webp_vp8() + bytes(10)),
    "a HEIC that says so second": ("heic", heif_image(brands=(b"mif1", b"mif1", b"heic"))),
    "an AVIF with tiles": ("avif", heif_image((512, 512), (4032, 3024), brands=(b"mif1", b"avif"))),
    "a HEIC that does not say so": ("heic", heif_image(brands=(b"mif1", b"mif1", b"miaf"))),
    "a HEIC whose coding says so": ("heic", heif_image(brands=(b"mif1", b"mif1"), more=box(b"idat", b"hvcC"))),
    "an AVIF sequence": ("avif", image_sequence()),
    "an AVIF sequence without a still image": ("avif", image_sequence(image=None, version=1)),
    "a TIFF whose second page is damaged": ("tif", tiff((9, 9), (9, 9))[:-20]),
    "a TIFF whose second page has no size": ("tif", tiff((9, 9), (0, 0))),
    "a BigTIFF": ("tif", big_tiff()),
    "a BigTIFF of Motorola": ("tif", big_tiff(order=">")),
    "a TIFF of Motorola": ("tif", tiff(order=">")),
    "a TIFF with a strip": ("tif", tiff_with_pixels()),
    "a TIFF with a tile": ("tif", tiff_with_pixels(tiles=True)),
    "a TIFF in shorts": ("tif", tiff(order=">", short=True)),
    "a TIFF of many pages": ("tif", tiff(*[(100, 100)] * 30)),
    "a BMP from the top": ("bmp", bmp(16, -16)),
    "a BMP of OS/2": ("bmp", bmp_core()),
    "a BMP of OS/2, 16 bytes": ("bmp", bmp_os2()),
    "a BMP of OS/2, 64 bytes": ("bmp", bmp_os2(header=64)),
    "a BMP with a gap": ("bmp", bmp(gap=bytes(1000))),
    "a zip with a comment": ("zip", make_zip(["a"], comment=b"x" * 10_000)),
    "an empty zip": ("zip", make_zip([])),
    "a zip with folders": ("zip", make_zip(["a/", "a/..b", "a/b..", "ünï"])),
    "a docx with pictures": ("docx", office("word", *(f"word/media/image{n}.png" for n in range(300)))),
    "a docx with embedded objects": ("docx", office("word", "word/embeddings/oleObject1.bin")),
    "an MP3 with a large cover": ("mp3", id3(3_000_000) + mp3_frames()),
    "an MP3 without a tag": ("mp3", mp3_frames()),
    "an MP3 with a cover": ("mp3", id3(500_000) + mp3_frames()),
    "an MP3 with two tags": ("mp3", id3() + id3() + mp3_frames()),
    "an MP3 with padding": ("mp3", id3() + bytes(1000) + mp3_frames()),
    "an MP3 from mid-frame": ("mp3", mp3_frames()[200:] + mp3_frames()),
    "an MP3 with zeros first": ("mp3", bytes(20_000) + mp3_frames()),
    "an MP3 with a tag, then zeros": ("mp3", id3() + bytes(60_000) + mp3_frames()),
    "an MP3 with another tag first": ("mp3", b"APETAGEX" + b"\x55" * 500 + mp3_frames()),
    "an MP3 in free format": ("mp3", free_mp3_frames()),
    "an MP3 in free format with a tag": ("mp3", id3() + free_mp3_frames(9)),
    "an MP3 with a footer": ("mp3", id3(flags=0x10) + b"3DI" + bytes(7) + mp3_frames()),
    "a WAV with other chunks first": (
        "wav",
        riff(b"WAVE", (b"bext", bytes(603)), (b"fmt ", struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16))),
    ),
    "a WAV written as a stream": ("wav", b"RIFF\xff\xff\xff\xff" + wav()[8:]),
    "a WAV beyond 4 GiB": (
        "wav",
        b"RF64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00" + bytes(28) + wav()[12:],
    ),
    "a WAV that is a BW64": ("wav", b"BW64\xff\xff\xff\xffWAVEds64\x1c\x00\x00\x00" + bytes(28) + wav()[12:]),
    "a WAV of Motorola": ("wav", wav_of_motorola()),
    "a WAV with an odd chunk": ("wav", wav()[:12] + b"note\x03\x00\x00\x00abc\x00" + wav()[12:]),
    "a WAV with an odd chunk and no padding": ("wav", wav()[:12] + b"note\x03\x00\x00\x00abc" + wav()[12:]),
    "Ogg with a skeleton": ("ogg", ogg(b"fishead\x00" + bytes(56), OPUS)),
    "Ogg with a skeleton behind": ("ogg", ogg(b"\x01vorbis" + bytes(23), b"fishead\x00" + bytes(56))),
    "CELT": ("ogg", ogg(b"CELT    " + bytes(20))),
    "Vorbis": ("ogg", ogg(b"\x01vorbis" + bytes(23))),
    "an MP4 with its index last": ("mp4", film(b"mp42", b"isom", before=box(b"free") + box(b"mdat", bytes(100_000)))),
    "an MP4 with a large box": (
        "mp4",
        film(b"mp42", b"isom", before=struct.pack(">I4sQ", 1, b"mdat", 100_016) + bytes(100_000)),
    ),
    "an MP4 of a telephone": ("mp4", film(b"3gp4", b"3gp4")),
    "a QuickTime film without a file type": ("mov", film(before=box(b"wide") + box(b"mdat", bytes(50)))),
    "a WebM of Chromium with H.264": ("webm", webm(b"matroska")),
    "a WebM with a long size": ("webm", webm(size_bytes=8)),
    "a WebM with padding in its header": ("webm", webm(more=b"\xec\x90" + bytes(16))),
    "a WebM with padding behind its header": ("webm", webm(after=b"\xec\x90" + bytes(16) + b"\x18\x53\x80\x67\x80")),
    "a WebM with a terminated name": ("webm", webm(b"webm\x00")),
    "JSON, a list": ("json", b" [ {} ]\n"),
    "JSON, a string": ("json", b'"<script>"'),
    "JSON, a number": ("json", b"-1.5e3"),
    "JSON, a word": ("json", b"null\n"),
    "JSON with a mark": ("json", b"\xef\xbb\xbf{}"),
    "JSON, lines": ("json", b'{"a": 1}\n{"a": 2}\n'),
    "JSON, large": ("json", json.dumps(["ü" * 10] * 5000, ensure_ascii=False).encode()),
}
"""Other honest files."""
