"""What can be configured, read from the environment once and validated."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .inspection import filetypes
from .inspection.filetypes import FileType
from .web import field_names

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

DEFAULT_EXTENSIONS = "txt csv pdf png jpg jpeg gif webp"
DEFAULT_FOLDER = "uploads"
DEFAULT_MAX_FILE_BYTES = 5 * GIB
DEFAULT_MAX_IMAGE_PIXELS = 200_000_000
"""Current phones take pictures of 16,320 x 12,240 pixels. Decoded, four bytes a pixel, that is 800 MB. sharp opens as
many by default (268 million); Pillow warns above 89 million and refuses more than 179 million."""
MOST_IMAGE_PIXELS = 10**12
LAMBDA_MAX_BODY_BYTES = 4 * MIB
"""What a request body may hold on Lambda: its limit of 6 MB counts the base64 and the event around it (AWS: "Lambda
quotas", invocation payload)."""
PUT_OBJECT_MAX_BYTES = 5 * GIB
"""What one PutObject may carry (AWS: "Uploading objects", single PUT)."""
S3_MAX_OBJECT_BYTES = 5 * KIB * GIB
"""What one object may hold when it was put together from parts (AWS: "Amazon S3 multipart upload limits")."""
MAX_FIELD_NAME_CHARS = 100
"""The longest name that ``FILE_FIELDS`` takes."""
MIN_SECRET_BYTES = 32
"""As long as the hash that it keys (RFC 7518, section 3.2)."""
FORM_OVERHEAD_BYTES = MIB
"""What a form may add to the bytes of its file: boundaries, part headers, fields."""
SAM_LOCAL_FOLDER = "/tmp/uploads"  # noqa: S108  (the one writable place of a Lambda container)

_EXTENSION = re.compile(r"[a-z0-9][a-z0-9+_-]{0,15}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")  # RFC 6838, section 4.2
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")  # RFC 6454, section 6.1
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # AWS: "Bucket naming rules"


class SettingsError(Exception):
    """A setting has a value that cannot work.

    :param variable: the environment variable's name.
    :param value: what it was set to; ``None`` if it was not set.
    :param expected: a sentence that says what would be right.
    """

    def __init__(self, variable: str, value: str | None, expected: str) -> None:
        shown = "is not set" if value is None else f"is {value!r}"
        super().__init__(f"{variable} {shown}: {expected}")
        self.variable = variable
        self.value = value


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings, valid. Sizes are in bytes."""

    file_types: Mapping[str, FileType]
    """What may be uploaded, by extension, in the order of ``ALLOWED_EXTENSIONS``."""
    upload_folder: Path | None
    """Where files are kept, or ``None`` if they are kept in :attr:`upload_bucket`: one of the two is set."""
    upload_bucket: str | None
    max_content_length: int
    """What the body of one request may hold."""
    max_file_bytes: int
    """What one file may hold."""
    max_image_pixels: int
    """What an image may hold, width times height."""
    allow_empty_files: bool
    file_fields: tuple[str, ...]
    """The names of the form parts in which files are taken, or ``*`` for all."""
    access: str | None
    """``token``, ``public`` or ``loopback``; ``None`` where a deployment has not said who may upload: nobody may."""
    token_secrets: tuple[str, ...] = field(repr=False)
    """What tokens may be signed with. New ones are signed with the first. Not in the ``repr``: logs may hold it."""
    allowed_origins: tuple[str, ...]
    """The web sites whose scripts may read the answers, or ``*``."""
    downloads: bool
    """Whether files can be read through the endpoint."""
    on_lambda: bool
    """Whether this runs in a Lambda function, behind something that waits no longer than 29 s."""
    trusted_proxies: int = 0
    """The number of proxies in front of the server whose ``X-Forwarded-*`` fields count."""

    @property
    def takes_direct_uploads(self) -> bool:
        """Whether files can go straight to the storage: to a bucket, or to the local server's own routes.

        Under ``sam local`` without a bucket they cannot: the template has no routes for the bytes of a part.
        """
        return self.upload_bucket is not None or not self.on_lambda

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        :param environ: the environment, as ``os.environ``. An empty value is the same as none.
        :raises SettingsError: for the first value that cannot work.
        """
        bucket, folder = _destination(environ)
        max_file_bytes = _number(environ, "MAX_FILE_BYTES", default=DEFAULT_MAX_FILE_BYTES, most=S3_MAX_OBJECT_BYTES)
        token_secrets = _token_secrets(environ)
        return cls(
            file_types=_file_types(environ),
            upload_folder=folder,
            upload_bucket=bucket,
            max_content_length=_max_content_length(environ, bucket=bucket, max_file_bytes=max_file_bytes),
            max_file_bytes=max_file_bytes,
            max_image_pixels=_number(
                environ, "MAX_IMAGE_PIXELS", default=DEFAULT_MAX_IMAGE_PIXELS, most=MOST_IMAGE_PIXELS, unit="pixels"
            ),
            allow_empty_files=_switch(environ, "ALLOW_EMPTY_FILES", default=False),
            file_fields=_file_fields(environ),
            access=_access(environ, token_secrets),
            token_secrets=token_secrets,
            allowed_origins=_allowed_origins(environ),
            downloads=_switch(environ, "DOWNLOADS", default=True),
            on_lambda=_on_lambda(environ),
            trusted_proxies=_trusted_proxies(environ),
        )

    @staticmethod
    def misspelt(environ: Mapping[str, str]) -> list[str]:
        """Return a warning for each variable whose name is nearly that of a setting.

        :param environ: the environment, as ``os.environ``.
        """
        names = _names()
        return [
            f"{variable} is not a setting. Did you mean {name}?"
            for variable in sorted(environ.keys() - names)
            for name in difflib.get_close_matches(variable, names, n=1, cutoff=0.86)
        ]


def _destination(environ: Mapping[str, str]) -> tuple[str | None, Path | None]:
    """The bucket or the folder: the bucket if both are set."""
    bucket = environ.get("UPLOAD_BUCKET", "").strip()
    folder = environ.get("UPLOAD_FOLDER", "").strip()
    if bucket and not _BUCKET.fullmatch(bucket):
        # `sam local` has no bucket to put behind `!Ref`: it passes the resource's logical id, which is no bucket name.
        # So that a first `sam local start-api` works with no AWS account at all, files then stay in the container.
        if environ.get("AWS_SAM_LOCAL") == "true":
            return None, Path(SAM_LOCAL_FOLDER)
        raise SettingsError("UPLOAD_BUCKET", bucket, "a bucket's name has 3 to 63 of a-z, 0-9, dot and hyphen.")
    if bucket:
        return bucket, None
    if _on_lambda(environ) and environ.get("AWS_SAM_LOCAL") != "true":
        raise SettingsError("UPLOAD_BUCKET", None, "on Lambda files need a bucket, since its disk does not last.")
    return None, Path(folder or DEFAULT_FOLDER)


def _max_content_length(environ: Mapping[str, str], *, bucket: str | None, max_file_bytes: int) -> int:
    most = S3_MAX_OBJECT_BYTES + FORM_OVERHEAD_BYTES
    if bucket:
        most = PUT_OBJECT_MAX_BYTES
    if _on_lambda(environ):
        most = LAMBDA_MAX_BODY_BYTES
    default = min(max_file_bytes + FORM_OVERHEAD_BYTES, most)
    return _number(environ, "MAX_CONTENT_LENGTH", default=default, most=most)


def _access(environ: Mapping[str, str], token_secrets: tuple[str, ...]) -> str | None:
    """Who may upload. Never everyone by accident: a deployment has to say so."""
    access = environ.get("ACCESS", "").strip().lower()
    if access not in ("", "token", "public"):
        raise SettingsError("ACCESS", access, "say 'token', or 'public' to let everyone upload.")
    if access == "public":
        return access
    if token_secrets:
        return "token"
    if _on_lambda(environ):
        # A function that does not start would be answered for by API Gateway, in words that help nobody.
        return None
    if access == "token":
        raise SettingsError("TOKEN_SECRET", None, f"ACCESS=token needs a secret of at least {MIN_SECRET_BYTES} bytes.")
    return "loopback"


def _token_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """``TOKEN_SECRET``: one secret, or two with a comma between them while the second is being retired."""
    variable = "TOKEN_SECRET"
    secrets = tuple(secret.strip() for secret in environ.get(variable, "").split(",") if secret.strip())
    if len(secrets) > 2 or any(len(secret.encode()) < MIN_SECRET_BYTES for secret in secrets):
        expected = f"give one secret, or two with a comma between them, each of at least {MIN_SECRET_BYTES} bytes."
        raise SettingsError(variable, "(not shown)", expected)
    return secrets


def _allowed_origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    variable = "ALLOWED_ORIGINS"
    value = environ.get(variable, "").strip()
    origins = tuple(value.lower().replace(",", " ").split())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            expected = (
                f"{origin!r} is not an origin; write it like 'https://example.com', without a path, or '*' for all."
            )
            raise SettingsError(variable, value, expected)
    return origins


def _file_fields(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read ``FILE_FIELDS``: names besides the default ones, or ``*``."""
    variable = "FILE_FIELDS"
    value = environ.get(variable, "").strip()
    names = value.replace(",", " ").split()
    for name in names:
        if len(name) > MAX_FIELD_NAME_CHARS or not name.isprintable():
            expected = f"a name has at most {MAX_FIELD_NAME_CHARS} characters, none of them invisible."
            raise SettingsError(variable, value, expected)
    return tuple(dict.fromkeys((*field_names.DEFAULT_NAMES, *names)))


def _switch(environ: Mapping[str, str], variable: str, *, default: bool) -> bool:
    value = environ.get(variable, "").strip().lower()
    if value not in ("", "on", "off"):
        raise SettingsError(variable, value, "say 'on' or 'off'.")
    return value == "on" if value else default


def _names() -> set[str]:
    """The names of all settings: the variables that are read, except AWS's own."""
    read: set[str] = set()

    class Recorder(dict[str, str]):
        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            read.add(key)
            return default

    Settings.from_environ(Recorder())
    return {name for name in read if not name.startswith("AWS_")}


def _trusted_proxies(environ: Mapping[str, str]) -> int:
    """On Lambda the gateway makes the request of the event, and no proxy's field counts."""
    variable = "TRUSTED_PROXIES"
    value = environ.get(variable, "").strip() or "0"
    if not re.fullmatch("[0-9]{1,2}", value):
        expected = "give the number of proxies in front of the server that set X-Forwarded-For, such as 1."
        raise SettingsError(variable, value, expected)
    return 0 if _on_lambda(environ) else int(value)


def _on_lambda(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("AWS_LAMBDA_FUNCTION_NAME"))


def _number(environ: Mapping[str, str], variable: str, *, default: int, most: int, unit: str = "bytes") -> int:
    value = environ.get(variable, "").strip()
    if not value:
        return default
    if not (re.fullmatch("[0-9]{1,20}", value) and 1 <= int(value) <= most):
        raise SettingsError(variable, value, f"give a whole number of {unit} from 1 to {most}, such as {default}.")
    return int(value)


def _file_types(environ: Mapping[str, str]) -> dict[str, FileType]:
    """``ALLOWED_EXTENSIONS``: extensions, separated by commas or white space, each ``ext`` or ``ext=media/type``."""
    variable = "ALLOWED_EXTENSIONS"
    value = environ.get(variable, "").strip() or DEFAULT_EXTENSIONS
    file_types: dict[str, FileType] = {}
    for entry in value.lower().replace(",", " ").split():
        extension, declares, media_type = entry.removeprefix(".").partition("=")
        if not _EXTENSION.fullmatch(extension):
            raise SettingsError(variable, value, f"{entry!r} is not an extension; write them like 'pdf, jpg'.")
        if declares and extension in filetypes.KNOWN:
            raise SettingsError(variable, value, f"{extension!r} is known, and checked; leave out its media type.")
        if declares:
            if not _MEDIA_TYPE.fullmatch(media_type):
                raise SettingsError(variable, value, f"{entry!r} has no media type; write it like 'stl=model/stl'.")
            try:
                file_types[extension] = filetypes.declared(extension, media_type)
            except ValueError as error:
                raise SettingsError(variable, value, str(error)) from None
        elif extension in filetypes.KNOWN:
            file_types[extension] = filetypes.KNOWN[extension]
        else:
            try:
                filetypes.declared(extension, "application/octet-stream")
            except ValueError as error:  # to declare it would not help either
                raise SettingsError(variable, value, str(error)) from None
            known = " ".join(filetypes.KNOWN)
            expected = f"{extension!r} is not one of {known}; declare it with its media type, like 'stl=model/stl'."
            raise SettingsError(variable, value, expected)
    if not file_types:
        raise SettingsError(variable, value, f"name at least one extension, such as '{DEFAULT_EXTENSIONS}'.")
    return file_types
