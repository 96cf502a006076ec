"""There is an answer of ours before API Gateway gives one of its own, however S3 behaves. No test waits for it: time is
the tests' own, and passes only where something waits."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError

from handler import intake
from handler.app import create_app
from handler.direct.upload_ids import UploadId, sign
from handler.problems import StorageUnavailable
from handler.settings import Settings
from handler.storage import deadline
from handler.storage.deadline import REQUEST_SECONDS
from handler.storage.direct import Declaration
from handler.storage.s3.client import ATTEMPTS, CONNECT_SECONDS, COPY_READ_SECONDS, READ_SECONDS, make_client
from handler.storage.s3.copy import S3Incoming
from handler.storage.s3.direct import SECRET_BYTES
from handler.storage.s3.files import S3Storage
from handler.units import MIB

from ..conftest import BUCKET
from ..support import samples
from ..support.stored_files import ID, file

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

GATEWAY_SECONDS = 29
ADDRESSES = 8
"""As many as S3's name has."""


class Clock:
    """Each thread has a time of its own. The main one waits for the others, so it has the latest."""

    def __init__(self) -> None:
        self._times: dict[threading.Thread, float] = {}

    def now(self) -> float:
        if threading.current_thread() is threading.main_thread():
            self._times[threading.main_thread()] = max(self._times.values(), default=0)
        return self._times.setdefault(threading.current_thread(), self._times[threading.main_thread()])

    def wait(self, seconds: float) -> None:
        self._times[threading.current_thread()] = self.now() + seconds


class S3:
    """Replaces botocore's sending. Each method is a behaviour, with the time that it takes and its result."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.behaviours: dict[str, Callable[[AWSPreparedRequest], AWSResponse]] = {}
        self.body = b""
        self.began: list[str] = []
        self._round = threading.Barrier(intake.STORED_AT_ONCE, timeout=10)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        method = str(request.method)
        self.began.append(method)
        return self.behaviours[method](request)

    def hangs(self, request: AWSPreparedRequest) -> AWSResponse:
        self._clock.wait(1 + READ_SECONDS)  # a second to send
        raise ReadTimeoutError(endpoint_url=request.url)

    def connects_late_and_hangs(self, request: AWSPreparedRequest) -> AWSResponse:
        self._clock.wait(CONNECT_SECONDS)
        return self.hangs(request)

    def takes_no_connection(self, request: AWSPreparedRequest) -> AWSResponse:
        self._clock.wait(CONNECT_SECONDS * ADDRESSES)
        raise ConnectTimeoutError(endpoint_url=request.url)

    def cuts_off_late(self, request: AWSPreparedRequest) -> AWSResponse:
        self._clock.wait(READ_SECONDS)
        raise ConnectionClosedError(endpoint_url=request.url)

    def is_slow(self, request: AWSPreparedRequest) -> AWSResponse:
        self._clock.wait(READ_SECONDS - 1)
        if threading.current_thread() is not threading.main_thread():
            self._round.wait()  # or a thread whose time has passed could take the file of one that has yet to start
        return self.is_good(request)

    def is_good(self, request: AWSPreparedRequest) -> AWSResponse:
        return self._answer(request, 200, self.body)

    def throttles(self, request: AWSPreparedRequest) -> AWSResponse:
        return self._answer(request, 503, b"<Error><Code>SlowDown</Code></Error>")

    def has_something_there(self, request: AWSPreparedRequest) -> AWSResponse:
        self._clock.wait(READ_SECONDS - 1)
        return self._answer(request, 412)

    def _answer(self, request: AWSPreparedRequest, status: int, body: bytes = b"") -> AWSResponse:
        fields = {
            "ETag": '"e"',
            "Content-Type": "text/plain",
            "Content-Length": str(len(body)),
            "x-amz-request-id": "1",
        }
        headers = HTTPHeaders.from_dict(fields)
        return AWSResponse(request.url, status, headers, _Raw(body))


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        yield self.read()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.now()
    monkeypatch.setattr(deadline, "monotonic", clock.now)
    monkeypatch.setattr("botocore.endpoint.time.sleep", clock.wait)
    # The longest pauses that botocore may make: 1 s, 2 s, …
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", _longest_pause)
    return clock


def _longest_pause(_self: object, context: Any) -> float:
    pause: float = 2 ** (context.attempt_number - 1)
    return pause


@pytest.fixture
def s3(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> S3:
    s3 = S3(clock)
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", lambda _, request: s3.send(request))
    return s3


def client(*, gateway_waits: bool = True, **environ: str) -> FlaskClient:
    settings = Settings.from_environ({"UPLOAD_BUCKET": BUCKET, **environ})
    return create_app(replace(settings, on_lambda=gateway_waits)).test_client()


def upload(count: int = 1, *, gateway_waits: bool = True) -> TestResponse:
    return client(gateway_waits=gateway_waits).post(
        "/upload", data={"file": [(io.BytesIO(samples.TEXT), "a.txt") for _ in range(count)]}
    )


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize(
    "put", ["hangs", "connects_late_and_hangs", "takes_no_connection", "cuts_off_late", "has_something_there"]
)
def test_slow_s3_failure_is_reported_before_the_gateway_times_out(s3: S3, clock: Clock, put: str, count: int) -> None:
    s3.behaviours = {"PUT": getattr(s3, put), "HEAD": s3.hangs, "POST": s3.takes_no_connection}
    response = upload(count)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert clock.now() < GATEWAY_SECONDS - 2
    assert s3.began.count("POST") == 1, "the take-back is one attempt"


def test_slow_files_within_the_deadline_are_stored(s3: S3, clock: Clock) -> None:
    s3.behaviours = {"PUT": s3.is_slow, "POST": s3.is_good}
    assert upload(2 * intake.STORED_AT_ONCE).status_code == 201
    assert set(s3.began) == {"PUT"}
    assert clock.now() == 2 * (READ_SECONDS - 1)


def test_slow_files_over_the_deadline_are_deleted(s3: S3, clock: Clock) -> None:
    s3.behaviours = {"PUT": s3.is_slow, "POST": s3.is_good}
    assert upload(100).status_code == 503
    assert s3.began == ["PUT"] * 2 * intake.STORED_AT_ONCE + ["POST"]
    assert clock.now() < GATEWAY_SECONDS - 2


@pytest.mark.parametrize("behaviour", ["throttles", "hangs"])
def test_fast_failures_are_retried_and_slow_ones_are_not(s3: S3, behaviour: str) -> None:
    s3.behaviours = {"PUT": getattr(s3, behaviour), "POST": s3.is_good}
    assert upload().status_code == 503
    assert s3.began.count("PUT") == (ATTEMPTS if behaviour == "throttles" else 2)


def test_rejected_cleanup_is_retried(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.5)
    s3.behaviours = {"PUT": s3.hangs, "POST": s3.throttles}
    assert upload().status_code == 503
    assert s3.began == ["PUT", "PUT", "POST", "POST"]


@pytest.mark.parametrize("delete", ["hangs", "takes_no_connection", "cuts_off_late"])
@pytest.mark.parametrize("head", ["is_slow", "hangs", "takes_no_connection"])
def test_delete_has_a_deadline(s3: S3, clock: Clock, head: str, delete: str) -> None:
    s3.behaviours = {"HEAD": getattr(s3, head), "DELETE": getattr(s3, delete)}
    assert client().delete(f"/files/{ID}/a.txt").status_code == 503
    assert clock.now() < GATEWAY_SECONDS - 2


@pytest.mark.parametrize("head", ["hangs", "takes_no_connection", "cuts_off_late"])
def test_download_has_a_deadline(s3: S3, clock: Clock, head: str) -> None:
    s3.behaviours = {"HEAD": getattr(s3, head)}
    assert client().get(f"/files/{ID}/a.txt").status_code == 503
    assert clock.now() < GATEWAY_SECONDS - 2


COPYING_CLIENT = vars(S3Storage)["copying_client"]
"""The real one: conftest.py replaces it."""


def answer_xml(request: AWSPreparedRequest, body: bytes) -> AWSResponse:
    headers = HTTPHeaders.from_dict({"Content-Type": "application/xml", "x-amz-request-id": "1"})
    return AWSResponse(request.url, 200, headers, _Raw(body))


@pytest.mark.parametrize("begins", [0, REQUEST_SECONDS - 1], ids=["at once", "just before the deadline"])
def test_copy_may_take_longer_and_ends_before_the_gateway_times_out(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, begins: int
) -> None:
    monkeypatch.setattr(S3Storage, "copying_client", COPYING_CLIENT)
    requests: list[tuple[str, float]] = []

    def send(session: Any, request: AWSPreparedRequest) -> AWSResponse:
        requests.append((str(request.method), session._timeout.read_timeout))
        if request.method == "POST":
            clock.wait(begins)
            return answer_xml(request, b"<R><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></R>")
        clock.wait(CONNECT_SECONDS + session._timeout.read_timeout)
        raise ReadTimeoutError(endpoint_url=request.url)

    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", send)
    incoming = S3Incoming(
        size=200 * MIB,
        declaration=Declaration(original_name="a.txt", max_bytes=10**9),
        storage=S3Storage(BUCKET, client=make_client()),
        source={"Bucket": BUCKET, "Key": f"incoming/{ID}", "VersionId": "1"},
    )
    with deadline.deadline(seconds=REQUEST_SECONDS), pytest.raises(StorageUnavailable):
        incoming.copy_to_files(file(sha256=None))
    assert requests == [("POST", READ_SECONDS), ("PUT", COPY_READ_SECONDS)]  # and no clean-up: its event ends the copy
    assert clock.now() < GATEWAY_SECONDS - 2


UPLOAD_ID = sign(UploadId(id=ID, multipart_id="u", max_bytes=10**9), secret=bytes(SECRET_BYTES))
UPLOADS = "/upload/s3/multipart"


@pytest.mark.parametrize("first", ["is_slow", "hangs_once", "hangs"])
@pytest.mark.parametrize("then", ["hangs", "takes_no_connection", "cuts_off_late"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", UPLOADS),
        ("GET", "/upload/s3/params?filename=a.txt"),
        ("GET", f"{UPLOADS}/{UPLOAD_ID}"),
        ("GET", f"{UPLOADS}/{UPLOAD_ID}/1"),
        ("POST", f"{UPLOADS}/{UPLOAD_ID}/complete"),
        ("DELETE", f"{UPLOADS}/{UPLOAD_ID}"),
        ("GET", f"/upload/{UPLOAD_ID}"),
        ("GET", f"/upload/{ID}"),
    ],
)
def test_direct_upload_has_a_deadline(
    s3: S3, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, method: str, path: str, first: str, then: str
) -> None:
    """The first call, most often for the key of the upload ids, takes its time, and then comes another one."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "upload")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    behaviours = [s3.hangs] * (first == "hangs_once") + [s3.hangs if first == "hangs" else s3.is_slow]

    def behave(request: AWSPreparedRequest) -> AWSResponse:
        return (behaviours.pop(0) if behaviours else getattr(s3, then))(request)

    s3.behaviours = dict.fromkeys(("GET", "HEAD", "PUT", "POST", "DELETE"), behave)
    s3.body = bytes(SECRET_BYTES)
    json = {"filename": "a.txt"} if method == "POST" else None
    response = client(ACCESS="public", AWS_LAMBDA_FUNCTION_NAME="upload").open(path, method=method, json=json)
    assert response.status_code == 503 or "params" in path, "to sign a form takes no call of its own"
    assert clock.now() < GATEWAY_SECONDS - 2


def test_request_without_a_gateway_has_no_deadline(s3: S3, clock: Clock) -> None:
    s3.behaviours = {"PUT": s3.is_slow}
    assert upload(100, gateway_waits=False).status_code == 201
    assert clock.now() > GATEWAY_SECONDS


def test_clean_up_without_a_gateway_has_a_deadline(s3: S3) -> None:
    s3.behaviours = {"PUT": s3.hangs, "POST": s3.takes_no_connection}
    assert upload(gateway_waits=False).status_code == 503
    assert s3.began == ["PUT"] * ATTEMPTS + ["POST"]


def test_deadline_ends_with_its_request(s3: S3, clock: Clock) -> None:
    s3.behaviours = {"HEAD": s3.has_something_there}
    client().get(f"/files/{ID}/a.txt")
    clock.wait(1_000_000)
    assert not deadline.is_set()
    assert not deadline.expired()


def test_extra_time_replaces_an_expired_deadline(clock: Clock) -> None:
    with deadline.deadline(seconds=5):
        clock.wait(6)
        with deadline.extra_time(seconds=1):
            assert not deadline.expired()
            clock.wait(1)
            assert deadline.expired()
        assert deadline.expired()


def test_earlier_deadline_is_kept(clock: Clock) -> None:
    with deadline.deadline(seconds=5):
        with deadline.deadline(seconds=9):
            clock.wait(5)
            assert deadline.expired()
        with deadline.deadline(seconds=1):
            assert deadline.expired()
    assert not deadline.expired()


def test_code_outside_a_request_has_no_deadline(clock: Clock) -> None:
    clock.wait(1_000_000)
    assert not deadline.expired()
