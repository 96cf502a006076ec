"""Sound and film that are not files of boxes: MP3, WAV, WebM, Ogg. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple

from . import Dimensions, File, Mismatch, Steps

MAX_TAGS = 4
"""How many ID3 tags may stand before the sound of an MP3: programs that prepend one to what has one are not rare."""
_OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")

# Layer III of ISO/IEC 11172-3 and 13818-3, section 2.4.2.3: kilobits a second by index, from 1 on, of MPEG 1 and of 2
# and 2.5.
_KILOBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class Mp3Frame(NamedTuple):
    """What a header says of its frame.

    :param version: as the header has it: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5.
    :param hertz: samples a second.
    :param length: of the frame, the header included, in bytes.
    """

    version: int
    hertz: int
    length: int


def mp3(file: File) -> Steps[Dimensions | None]:
    """ID3 tags, if any (ID3v2.4, section 3.1), then a frame of MPEG Layer III that another follows."""
    at = 0
    for _ in range(MAX_TAGS):
        tag = yield from file.need(at, 10)
        if not tag.startswith(b"ID3"):
            break
        if tag[3] == 0xFF or tag[4] == 0xFF or any(byte > 0x7F for byte in tag[6:10]):
            raise Mismatch("its ID3 tag is damaged")
        at += 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
        at += 10 if tag[5] & 0x10 else 0  # a footer
    if at:  # padding that the tag's size does not count is common
        padded = yield from file.read(at, 4096)
        at += len(padded) - len(padded.lstrip(b"\x00"))
    frame = mp3_frame((yield from file.need(at, 4)))
    if frame is None:
        raise Mismatch("it has no MP3 frame")
    following = mp3_frame((yield from file.need(at + frame.length, 4)))
    if following is None or following[:2] != frame[:2]:
        raise Mismatch("it has no second MP3 frame")
    return None


def mp3_frame(header: bytes) -> Mp3Frame | None:
    """The frame of Layer III that these four bytes begin, if they begin one."""
    word = int.from_bytes(header, "big")
    version, layer, bitrate, rate = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    hertz = _HERTZ[version][rate]
    length = (144 if version == 3 else 72) * 1000 * _KILOBITS[version == 3][bitrate - 1] // hertz + (word >> 9 & 1)
    return Mp3Frame(version, hertz, length)


def wav(file: File) -> Steps[Dimensions | None]:
    """A RIFF container of the form WAVE, then chunks up to its format (Microsoft and IBM: "Multimedia Programming
    Interface and Data Specifications 1.0"); or RF64, the same beyond 4 GiB (EBU Tech 3306). The container's own size
    is wrong where it was written as a stream, so it is not looked at."""
    head = yield from file.need(0, 12)
    if not head.startswith((b"RIFF", b"RF64")) or head[8:12] != b"WAVE":
        raise Mismatch("it has no WAVE header")
    at = 12
    while True:
        kind, length = struct.unpack("<4sI", (yield from file.need(at, 8)))
        if kind == b"fmt ":
            break
        if kind == b"data":
            raise Mismatch("it has no WAVE format before its sound")
        at += 8 + length + length % 2
    _, channels, hertz, _, block, _ = struct.unpack("<HHIIHH", (yield from file.need(at + 8, 16)))
    if length < 16 or not (channels and hertz and block):
        raise Mismatch("its WAVE format has values that do not exist")
    return None


def webm(file: File) -> Steps[Dimensions | None]:
    """An EBML header whose DocType is "webm", then a segment (RFC 8794, section 11.2; WebM Container Guidelines)."""
    head = yield from file.head()
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        raise Mismatch("it has no EBML header")
    length, at = _variable(head, 4)
    end, doc_type = at + length, b""
    if end > len(head):
        raise Mismatch("its EBML header is too long")
    while at < end:
        name = head[at : at + 2] if head[at] >> 6 == 1 else head[at : at + 1]  # all of them have one byte or two
        length, start = _variable(head, at + len(name))
        if name == b"\x42\x82":
            doc_type = head[start : start + length].rstrip(b"\x00")
        at = start + length
    if doc_type != b"webm":
        raise Mismatch("its EBML header does not say WebM")
    if (yield from file.need(end, 4)) != b"\x18\x53\x80\x67":
        raise Mismatch("it has no segment")
    return None


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """An integer of variable length (RFC 8794, section 4), and where it ends."""
    first = data[at] if at < len(data) else 0
    if not first:
        raise Mismatch("its EBML header is damaged")
    length = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
    return value, at + length


def ogg(file: File) -> Steps[Dimensions | None]:
    """The first page of a stream (RFC 3533, section 6), with the header of a codec for sound."""
    head = yield from file.need(0, 28)
    if not head.startswith(b"OggS\x00") or not head[5] & 2:
        raise Mismatch("it has no Ogg page")
    if not (yield from file.read(27 + head[26], 8)).startswith(_OGG_CODECS):
        raise Mismatch("it is no sound in Vorbis, Opus, FLAC or Speex")
    return None
