"""Sound and film that are not files of boxes: MP3, WAV, WebM, Ogg."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from ...units import KIB
from . import HEAD_BYTES, MAX_PARTS, Damaged, Dimensions, File, Mismatch, Steps, Unsafe, active

MAX_TAGS = 4
"""The largest number of ID3 tags before the sound of an MP3. Many programs add a tag to a file that has one."""
MP3_SEARCH_BYTES = 64 * KIB
"""The first frame of an MP3 must begin within this distance of its tags. A recording can begin in mid-frame."""
_MP3_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # eleven ones, a version that exists, Layer III
_MIN_FREE_FRAME_BYTES = 24  # 8 kilobits a second at 24 kHz
_MAX_FREE_FRAME_BYTES = 4608
"""The longest frame in free format: 640 kilobits a second at 32 kHz are 2,880 bytes, and some encoders go beyond."""
_MP3_SEEN_BYTES = MP3_SEARCH_BYTES + 2 * _MAX_FREE_FRAME_BYTES
_MAX_FREE_FRAMES = 16
"""The number of headers in free format that are followed, because each one takes a search."""
MAX_OGG_STREAMS = 16
"""The number of streams of an Ogg file that are checked. The first pages of all streams stand at the beginning."""
_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC", b"Speex   ", b"CELT    ")
_OGG_FILM = (b"\x80theora", b"BBCD\x00", b"\x01video", b"OVP80")
_EBML_GLOBAL = (b"\xec", b"\xbf")
"""Elements that may stand anywhere: padding and a checksum (RFC 8794, section 11.3)."""

# Layer III of ISO/IEC 11172-3 and 13818-3, section 2.4.2.3: kilobits a second by index, from 1 on. True is MPEG 1,
# False is MPEG 2 and 2.5.
_KILOBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class Mp3Frame(NamedTuple):
    """A frame, as its header describes it.

    :param version: the number in the header: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5.
    :param hertz: samples a second.
    :param length: the length of the frame with its header, in bytes.
    """

    version: int
    hertz: int
    length: int


def mp3(file: File) -> Steps[Dimensions | None]:
    """Check the ID3 tags, if any (ID3v2.4, section 3.1), and the first frames of MPEG Layer III.

    Two frames must follow each other within :data:`MP3_SEARCH_BYTES` behind the tags. Padding that the size of a tag
    does not count is common.
    """
    at = yield from _id3_end(file)
    if at:
        yield from file.need(at, 4)
    data = yield from file.read(at, _MP3_SEEN_BYTES)
    first = _first_mp3_frame(data)
    if first and (kind := active.in_anything((yield from file.head()))):
        raise Mismatch(f"it is {kind}")
    return None


def _id3_end(file: File) -> Steps[int]:
    """Return the position behind the ID3 tags at the beginning of the file; 0 without a tag.

    :raises Mismatch: a tag is damaged, or there are more than :data:`MAX_TAGS`.
    """
    at = 0
    for _ in range(MAX_TAGS):
        if at:  # behind a large tag, in one range with the frames
            yield from file.read(at, _MP3_SEEN_BYTES)
        tag = yield from file.read(at, 10)
        if not tag.startswith(b"ID3"):
            return at
        if len(tag) < 10:
            raise Damaged("it ends too early")
        if tag[3] == 0xFF or tag[4] == 0xFF or any(byte > 0x7F for byte in tag[6:10]):
            raise Damaged("its ID3 tag is damaged")
        at += 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
        at += 10 if tag[5] & 0x10 else 0  # a footer
    raise Mismatch("it has no MP3 frame")


def _first_mp3_frame(data: bytes) -> int:
    """Return the position of the first frame that other frames follow.

    :raises Mismatch: no frame is followed by another.
    """
    free_frames = 0
    for sync in _MP3_SYNC.finditer(data, 0, MP3_SEARCH_BYTES + 1):
        at = sync.start()
        if mp3_frame(data[at : at + 4]):
            # Other data sometimes look like two frames by chance, but rarely from their first byte on.
            if _mp3_frames_follow(data, at, 1 if at == 0 else 2):
                return at
        elif free_frames < _MAX_FREE_FRAMES and _is_free_mp3_frame(data[at : at + 4]):
            free_frames += 1
            if _free_mp3_frames_follow(data, at, 4):
                return at
    frame = mp3_frame(data[:4])
    if frame is None:
        raise Mismatch("it has no MP3 frame")
    raise Damaged("it has no second MP3 frame" if len(data) >= frame.length + 4 else "it ends too early")


def _mp3_frames_follow(data: bytes, at: int, number: int) -> bool:
    """Return whether ``number`` frames of the same version and rate follow the frame at ``at``.

    Where the data end, one frame is enough.
    """
    first = frame = mp3_frame(data[at : at + 4])
    for followed in range(number):
        if not (first and frame):
            return False
        at += frame.length
        if at + 4 > len(data):
            return followed > 0
        frame = mp3_frame(data[at : at + 4])
        if frame is None or frame[:2] != first[:2]:
            return False
    return True


def _is_free_mp3_frame(header: bytes) -> bool:
    """Return whether the header is of a frame in free format: its bit rate has no number (section 2.4.2.3)."""
    return len(header) == 4 and not header[2] >> 4 and header[2] >> 2 & 3 != 3


def _free_mp3_frames_follow(data: bytes, at: int, number: int) -> bool:
    """Return whether ``number`` frames of the same kind follow the frame at ``at`` at equal distances.

    Where the data end, one frame is enough. The lengths of the frames differ by their padding, which is one byte.
    """
    paddings = bytes((data[at + 2] & 0xFD, data[at + 2] | 0x02))
    header = re.compile(re.escape(data[at : at + 2]) + b"[%b]" % re.escape(paddings))
    for second in header.finditer(data, at + _MIN_FREE_FRAME_BYTES, at + _MAX_FREE_FRAME_BYTES):
        length, last = second.start() - at, second.start()
        for _ in range(number - 1):
            if last + length + 4 > len(data):
                return True
            following = header.search(data, last + length - 1, last + length + 4)
            if following is None:
                break
            last = following.start()
        else:
            return True
    return False


def mp3_frame(header: bytes) -> Mp3Frame | None:
    """Return the frame of Layer III that begins with this header; ``None`` if no such frame does.

    :param header: four bytes.
    """
    word = int.from_bytes(header, "big")
    version, layer, bitrate, rate = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    hertz = _HERTZ[version][rate]
    length = (144 if version == 3 else 72) * 1000 * _KILOBITS[version == 3][bitrate - 1] // hertz + (word >> 9 & 1)
    return Mp3Frame(version, hertz, length)


def wav(file: File) -> Steps[Dimensions | None]:
    """Check a RIFF container of the form WAVE, and its chunks up to the format.

    Source: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0". RIFX is the same in the
    other order of bytes, and RF64 and BW64 are the same beyond 4 GiB (EBU Tech 3306, ITU-R BS.2088). The size in the
    header of the container is ignored, because it is wrong in a file that was written as a stream.
    """
    yield from file.begins_with(b"RIFF", b"RIFX", b"RF64", b"BW64", otherwise="it has no WAVE header")
    head = yield from file.need(0, 12)
    if head[8:12] != b"WAVE":
        raise Mismatch("it has no WAVE header")
    order = ">" if head.startswith(b"RIFX") else "<"
    at = 12
    for _ in range(MAX_PARTS):
        kind, length = struct.unpack(order + "4sI", (yield from file.need(at, 8)))
        if kind == b"fmt ":
            break
        if kind == b"data":
            raise Mismatch("it has no WAVE format before its sound")
        at += 8 + length
        if length % 2 and (yield from file.read(at, 1)) == b"\x00":  # some programs write no padding
            at += 1
    else:
        raise Unsafe("it has more chunks than are checked")
    _, channels, hertz, _, block, _ = struct.unpack(order + "HHIIHH", (yield from file.need(at + 8, 16)))
    if length < 16 or not (channels and hertz and block):
        raise Damaged("its WAVE format has values that do not exist")
    return None


def webm(file: File) -> Steps[Dimensions | None]:
    """Check an EBML header, then a segment (RFC 8794, section 11.2; WebM Container Guidelines).

    The document type is "webm" or "matroska". WebM is a part of Matroska, and Chromium writes "matroska" when it
    records H.264.
    """
    head = yield from file.head()
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        raise Mismatch("it has no EBML header")
    doc_type, end = _ebml_header(head)
    if doc_type not in (b"webm", b"matroska"):
        raise Mismatch("its EBML header does not name WebM")
    for _ in range(MAX_PARTS):
        element = yield from file.read(end, 12)
        name, at = _element_id(element, 0)
        if name == b"\x18\x53\x80\x67":
            return None
        if name not in _EBML_GLOBAL:
            break
        length, at = _variable(element, at)
        end += at + length
    raise Mismatch("it has no segment")


def _ebml_header(head: bytes) -> tuple[bytes, int]:
    """Return the document type in an EBML header, and the position behind the header.

    :param head: the beginning of the file.
    :raises Mismatch: the header is damaged, or longer than ``head``.
    """
    length, at = _variable(head, 4)
    end, doc_type = at + length, b""
    if end > len(head):  # a shorter head is that of a file that was cut off
        raise (Damaged if len(head) < HEAD_BYTES else Mismatch)("its EBML header is too long")
    while at < end:
        name, at = _element_id(head, at)
        length, at = _variable(head, at)
        if name == b"\x42\x82":
            doc_type = head[at : at + length].rstrip(b"\x00")
        at += length
    return doc_type, end


def _element_id(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the ID of the element at ``at``, with the marker of its length, and the position behind the ID.

    Source: RFC 8794, section 5.
    """
    first = data[at] if at < len(data) else 0
    end = at + 9 - first.bit_length()
    return data[at:end], end


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer of variable length at ``at`` (RFC 8794, section 4), and the position behind the integer.

    :raises Damaged: no such integer is there.
    """
    first = data[at] if at < len(data) else 0
    if not first:
        raise Damaged("its EBML header is damaged")
    length = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
    return value, at + length


def ogg(file: File) -> Steps[Dimensions | None]:
    """Check the first pages of the streams (RFC 3533, section 6): at least one codec is for sound, and none for film.

    One stream may be a skeleton (Ogg Skeleton 4.0), which describes the others.
    """
    yield from file.begins_with(b"OggS", otherwise="it has no Ogg page")
    at, has_sound = 0, False
    for _ in range(MAX_OGG_STREAMS):
        head = (yield from file.need(0, 28)) if at == 0 else (yield from file.read(at, 27))
        if len(head) < 27 or not head.startswith(b"OggS\x00") or not head[5] & 2:  # the first page of a stream
            break
        lengths = yield from file.read(at + 27, head[26])
        at += 27 + head[26]
        packet = yield from file.read(at, 8)
        if packet.startswith(_OGG_FILM):
            raise Mismatch("it has no sound in Vorbis, Opus, FLAC or Speex")
        has_sound = has_sound or packet.startswith(_OGG_SOUND)
        at += sum(lengths)
    if at == 0:
        raise Mismatch("it has no Ogg page")
    if not has_sound:
        raise Mismatch("it has no sound in Vorbis, Opus, FLAC or Speex")
    return None
