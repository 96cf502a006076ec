"""A check of any bytes ends with a yes or one of three problems, and reads no more than it may."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.inspection import filetypes, formats
from handler.problems import ContentMismatch, EmptyFile, ImageTooLarge

from ..support.cases import failures
from ..support.filetype_samples import BY_EXTENSION, VARIANTS
from ..support.policies import make_policy

FILE_TYPES = {
    **filetypes.KNOWN,
    "bin": filetypes.declared("bin", "application/octet-stream"),
    "ico": filetypes.declared("ico", "image/x-icon"),
    "log": filetypes.declared("log", "text/x-log"),
}
SAMPLES = [(made_as, content) for made_as, content in [*BY_EXTENSION.items(), *VARIANTS.values()]]


def passes(extension: str, content: bytes) -> bool:
    """Return whether the content is accepted. Any error except a refusal is a fault, and so is reading too much."""
    ranges: list[int] = []

    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset < offset + length <= len(content)
        ranges.append(length)
        assert len(ranges) <= formats.MAX_RANGES
        assert sum(ranges) <= formats.MAX_BYTES
        return content[offset : offset + length]

    policy = make_policy(file_types=FILE_TYPES, max_image_pixels=10**8)
    try:
        policy.inspect_content(policy.inspect_name(f"a.{extension}"), size=len(content), read=read)
    except (ContentMismatch, EmptyFile, ImageTooLarge):
        return False
    return True


@given(extension=st.sampled_from(sorted(FILE_TYPES)), content=st.binary(max_size=300))
def test_any_bytes_are_accepted_or_refused(extension: str, content: bytes) -> None:
    passes(extension, content)


@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=9), st.integers(0, 9)), min_size=1, max_size=4
    ),
    cut=st.floats(0, 1),
)
def test_any_change_of_a_sample_is_accepted_or_refused(
    sample: tuple[str, bytes], edits: list[tuple[float, bytes, int]], cut: float
) -> None:
    extension, content = sample
    for position, new, gone in edits:
        at = int(position * len(content))
        content = content[:at] + new + content[at + gone :]
    passes(extension, content)
    passes(extension, content[: int(cut * len(content))])


@pytest.mark.parametrize("extension", sorted(BY_EXTENSION))
def test_any_byte_of_a_header_may_change(extension: str) -> None:
    content = BY_EXTENSION[extension]
    for at in range(min(len(content), 200)):
        for byte in (0x00, 0x01, 0x7F, 0x80, 0xFF, content[at] ^ 1):
            passes(extension, content[:at] + bytes([byte]) + content[at + 1 :])


@pytest.mark.parametrize("extension", sorted(set(BY_EXTENSION) - {"gz"}))
def test_random_bytes_are_refused_as_any_type(extension: str) -> None:
    chance = random.Random(extension)
    for size in (5, 50, 500, 5000, 50_000):
        for _ in range(20):
            content = chance.randbytes(size)
            if size > 100 or extension not in ("txt", "csv", "md"):
                assert not passes(extension, content)


@pytest.mark.parametrize(
    "unit", [b"\x00", b"\xff", b"\x00\x00\x00\x08free", b"!\xfe\x00", b"\x01", b"PK\x05\x06", b"[", b"<"]
)
def test_repeated_bytes_behind_a_header_are_accepted_or_refused(unit: bytes) -> None:
    def check(extension: str) -> None:
        content = BY_EXTENSION[extension]
        for keep in (12, 24, 40, len(content)):
            passes(extension, content[:keep] + unit * (1_000_000 // len(unit)))

    assert not failures(check, ((extension,) for extension in sorted(BY_EXTENSION)))
