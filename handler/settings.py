"""The settings: environment variables, read once and validated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from . import field_names
from .inspection import filetypes
from .inspection.filetypes import FileType
from .storage import KEEP_DAYS
from .units import GIB, KIB, MIB

DEFAULT_EXTENSIONS = "txt csv pdf docx png jpg jpeg gif webp heic"
DEFAULT_FOLDER = "uploads"
DEFAULT_MAX_FILE_BYTES = 5 * GIB
DEFAULT_MAX_IMAGE_PIXELS = 200_000_000
"""Current phones take pictures of 16,320 x 12,240 pixels. Decoded, with four bytes a pixel, such a picture has 800 MB.
sharp opens images of 268 million pixels by default. Pillow warns above 89 million and rejects more than 179 million."""
MAX_IMAGE_PIXELS = 10**12
LAMBDA_MAX_BODY_BYTES = 4 * MIB
"""The largest request body on Lambda. Its limit of 6 MB counts the base64 and the event around the body (AWS: "Lambda
quotas", invocation payload)."""
PUT_OBJECT_MAX_BYTES = 5 * GIB
"""The largest body of one PutObject (AWS: "Uploading objects", single PUT)."""
S3_MAX_OBJECT_BYTES = 5 * KIB * GIB
"""The largest object that was uploaded in parts (AWS: "Amazon S3 multipart upload limits")."""
MAX_FIELD_NAME_CHARS = 100
"""The longest name in ``FILE_FIELDS``."""
MIN_SECRET_BYTES = 32
"""The length of the hash that the secret keys (RFC 7518, section 3.2)."""
MAX_URL_CHARS = 2048
"""The longest URL in a setting."""
FORM_OVERHEAD_BYTES = MIB
"""The room in a request for everything in a form besides its file: boundaries, part headers, fields."""
SAM_LOCAL_FOLDER = "/tmp/uploads"  # noqa: S108  (the only writable folder of a Lambda container)

VARIABLES = (
    "ACCESS",
    "ALLOWED_EXTENSIONS",
    "ALLOWED_ORIGINS",
    "ALLOW_EMPTY_FILES",
    "DOWNLOADS",
    "ENDPOINT_URL",
    "FILE_FIELDS",
    "INLINE_EXTENSIONS",
    "KEEP_DAYS",
    "MAX_CONTENT_LENGTH",
    "MAX_FILE_BYTES",
    "MAX_IMAGE_PIXELS",
    "METADATA_FIELDS",
    "TOKEN_SECRET",
    "TRUSTED_PROXIES",
    "UPLOAD_BUCKET",
    "UPLOAD_FOLDER",
    "WEBHOOK_ALLOW_PRIVATE",
    "WEBHOOK_SECRET",
    "WEBHOOK_URL",
)
"""The names of all settings. The variables of AWS that are read too are not among them."""
MIN_SIMILARITY = 0.8
"""How similar a name must be to that of a setting to count as misspelt: :mod:`difflib`'s ratio, from 0 to 1."""
OTHER_PREFIXES = ("AWS_", "CORS_", "DJANGO_", "FLASK_", "GITHUB_", "NPM_", "XDG_")
"""The first letters of variables that other programs read. They are never taken for misspelt settings."""

_UNITS = {
    unit.lower(): 1 if unit == "B" else base**power
    for base, units in ((1000, ("B", "kB", "MB", "GB", "TB")), (1024, ("B", "KiB", "MiB", "GiB", "TiB")))
    for power, unit in enumerate(units)
}
"""The bytes in each unit of size: decimal units (SI) and binary units (IEC 80000-13)."""

_EXTENSION = re.compile(r"[a-z0-9][a-z0-9+_-]{0,15}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")  # RFC 6838, section 4.2
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")  # RFC 6454, section 6.1
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # AWS: "Bucket naming rules"
_URL_TEXT = re.compile(r"[!-\"$-~]+")
"""Printable ASCII without the ``#`` of a fragment."""
_HOW_TO_MAKE = 'Make one: echo "whsec_$(openssl rand -base64 32)"'
_NUMBER = re.compile(r"[0-9]{1,20}")
_SIZE = re.compile(r"([0-9]{1,20}) ?([a-z]{1,3})")


class SettingsError(Exception):
    """A setting has a value that cannot work.

    :param variable: the name of the environment variable.
    :param value: the value; ``None`` if the variable is not set.
    :param expected: a sentence that says how to set it right.
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
    """The types that may be uploaded, by extension, in the order of ``ALLOWED_EXTENSIONS``."""
    upload_folder: Path | None
    """The folder that files are stored in. Either this or :attr:`upload_bucket` is set."""
    upload_bucket: str | None
    """The bucket that files are stored in."""
    max_content_length: int
    """The largest body of one request."""
    max_file_bytes: int
    """The largest file."""
    max_image_pixels: int
    """The largest image, in pixels: width times height."""
    allow_empty_files: bool
    file_fields: tuple[str, ...]
    """The names of the form parts in which files are taken, or ``*`` for all."""
    access: str | None
    """``token``, ``public`` or ``loopback``; ``None`` for a deployment that is not configured: nobody may upload."""
    token_secrets: tuple[str, ...] = field(repr=False)
    """The secrets that tokens may be signed with. New tokens are signed with the first. They are not in the ``repr``,
    which may be logged."""
    allowed_origins: tuple[str, ...]
    """The web sites whose scripts may read the responses, or ``*`` for all."""
    downloads: bool
    """Whether files can be read through the endpoint."""
    on_lambda: bool
    """Whether this process is a Lambda function. API Gateway waits 29 s for its response, and no longer."""
    trusted_proxies: int = 0
    """The number of proxies in front of the server whose ``X-Forwarded-*`` fields count."""
    endpoint_url: str | None = None
    """The root of this endpoint as clients reach it, without a slash at its end. Only a function that no request starts
    needs it."""
    webhook_url: str | None = field(default=None, repr=False)
    """The address that the event of every stored file is sent to. It may hold a secret in its query."""
    webhook_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """The keys that sign the events: one, or two while a secret is replaced."""
    webhook_allow_private: bool = False
    """Whether the function may send events to a private, loopback or link-local address."""
    keep_days: int | None = None
    """The days after which a file expires, of :data:`~handler.storage.KEEP_DAYS`; ``None`` to keep files for ever."""
    inline_types: Mapping[str, FileType] = field(default_factory=dict)
    """The types that browsers may show instead of saving, by extension."""
    metadata_fields: tuple[str, ...] = ()
    """The names of the form fields that are kept with a file."""

    @property
    def takes_direct_uploads(self) -> bool:
        """Whether clients can send files straight to the storage: to a bucket, or to routes of the local server.

        Under ``sam local`` without a bucket they cannot: the template has no routes for the bytes of a part.
        """
        return self.upload_bucket is not None or not self.on_lambda

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        :param environ: the environment, as ``os.environ``. An empty value counts as not set.
        :raises SettingsError: for the first value that cannot work.
        """
        bucket, folder = _destination(environ)
        max_file_bytes = _size(environ, "MAX_FILE_BYTES", default=DEFAULT_MAX_FILE_BYTES, maximum=S3_MAX_OBJECT_BYTES)
        token_secrets = _token_secrets(environ)
        return cls(
            file_types=_file_types(environ),
            upload_folder=folder,
            upload_bucket=bucket,
            max_content_length=_max_content_length(environ, bucket=bucket, max_file_bytes=max_file_bytes),
            max_file_bytes=max_file_bytes,
            max_image_pixels=_max_image_pixels(environ),
            allow_empty_files=_switch(environ, "ALLOW_EMPTY_FILES", default=False),
            file_fields=_file_fields(environ),
            access=_access(environ, token_secrets),
            token_secrets=token_secrets,
            allowed_origins=_allowed_origins(environ),
            downloads=_switch(environ, "DOWNLOADS", default=True),
            on_lambda=_on_lambda(environ),
            trusted_proxies=_trusted_proxies(environ),
            endpoint_url=_url(environ, "ENDPOINT_URL").rstrip("/") or None,
            webhook_url=_url(environ, "WEBHOOK_URL") or None,
            webhook_keys=_webhook_keys(environ),
            webhook_allow_private=_switch(environ, "WEBHOOK_ALLOW_PRIVATE", default=False),
            metadata_fields=_metadata_fields(environ),
            keep_days=_keep_days(environ),
            inline_types=_inline_types(environ),
        )

    @staticmethod
    def misspelt(environ: Mapping[str, str]) -> list[str]:
        """Return a warning for each variable whose name looks like a misspelt setting.

        The values are not read: one of them may be a secret.

        :param environ: the environment, as ``os.environ``.
        """
        import difflib  # only the local server looks for misspelt names

        unknown = (name for name in sorted(environ) if name not in VARIABLES and not name.startswith(OTHER_PREFIXES))
        return [
            f"{name} is not a setting, so it has no effect. Did you mean {similar[0]}?"
            for name in unknown
            if (similar := difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=MIN_SIMILARITY))
        ]


def _destination(environ: Mapping[str, str]) -> tuple[str | None, Path | None]:
    """Return the bucket or the folder, and ``None`` for the other. A bucket wins over a folder."""
    bucket = environ.get("UPLOAD_BUCKET", "").strip()
    folder = environ.get("UPLOAD_FOLDER", "").strip()
    if bucket and not _BUCKET.fullmatch(bucket):
        # `sam local` passes the bucket's logical id, which is not a valid name, because it knows no bucket. Files then
        # stay in the container, so that a first `sam local start-api` works without an AWS account.
        if environ.get("AWS_SAM_LOCAL") == "true":
            return None, Path(SAM_LOCAL_FOLDER)
        raise SettingsError("UPLOAD_BUCKET", bucket, "a bucket's name has 3 to 63 of a-z, 0-9, dot and hyphen.")
    if bucket:
        return bucket, None
    if _on_lambda(environ) and environ.get("AWS_SAM_LOCAL") != "true":
        raise SettingsError("UPLOAD_BUCKET", None, "name a bucket, because a function's own disk does not last.")
    return None, Path(folder or DEFAULT_FOLDER)


def _max_content_length(environ: Mapping[str, str], *, bucket: str | None, max_file_bytes: int) -> int:
    maximum = S3_MAX_OBJECT_BYTES + FORM_OVERHEAD_BYTES
    if bucket:
        maximum = PUT_OBJECT_MAX_BYTES
    if _on_lambda(environ):
        maximum = LAMBDA_MAX_BODY_BYTES
    default = min(max_file_bytes + FORM_OVERHEAD_BYTES, maximum)
    return _size(environ, "MAX_CONTENT_LENGTH", default=default, maximum=maximum)


def _access(environ: Mapping[str, str], token_secrets: tuple[str, ...]) -> str | None:
    """Return the kind of access. A deployment is open to everyone only if ``ACCESS`` says so."""
    access = environ.get("ACCESS", "").strip().lower()
    if access not in ("", "token", "public"):
        raise SettingsError("ACCESS", access, "use 'token', or 'public' to let everyone upload.")
    if access == "public":
        return access
    if token_secrets:
        return "token"
    if _on_lambda(environ):
        # An error here would stop the function. API Gateway would then respond without the reason.
        return None
    if access == "token":
        raise SettingsError("TOKEN_SECRET", None, f"ACCESS=token needs a secret of at least {MIN_SECRET_BYTES} bytes.")
    return "loopback"


def _token_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read ``TOKEN_SECRET``: one secret, or two with a comma between them while the second is retired."""
    variable = "TOKEN_SECRET"
    secrets = tuple(secret.strip() for secret in environ.get(variable, "").split(",") if secret.strip())
    if len(secrets) > 2 or any(len(secret.encode()) < MIN_SECRET_BYTES for secret in secrets):
        expected = f"give one secret, or two with a comma between them, each of at least {MIN_SECRET_BYTES} bytes."
        raise SettingsError(variable, "(not shown)", expected)
    return secrets


def _url(environ: Mapping[str, str], variable: str) -> str:
    """Read a URL; ``""`` if the variable is not set. The value may hold a secret, so no error shows it."""
    value = environ.get(variable, "").strip()
    if value and not _is_url(value):
        expected = (
            f"give an http:// or https:// URL of at most {MAX_URL_CHARS} ASCII characters, without a user name or '#'."
        )
        raise SettingsError(variable, "(not shown)", expected)
    return value


def _is_url(text: str) -> bool:
    if len(text) > MAX_URL_CHARS or not _URL_TEXT.fullmatch(text):
        return False
    try:
        url = urlsplit(text)
        (url.hostname or "").encode("idna")
        return bool(url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc and url.port != 0)
    except ValueError:  # a port above 65535, an IPv6 address without its bracket, or a host name such as "a..b"
        return False


def _webhook_keys(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Read ``WEBHOOK_SECRET``: one secret, or two with a comma or a space between them while the second is retired."""
    variable = "WEBHOOK_SECRET"
    secrets = environ.get(variable, "").replace(",", " ").split()
    if not secrets:
        if environ.get("WEBHOOK_URL", "").strip():
            raise SettingsError(variable, None, f"WEBHOOK_URL needs a secret that signs the events. {_HOW_TO_MAKE}")
        return ()
    # Only an endpoint with a webhook imports the module.
    from .webhooks.signing import decode_secret

    try:
        keys = tuple(map(decode_secret, secrets))
    except ValueError as error:
        raise SettingsError(variable, "(not shown)", f"{error}. {_HOW_TO_MAKE}") from None
    if len(keys) > 2:
        raise SettingsError(variable, "(not shown)", "give one secret, or two while you replace the second.")
    return keys


def _allowed_origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    variable = "ALLOWED_ORIGINS"
    value = environ.get(variable, "").strip()
    origins = tuple(value.lower().replace(",", " ").split())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            expected = (
                f"{origin!r} is not an origin. Write it like 'https://example.com', without a path, or '*' for all."
            )
            raise SettingsError(variable, value, expected)
    return origins


def _file_fields(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read ``FILE_FIELDS``: names in addition to the default ones, or ``*``."""
    return tuple(dict.fromkeys((*field_names.DEFAULT_NAMES, *_field_names(environ, "FILE_FIELDS"))))


def _metadata_fields(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read ``METADATA_FIELDS``: names of fields that have no other meaning."""
    variable = "METADATA_FIELDS"
    names = _field_names(environ, variable)
    file_fields = set(_file_fields(environ)) - {field_names.ANY}
    for name in names:
        if name in (field_names.ANY, *field_names.RESERVED) or field_names.is_taken(name, file_fields):
            expected = f"{name!r} has another meaning in a form. Use another name."
            raise SettingsError(variable, environ[variable], expected)
    return tuple(dict.fromkeys(names))


def _field_names(environ: Mapping[str, str], variable: str) -> list[str]:
    """Return the names in a list with commas or white space between them."""
    value = environ.get(variable, "").strip()
    names = value.replace(",", " ").split()
    for name in names:
        if len(name) > MAX_FIELD_NAME_CHARS or not name.isprintable():
            expected = f"give names of at most {MAX_FIELD_NAME_CHARS} characters, without invisible ones."
            raise SettingsError(variable, value, expected)
    return names


def _switch(environ: Mapping[str, str], variable: str, *, default: bool) -> bool:
    value = environ.get(variable, "").strip().lower()
    if value not in ("", "on", "off"):
        raise SettingsError(variable, value, "use 'on' or 'off'.")
    return value == "on" if value else default


def _trusted_proxies(environ: Mapping[str, str]) -> int:
    """On Lambda the gateway makes the request of the event, and no proxy's field counts."""
    variable = "TRUSTED_PROXIES"
    value = environ.get(variable, "").strip() or "0"
    if not re.fullmatch("[0-9]{1,2}", value):
        expected = "give the number of proxies in front of the server that set X-Forwarded-For, such as 1."
        raise SettingsError(variable, value, expected)
    return 0 if _on_lambda(environ) else int(value)


def _keep_days(environ: Mapping[str, str]) -> int | None:
    variable = "KEEP_DAYS"
    value = environ.get(variable, "").strip()
    days = {str(number): number for number in KEEP_DAYS}
    if value and value not in days:
        raise SettingsError(variable, value, f"use one of {', '.join(days)}, or leave it empty to keep files for ever.")
    return days.get(value)


def _inline_types(environ: Mapping[str, str]) -> dict[str, FileType]:
    """Read ``INLINE_EXTENSIONS``: extensions of images, sound, video and PDF documents that this server checks."""
    variable = "INLINE_EXTENSIONS"
    value = environ.get(variable, "").strip()
    names = [name.removeprefix(".") for name in value.lower().replace(",", " ").split()]
    for name in names:
        if name not in filetypes.SHOWABLE:
            expected = f"{name!r} is not one of {' '.join(filetypes.SHOWABLE)}. Browsers may show only these inline."
            raise SettingsError(variable, value, expected)
    return {name: filetypes.SHOWABLE[name] for name in names}


def _on_lambda(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("AWS_LAMBDA_FUNCTION_NAME"))


def _max_image_pixels(environ: Mapping[str, str]) -> int:
    variable, default = "MAX_IMAGE_PIXELS", DEFAULT_MAX_IMAGE_PIXELS
    value = environ.get(variable, "").strip()
    if not value:
        return default
    if not (_NUMBER.fullmatch(value) and 1 <= int(value) <= MAX_IMAGE_PIXELS):
        expected = f"give a whole number of pixels from 1 to {MAX_IMAGE_PIXELS}, such as {default}."
        raise SettingsError(variable, value, expected)
    return int(value)


def _size(environ: Mapping[str, str], variable: str, *, default: int, maximum: int) -> int:
    """Read a size: a whole number of bytes, or of a unit as in ``1MB`` (10**6 bytes) and ``1MiB`` (2**20 bytes).

    :returns: the size in bytes.
    :raises SettingsError: the value is not a size, or not from 1 to ``maximum`` bytes.
    """
    value = environ.get(variable, "").strip()
    if not value:
        return default
    size = _parse_size(value)
    if size is None or not 1 <= size <= maximum:
        expected = f"give a whole number of bytes from 1 to {maximum}, such as {default}, or a size like 500kB or 2MiB."
        raise SettingsError(variable, value, expected)
    return size


def _parse_size(value: str) -> int | None:
    """Return a size in bytes; ``None`` if the text is not a size. Units may be written in any case."""
    if _NUMBER.fullmatch(value):
        return int(value)
    size = _SIZE.fullmatch(value.lower())
    return int(size[1]) * _UNITS[size[2]] if size and size[2] in _UNITS else None


def _file_types(environ: Mapping[str, str]) -> dict[str, FileType]:
    """Read ``ALLOWED_EXTENSIONS``: extensions, separated by commas or white space.

    Each is written as ``ext``, or as ``ext=media/type`` if the server does not know it. A list in which each entry
    begins with ``+`` adds to :data:`DEFAULT_EXTENSIONS`. Any other list replaces them.
    """
    variable = "ALLOWED_EXTENSIONS"
    value = environ.get(variable, "").strip() or DEFAULT_EXTENSIONS
    try:
        file_types = [_file_type(entry) for entry in _extensions(value.lower())]
    except ValueError as error:
        raise SettingsError(variable, value, str(error)) from None
    return {file_type.extension: file_type for file_type in file_types}


def _extensions(value: str) -> list[str]:
    """Return the entries of the list, after the default ones if the list adds to them.

    :raises ValueError: the list is empty, or only some entries begin with ``+``; the text says how to write the list.
    """
    entries = value.replace(",", " ").split()
    if not entries:
        raise ValueError(f"name at least one extension, such as '{DEFAULT_EXTENSIONS}'.")
    added = [entry[1:] for entry in entries if entry.startswith("+")]
    if not added:
        return entries
    if len(added) < len(entries):
        raise ValueError("write '+' before each extension to add to the default ones, or before none to replace them.")
    return [*DEFAULT_EXTENSIONS.split(), *added]


def _file_type(entry: str) -> FileType:
    """Return the type that an entry of ``ALLOWED_EXTENSIONS`` names.

    :raises ValueError: the entry does not name a type; the text says how to write it.
    """
    extension, equals_sign, media_type = entry.removeprefix(".").partition("=")
    if not _EXTENSION.fullmatch(extension):
        raise ValueError(f"{entry!r} is not an extension. Write extensions like 'pdf, jpg'.")
    known = filetypes.KNOWN.get(extension)
    if known and equals_sign:
        raise ValueError(f"{extension!r} is known, and checked. Leave out its media type.")
    if known:
        return known
    if not equals_sign:
        filetypes.declared(extension, "application/octet-stream")  # raises if no media type would help
        names = " ".join(filetypes.KNOWN)
        raise ValueError(f"{extension!r} is not one of {names}. Declare it with its media type, like 'stl=model/stl'.")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"{entry!r} has no media type. Write it like 'stl=model/stl'.")
    return filetypes.declared(extension, media_type)
