"""``python -m handler check``: whether the settings and the storage work, before an upload shows it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

from flask import Flask

from ..app import create_app
from ..settings import Settings, SettingsError
from .findings import Finding


def check_all(environ: Mapping[str, str], *, own_origin: str) -> Iterator[Finding]:
    """Check the settings, then the folder or the bucket. After an error in the settings there are no more findings.

    :param environ: the environment, as ``os.environ``.
    :param own_origin: see :func:`check_bucket`.
    """
    try:
        settings = Settings.from_environ(environ)
        make_app(replace(settings, webhook_url=None))  # a check sends no events
    except SettingsError as error:
        yield Finding(subject=_SUBJECTS.get(error.variable, "settings"), sentence=str(error), ok=False)
        return
    yield Finding(subject="settings", sentence="every setting has a valid value.")
    if settings.upload_bucket:
        yield from check_bucket(settings.upload_bucket, settings=settings, own_origin=own_origin)
    elif settings.upload_folder:
        yield Finding(subject="folder", sentence=f"{settings.upload_folder.absolute()} takes files.")


_SUBJECTS = {"AWS_DEFAULT_REGION": "region", "AWS_PROFILE": "credentials", "UPLOAD_FOLDER": "folder"}


def check_bucket(bucket: str, *, settings: Settings, own_origin: str) -> Iterator[Finding]:
    """Check the credentials and the bucket.

    :param own_origin: of the local server's page, which sends large files straight to the bucket, as do the pages of
        ``ALLOWED_ORIGINS``.
    """
    from ..storage.s3.client import make_client
    from . import bucket_check

    return bucket_check.check(make_client(), bucket, origins=[*settings.allowed_origins, own_origin])


def make_app(settings: Settings) -> Flask:
    """Make the app, unless it needs boto3 and boto3 is not installed.

    :raises SettingsError: as :func:`~handler.app.create_app`, or for want of boto3.
    """
    if settings.upload_bucket and importlib.util.find_spec("botocore") is None:
        expected = f"a bucket needs boto3. Install it: {sys.executable} -m pip install boto3"
        raise SettingsError("UPLOAD_BUCKET", settings.upload_bucket, expected)
    return create_app(settings)
