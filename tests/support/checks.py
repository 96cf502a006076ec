"""Have a content inspected as a file of a type, and read the refusal."""

from __future__ import annotations

import re

import pytest

from handler.inspection import formats
from handler.problems import ContentMismatch
from handler.settings import DEFAULT_MAX_IMAGE_PIXELS

from .policies import make_policy


class Reader:
    """A file that remembers the ranges that were read, and insists on the rules for reading."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length > 0
        assert offset + length <= len(self.content), "a range beyond the end is an error in S3"
        self.ranges.append((offset, length))
        assert len(self.ranges) <= formats.MAX_RANGES
        assert sum(length for _, length in self.ranges) <= formats.MAX_BYTES
        assert self.ranges[0] == (0, min(len(self.content), 4096))
        return self.content[offset : offset + length]


def inspect(extension: str, content: bytes, *, max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS) -> Reader:
    """Inspect the content under this extension.

    :raises Problem: the content is refused.
    """
    policy = make_policy(max_image_pixels=max_image_pixels)
    reader = Reader(content)
    policy.inspect_content(policy.inspect_name(f"a.{extension}"), size=len(content), read=reader)
    return reader


def sentences(extension: str, content: bytes) -> str:
    """Return the whole refusal."""
    with pytest.raises(ContentMismatch) as caught:
        inspect(extension, content)
    return caught.value.detail


def refusal(extension: str, content: bytes) -> str:
    """Return the reason that the check gives. In the refusal, the reason is the second sentence, in upper case."""
    detail = sentences(extension, content)
    match = re.fullmatch(
        r"'a\.\w+' (?:is not an? .*?|cannot be accepted)\. (.*?)\. (?:Send|Save|Remove|It may be|If it is) .*",
        detail,
    )
    assert match, detail
    return match[1] if match[1].startswith("JSON") else match[1][0].lower() + match[1][1:]


def with_(content: bytes, at: int, new: bytes) -> bytes:
    """Return the content with other bytes at a position."""
    return content[:at] + new + content[at + len(new) :]
