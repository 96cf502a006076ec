"""The Flask app: the only place where the parts are wired together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.routing import Rule

from . import logs
from .direct.promotion import Promotion
from .inspection.policy import Policy
from .intake import Intake
from .routes import direct, files, openapi, page, uploads
from .settings import DEFAULT_FOLDER, Settings, SettingsError
from .storage import Storage
from .storage.direct import DirectUploads
from .web import cors, hooks
from .web.access import UPLOADING, Access, LoopbackAccess, NoAccess, PublicAccess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def create_app(settings: Settings | None = None) -> Flask:
    """Make the app.

    :param settings: by default those of the environment.
    :raises SettingsError: a setting has a value that cannot work.
    """
    settings = settings or Settings.from_environ(os.environ)
    logs.configure()
    app = Flask(__name__, static_folder=None)
    app.url_rule_class = _Rule
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.config["FILE_FIELDS"] = settings.file_fields
    app.url_map.strict_slashes = False  # a redirect would make the client send its file twice
    app.url_map.merge_slashes = False
    app.extensions["access"] = _make_access(settings)
    app.extensions["storage"], app.extensions["direct_uploads"] = _make_storage(settings)
    app.extensions["intake"] = Intake(app.extensions["storage"], policy=_make_policy(settings))
    app.extensions["promotion"] = Promotion(app.extensions["direct_uploads"], intake=app.extensions["intake"])
    app.register_blueprint(page.blueprint)
    app.register_blueprint(uploads.blueprint)
    if settings.takes_direct_uploads:
        direct.register(app, hurry=settings.on_lambda)
    if settings.takes_direct_uploads and not settings.upload_bucket:
        from .routes import s3_stand_in  # noqa: PLC0415  (on AWS S3 takes the bytes, and this module is not there)

        s3_stand_in.register(app)
    files.register(app, downloads=settings.downloads)
    app.register_blueprint(openapi.blueprint)
    app.add_url_rule("/health", view_func=lambda: {"status": "ok"}, endpoint="health")
    hooks.register(app)
    cors.register(app, allowed_origins=settings.allowed_origins)
    if settings.trusted_proxies:
        _trust_proxies(app, settings.trusted_proxies)
    return app


class _Rule(Rule):
    """A rule that compiles the functions that make its URLs when one is asked for, which for most rules is never.

    Werkzeug compiles two functions for each rule at once, in a fortieth of a cold start. Its method is not public: a
    Werkzeug without it would do so again.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_builder = super()._compile_builder

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            builder = compile_builder(append_unknown).__get__(rule, None)
            setattr(rule, "_build_unknown" if append_unknown else "_build", builder)
            url: tuple[str, str] = builder(**values)
            return url

        return build


def _trust_proxies(app: Flask, hops: int) -> None:
    """Take a client's address, scheme, host and prefix from ``X-Forwarded-*``.

    :param hops: the number of proxies that append to these fields. A client's own entries come before theirs, and are
        not read.
    """
    # Imported here: the artifact for Lambda, where no proxy is trusted, does not have it (handler/Makefile).
    from werkzeug.middleware.proxy_fix import ProxyFix  # noqa: PLC0415

    fixed = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)
    app.wsgi_app = fixed  # type: ignore[method-assign]


def _make_policy(settings: Settings) -> Policy:
    return Policy(
        file_types=settings.file_types,
        max_file_bytes=settings.max_file_bytes,
        max_image_pixels=settings.max_image_pixels,
        allow_empty_files=settings.allow_empty_files,
    )


def _make_access(settings: Settings) -> Access:
    match settings.access:
        case "token" | "public" if settings.token_secrets:
            # Imported here: where no token is ever good nobody needs to wait for PyJWT.
            from .web.tokens import TokenAccess  # noqa: PLC0415

            return TokenAccess(settings.token_secrets, anonymous=UPLOADING if settings.access == "public" else None)
        case "public":
            return PublicAccess()
        case "loopback":
            return LoopbackAccess(allowed_origins=settings.allowed_origins)
        case _:
            return NoAccess()


def _make_storage(settings: Settings) -> tuple[Storage, DirectUploads]:
    if settings.upload_bucket:
        # Imported here: offline nobody needs to wait for botocore, nor to have it.
        from .storage.s3.direct import S3DirectUploads  # noqa: PLC0415
        from .storage.s3.files import S3Storage  # noqa: PLC0415

        bucket = S3Storage(settings.upload_bucket, client=_make_client(settings.upload_bucket))
        return bucket, S3DirectUploads(bucket)
    from .storage.folder.direct import LocalDirectUploads  # noqa: PLC0415
    from .storage.folder.files import LocalStorage  # noqa: PLC0415

    folder = settings.upload_folder or Path(DEFAULT_FOLDER)
    try:
        local = LocalStorage(folder)
        return local, LocalDirectUploads(local)
    except OSError as error:
        raise SettingsError(
            "UPLOAD_FOLDER", str(folder), f"files cannot be written there ({error.strerror})."
        ) from None


def _make_client(bucket: str) -> S3Client:
    """The client for S3, unless botocore's own variables have values that cannot work."""
    from botocore.exceptions import BotoCoreError, InvalidRegionError, ProfileNotFound  # noqa: PLC0415

    from .storage.s3.files import make_client  # noqa: PLC0415

    try:
        client = make_client()
    except ProfileNotFound as error:
        profile = error.kwargs["profile"]
        raise SettingsError("AWS_PROFILE", profile, "the AWS configuration has no such profile.") from None
    except InvalidRegionError as error:
        region = error.kwargs["region_name"]
        raise SettingsError("AWS_DEFAULT_REGION", region, "name a region, such as eu-central-1.") from None
    except (BotoCoreError, ValueError) as error:  # an endpoint that is no URL is but a ValueError
        for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            if not isinstance(error, BotoCoreError) and (url := os.environ.get(variable)):
                raise SettingsError(variable, url, "give a URL, such as http://127.0.0.1:9000.") from None
        reason = " ".join(str(error).split())
        raise SettingsError("UPLOAD_BUCKET", bucket, f"botocore cannot be set up for it. {reason}") from None
    # What botocore takes without a region: it finds some buckets and is redirected from others, see make_client.
    if client.meta.endpoint_url == "https://s3.amazonaws.com":
        expected = "name the region of the bucket, such as eu-central-1; botocore does not look at AWS_REGION."
        raise SettingsError("AWS_DEFAULT_REGION", None, expected)
    return client
