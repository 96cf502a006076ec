"""Policies for tests that check files without an app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.inspection import filetypes
from handler.inspection.policy import Policy
from handler.settings import DEFAULT_MAX_FILE_BYTES, DEFAULT_MAX_IMAGE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handler.inspection.filetypes import FileType


def make_policy(
    *,
    file_types: Mapping[str, FileType] = filetypes.KNOWN,
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES,
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
) -> Policy:
    """Return a policy that allows every known type, unless the test asks for another one."""
    return Policy(file_types=file_types, max_file_bytes=max_file_bytes, max_image_pixels=max_image_pixels)
