"""The permissions that the S3 client needs, compared with those that the template grants."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from handler.storage.s3 import direct as s3_direct
from handler.storage.s3 import files as s3
from handler.storage.s3 import pieces as s3_pieces
from handler.storage.s3.client import make_client

from .template import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from mypy_boto3_s3 import S3Client


ROLES = {"upload": "UploadRole", "promote": "PromoteRole", "notify": "NotifyRole"}
Permission = tuple[str, str]
"""An action, and the keys that it is allowed for."""


def documented(role: str) -> set[Permission]:
    """Return the permissions of a role in the tables of the storage's docstrings."""
    rows = re.findall(
        rf"^    {role} +(\S+)  (.+)$", f"{s3.__doc__}{s3_direct.__doc__}{s3_pieces.__doc__}", re.MULTILINE
    )
    return {(action, keys) for keys, actions in rows for action in actions.split()}


def statements(role: str) -> list[dict[str, Any]]:
    """Return the statements of a role in the template."""
    (policy,) = RESOURCES[ROLES[role]]["Properties"]["Policies"]
    methods = [
        statement["If"][1] if "If" in statement else statement for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert {statement["Effect"] for statement in methods} == {"Allow"}
    return [statement | {"Action": listed(statement["Action"])} for statement in methods]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(role: str) -> set[Permission]:
    """Return the permissions of a role in the bucket."""
    permissions: set[Permission] = set()
    for statement in statements(role):
        if not statement["Action"][0].startswith("s3:"):
            continue
        if statement["Resource"] == {"GetAtt": "UploadBucket.Arn"}:
            ((condition),) = statement.get("Condition", {"StringLike": {"s3:prefix": ["*"]}}).values()
            keys = condition["s3:prefix"]
        else:
            keys = [statement["Resource"]["Sub"].removeprefix("${UploadBucket.Arn}/")]
        permissions |= {(action, key) for action in statement["Action"] for key in keys}
    return permissions


def needed(operation: str, parameters: dict[str, Any]) -> Iterator[Permission]:
    """Yield the permissions that S3 requires (AWS: "Required permissions for Amazon S3 API operations")."""
    key, version = parameters.get("Key", ""), "Version" if "VersionId" in parameters else ""
    yield from [("s3:PutObjectTagging", key)] if "Tagging" in parameters else []
    match operation:
        case "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload":
            yield "s3:PutObject", key
        case "UploadPartCopy":
            yield "s3:PutObject", key
            yield from needed("GetObject", parameters["CopySource"])
        case "GetObject" | "HeadObject":
            yield "s3:GetObject", key  # for a version as well: AWS's pages disagree, see UploadRole in the template
            yield from [("s3:GetObjectVersion", key)] if version else []
            yield "s3:ListBucket", key  # for a 404 where there is none
        case "DeleteObject":
            yield f"s3:DeleteObject{version}", key
        case "DeleteObjects":
            for item in parameters["Delete"]["Objects"]:
                yield from needed("DeleteObject", item)
        case "ListParts":
            yield "s3:ListMultipartUploadParts", key
        case "AbortMultipartUpload":
            yield "s3:AbortMultipartUpload", key
        case "ListObjectsV2":
            yield "s3:ListBucket", parameters["Prefix"]
        case "ListObjectVersions":
            yield "s3:ListBucketVersions", parameters["Prefix"]
        case "ListMultipartUploads":
            yield "s3:ListBucketMultipartUploads", "*"
        case _:
            raise NotImplementedError(operation)


def written(*modules: ModuleType) -> set[str]:
    """Return the operations of S3 that the source calls."""
    source = "".join(inspect.getsource(module) for module in modules)
    called = set(re.findall(r"client\.([a-z0-9_]+)\(", source)) - {"generate_presigned_post", "get_paginator"}
    named = set(re.findall(r'"((?:get|head|list|upload)_[a-z_]+)"', source))  # paginated or presigned
    return {name.title().replace("_", "") for name in called - {"generate_presigned_url"} | named}


class Recorder:
    """Makes clients for S3, and notes the permissions that their calls, signed URLs and signed forms need."""

    def __init__(self) -> None:
        self.permissions: set[Permission] = set()
        self.operations: set[str] = set()

    def make_client(self) -> S3Client:
        client = make_client()
        client.meta.events.register("provide-client-params.s3", self._called)
        client.meta.events.register("before-sign.s3.PutObject", self._form_signed)
        return client

    def _called(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        # For a form botocore goes through the parameters of another operation, which is never called.
        if not (model.name == "CreateBucket" and context.get("is_presign_request")):
            self._note(model.name, params)

    def _form_signed(self, request: Any, **_: object) -> None:
        for condition in request.context.get("s3-presign-post-policy", {}).get("conditions", ()):
            if "key" in condition:
                self._note("PutObject", {"Key": condition["key"]})

    def _note(self, operation: str, parameters: dict[str, Any]) -> None:
        self.operations.add(operation)
        for action, key in needed(operation, parameters):
            folder, slash, _ = key.partition("/")
            self.permissions.add((action, f"{folder}/*" if slash and folder != "secrets" else key))
