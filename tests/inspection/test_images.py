"""Images: the sizes that count, and the limit on pixels."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import pytest

from handler.problems import ImageTooLarge

from ..support import filetype_samples as made
from ..support.cases import failures
from ..support.checks import inspect, refusal
from ..support.filetype_samples import BY_EXTENSION

PNG_DEPTHS = {
    *((0, depth) for depth in (1, 2, 4, 8, 16)),
    *((3, depth) for depth in (1, 2, 4, 8)),
    *((color, depth) for color in (2, 4, 6) for depth in (8, 16)),
}
"""Each colour type with each of its depths (PNG, table 12)."""


def test_png_depth_must_fit_its_colour_type() -> None:
    def check(_name: str, color: int, depth: int) -> None:
        content = made.png(depth=depth, color=color)
        if (color, depth) in PNG_DEPTHS:
            inspect("png", content)
        else:
            assert "do not exist" in refusal("png", content)

    pairs = itertools.product(range(8), (0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 32))
    assert not failures(check, ((f"colour type {color}, depth {depth}", color, depth) for color, depth in pairs))


# Pixels.

IMAGES: dict[str, tuple[str, Callable[[int, int], bytes]]] = {
    "png": ("png", made.png),
    "jpg": ("jpg", made.jpeg),
    "gif": ("gif", made.gif),
    "gif's screen": ("gif", lambda width, height: made.gif(1, 1, screen=(width, height))),
    "gif's image": ("gif", lambda width, height: made.gif(width, height, screen=(1, 1))),
    "webp, lossy": ("webp", made.webp_vp8),
    "webp, lossless": ("webp", made.webp_vp8l),
    "webp, extended": ("webp", made.webp_vp8x),
    "bmp": ("bmp", made.bmp),
    "bmp from the top": ("bmp", lambda width, height: made.bmp(width, -height)),
    "bmp of OS/2": ("bmp", made.bmp_core),
    "tiff": ("tif", lambda width, height: made.tiff((width, height))),
    "tiff in shorts": ("tif", lambda width, height: made.tiff((width, height), order=">", short=True)),
    "tiff, third page": ("tif", lambda width, height: made.tiff((1, 1), (1, 1), (width, height), (1, 1))),
    "heic": ("heic", lambda width, height: made.heif_image((width, height))),
    "big tiff": ("tif", made.big_tiff),
    "big tiff of Motorola": ("tif", lambda width, height: made.big_tiff(width, height, order=">")),
    "bmp of OS/2, 16 bytes": ("bmp", made.bmp_os2),
    "gif, second image": ("gif", lambda width, height: made.gif(1, 1)[:-1] + made.gif(width, height)[19:]),
    "webp film": ("webp", made.webp_film),
    "jpg, counted lines": ("jpg", lambda width, height: made.jpeg(width, 1)[:-2] + made.lines(height) + b"\xff\xd9"),
    "avif, track": ("avif", lambda width, height: made.image_sequence(track=(width, height))),
    "avif, samples": ("avif", lambda width, height: made.image_sequence(sample=(width, height), image=(1, 1))),
    "avif, no still image": ("avif", lambda width, height: made.image_sequence(sample=(width, height), image=None)),
    "heic, second properties": (
        "heic",
        lambda width, height: made.heif_image((1, 1), more=made.properties((width, height))),
    ),
    "heic, samples": (
        "heic",
        lambda width, height: made.image_sequence(sample=(width, height), brands=(b"msf1", b"hevc"), version=1),
    ),
    "heic with tiles": ("heic", lambda width, height: made.heif_image((1, 1), (width, height), (1, 1))),
    "avif": ("avif", lambda width, height: made.heif_image((width, height), brands=(b"avif",))),
}


@pytest.mark.parametrize("image", IMAGES)
def test_image_with_more_pixels_than_the_limit_is_refused(image: str) -> None:
    extension, make = IMAGES[image]
    content = make(300, 200)
    inspect(extension, content, max_image_pixels=60_000)
    with pytest.raises(ImageTooLarge, match=r"300 by 200 pixels\. It may have 59,999 in all") as caught:
        inspect(extension, content, max_image_pixels=59_999)
    problem = caught.value
    assert problem.status == 422
    assert problem.type == "urn:problem-type:upload:image-too-large"
    assert problem.extensions == {"width": 300, "height": 200, "max_pixels": 59_999}


SECOND_HEADER = made.png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(
    ("extension", "content", "reason"),
    [
        ("png", made.png(chunks=SECOND_HEADER), "it has two PNG headers"),
        ("png", made.png(chunks=made.png_chunk(b"tEXt", b"a\0b") * 9 + SECOND_HEADER), "it has two PNG headers"),
        ("png", made.png()[:-12] + SECOND_HEADER + made.png()[-12:], "it has two PNG headers"),
        ("jpg", made.jpeg(segments=made.jpeg(60_000, 60_000)[2:21]), "it has two JPEG frame headers"),
        ("jpg", made.jpeg()[:-2] + made.jpeg(60_000, 60_000)[2:], "it has two JPEG frame headers"),
        ("tif", made.tiff(more=((256, 60_000),)), "it has the size of an image twice"),
        ("tif", made.tiff(more=((257, 60_000),)), "it has the size of an image twice"),
        ("webp", made.webp_vp8x(16, 16, frame=(60, 16)), "its WebP frame is larger than its canvas"),
        ("webp", made.webp_vp8x(16, 16, frame=(16, 60)), "its WebP frame is larger than its canvas"),
        ("webp", made.webp_film(16, 16, frame=(60, 16)), "its WebP frame is larger than its canvas"),
        ("webp", made.webp_film(16, 16, left=2, frame=(16, 16)), "its WebP frame is larger than its canvas"),
        ("heic", BY_EXTENSION["heic"] + made.heif_image((60_000, 60_000))[24:], "it describes its images twice"),
        ("avif", made.image_sequence() + made.image_sequence(image=None)[28:], "it describes its images twice"),
    ],
)
def test_image_with_two_sizes_is_refused(extension: str, content: bytes, reason: str) -> None:
    """Decoders differ in which of them they take."""
    assert refusal(extension, content) == reason


def test_tile_counts_as_an_image() -> None:
    content = made.tiff(more=((322, 60_000), (323, 60_000)))
    with pytest.raises(ImageTooLarge):
        inspect("tif", content)


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("png", made.png(2**31 - 1, 2**31 - 1)),
        ("jpg", made.jpeg(65535, 65535)),
        ("gif", made.gif(65535, 65535)),
        ("webp", made.webp_vp8(16383, 16383)),
        ("webp", made.webp_vp8l(16384, 16384)),
        ("webp", made.webp_vp8x(2**24, 2**24)),
        ("bmp", made.bmp(2**31 - 1, -(2**31))),
        ("tif", made.tiff((2**32 - 1, 2**32 - 1))),
        ("heic", made.heif_image((2**32 - 1, 2**32 - 1))),
    ],
)
def test_largest_size_of_a_header_is_refused_by_default(extension: str, content: bytes) -> None:
    with pytest.raises(ImageTooLarge):
        inspect(extension, content)


def test_photos_of_current_cameras_are_accepted_by_default() -> None:
    for width, height in ((12000, 9000), (11648, 8736), (8192, 6144)):
        inspect("jpg", made.jpeg(width, height))
