"""The Flask app. All objects and routes are wired together here, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask
from werkzeug.routing import Rule

from . import logs
from .direct.promotion import Promotion
from .direct.uploads import UploadService
from .inspection.policy import Policy
from .intake import Intake
from .routes import direct, files, health, openapi, page, resumable, uploads
from .settings import DEFAULT_FOLDER, Settings, SettingsError
from .signals import send_file_stored
from .storage import Storage, StoredFile
from .storage.direct import DirectUploads
from .web import cors, hooks, responses
from .web.access import UPLOADING, Access, LoopbackAccess, NoAccess, PublicAccess
from .web.services import Services

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from .resumable.uploads import ResumableService
    from .storage.folder.files import FolderOutbox
    from .storage.resumable import ResumableUploads
    from .web.receipts import Receipts


def create_app(settings: Settings | None = None) -> Flask:
    """Make the app.

    :param settings: by default, the settings are read from the environment.
    :raises SettingsError: a setting has a value that cannot work.
    """
    settings = settings or Settings.from_environ(os.environ)
    logs.configure()
    app = Flask(__name__, static_folder=None)
    app.url_rule_class = _Rule
    app.url_map.strict_slashes = False  # a redirect would make the client send its file twice
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    _make_services(settings, on_stored=partial(send_file_stored, app)).attach(app)
    for blueprint in _blueprints(settings):
        app.register_blueprint(blueprint)
    hooks.register(app)
    cors.register(app, allowed_origins=settings.allowed_origins)
    if settings.trusted_proxies:
        _trust_proxies(app, settings.trusted_proxies)
    return app


def _blueprints(settings: Settings) -> Iterator[Blueprint]:
    """Yield the routes. A capability that is not configured has no routes."""
    if settings.downloads:
        yield files.downloads  # before files.blueprint: the automatic OPTIONS of a path belongs to its first rule
    if settings.takes_direct_uploads:
        yield resumable.blueprint  # before uploads.blueprint, for the same reason
    yield from (page.blueprint, uploads.blueprint, files.blueprint, openapi.blueprint, health.blueprint)
    if settings.takes_direct_uploads:
        yield direct.blueprint
        if not settings.upload_bucket:
            from .routes import s3_stand_in

            yield s3_stand_in.blueprint


class _Rule(Rule):
    """A rule that compiles its URL builders when the first URL is asked for.

    Most rules are never asked for one. Werkzeug compiles two builders for each rule at once, which takes a fortieth of
    a cold start. The overridden method is not public: if a later Werkzeug drops it, rules compile at once again.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_builder = super()._compile_builder

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            builder = compile_builder(append_unknown).__get__(rule, None)
            setattr(rule, "_build_unknown" if append_unknown else "_build", builder)
            url: tuple[str, str] = builder(**values)
            return url

        return build


def _make_services(settings: Settings, *, on_stored: Callable[[StoredFile], None]) -> Services:
    policy = _make_policy(settings)
    storage, direct_uploads, make_pieces = _make_storage(settings)
    intake = Intake(storage, policy=policy, on_stored=on_stored)
    promotion = Promotion(direct_uploads, intake=intake)
    return Services(
        settings=settings,
        access=_make_access(settings),
        policy=policy,
        storage=storage,
        intake=intake,
        direct_uploads=direct_uploads,
        promotion=promotion,
        uploads=UploadService(direct_uploads, storage=storage, promotion=promotion),
        resumable=_make_resumable(settings, make_pieces, direct_uploads, intake=intake),
        receipts=_make_receipts(settings),
    )


def _trust_proxies(app: Flask, hops: int) -> None:
    """Take a client's address, scheme, host and prefix from ``X-Forwarded-*``.

    :param hops: the number of proxies that append to these fields. Entries of the client itself come before theirs, and
        are not read.
    """
    # The artifact for Lambda, where no proxy is trusted, does not have this module (handler/Makefile).
    from werkzeug.middleware.proxy_fix import ProxyFix

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
            from .web.tokens import TokenAccess  # only tokens need PyJWT

            return TokenAccess(settings.token_secrets, anonymous=UPLOADING if settings.access == "public" else None)
        case "public":
            return PublicAccess()
        case "loopback":
            return LoopbackAccess(allowed_origins=settings.allowed_origins)
        case _:
            return NoAccess()


def _make_receipts(settings: Settings) -> Receipts | None:
    if not settings.token_secrets:
        return None
    from .web.receipts import Receipts  # needs PyJWT, as tokens do

    return Receipts(settings.token_secrets[0])


def _make_storage(settings: Settings) -> tuple[Storage, DirectUploads, Callable[[], ResumableUploads]]:
    """Make the storage of the checked files, that of direct uploads, and a function that makes that of pieces."""
    if settings.upload_bucket:
        # Only a bucket needs botocore. The local server works without it.
        from .storage.s3.direct import S3DirectUploads
        from .storage.s3.files import S3Storage

        bucket = S3Storage(settings.upload_bucket, client=_make_client(settings.upload_bucket))

        def make_bucket_pieces() -> ResumableUploads:
            from .storage.s3.pieces import S3ResumableUploads

            return S3ResumableUploads(bucket)

        return bucket, S3DirectUploads(bucket), make_bucket_pieces
    from .storage.folder.direct import LocalDirectUploads
    from .storage.folder.files import LocalStorage

    folder = settings.upload_folder or Path(DEFAULT_FOLDER)
    try:
        local = LocalStorage(folder, outbox=_make_outbox(settings, folder))
        direct_uploads = LocalDirectUploads(local)
    except OSError as error:
        raise SettingsError(
            "UPLOAD_FOLDER",
            str(folder),
            f"files cannot be written there ({error.strerror}). Name a folder that this user may write to.",
        ) from None

    def make_folder_pieces() -> ResumableUploads:
        from .storage.folder.resumable import LocalResumableUploads

        return LocalResumableUploads(local)

    return local, direct_uploads, make_folder_pieces


def _make_resumable(
    settings: Settings,
    make_pieces: Callable[[], ResumableUploads],
    direct_uploads: DirectUploads,
    *,
    intake: Intake,
) -> Callable[[], ResumableService] | None:
    """Return a function that makes the operations on resumable uploads when it is first called."""
    if not settings.takes_direct_uploads:
        return None

    @cache
    def make() -> ResumableService:
        from .resumable.uploads import ResumableService

        return ResumableService(make_pieces(), verdicts=direct_uploads, intake=intake)

    return make


def _make_outbox(settings: Settings, folder: Path) -> FolderOutbox | None:
    """Return the outbox of the folder, and begin to send its events; ``None`` without a webhook.

    :raises OSError: the folder cannot be written.
    """
    if not settings.webhook_url or settings.on_lambda:  # a function sleeps between two requests, so it cannot send
        return None
    from .webhooks.delivery import Receiver
    from .webhooks.outbox import Outbox, Sender

    # Offline the receiver is often on this machine.
    receiver = Receiver(settings.webhook_url, keys=settings.webhook_keys, allow_private=True)
    outbox = Outbox(folder, describe=responses.webhook_entry)
    Sender(outbox, receiver).start()
    return outbox


def _make_client(bucket: str) -> S3Client:
    """Make the client for S3.

    :raises SettingsError: one of botocore's own variables has a value that cannot work.
    """
    from botocore.exceptions import BotoCoreError, InvalidRegionError, ProfileNotFound

    from .storage.s3.client import make_client

    try:
        client = make_client()
    except ProfileNotFound as error:
        profile = error.kwargs["profile"]
        raise SettingsError(
            "AWS_PROFILE",
            profile,
            "the AWS configuration has no such profile. Name one of 'aws configure list-profiles'.",
        ) from None
    except InvalidRegionError as error:
        region = error.kwargs["region_name"]
        raise SettingsError("AWS_DEFAULT_REGION", region, "name a region, such as eu-central-1.") from None
    except (BotoCoreError, ValueError) as error:  # botocore raises ValueError for an invalid endpoint
        for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            if not isinstance(error, BotoCoreError) and (url := os.environ.get(variable)):
                raise SettingsError(variable, url, "give a URL, such as http://127.0.0.1:9000.") from None
        reason = " ".join(str(error).split())
        raise SettingsError("UPLOAD_BUCKET", bucket, f"botocore cannot be set up for it. {reason}") from None
    # botocore uses this endpoint without a region. It finds some buckets and is redirected from others (make_client).
    if client.meta.endpoint_url == "https://s3.amazonaws.com":
        expected = "name the region of the bucket, such as eu-central-1; botocore does not look at AWS_REGION."
        raise SettingsError("AWS_DEFAULT_REGION", None, expected)
    return client
