"""The response to one request, as it goes over the wire (RFC 9112) and as an app gives it (PEP 3333)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_WITHOUT_CONTENT = ("204", "304")
"""The statuses of final responses that never have content (RFC 9112, section 6.3)."""


class Response:
    """A response. Flask calls :meth:`start` once, before it returns the content.

    :param method: of the request.
    :param write: sends bytes to the client.
    :param begin: is called once. It gets whether the client can find the end of the response on a connection that stays
        open, and returns the header fields of the server. The fields of the app win over those.
    """

    def __init__(
        self,
        *,
        method: str,
        write: Callable[[bytes], object],
        begin: Callable[[bool], list[tuple[str, str]]],
    ) -> None:
        self._method = method
        self._write = write
        self._begin = begin
        self._head = b""
        self._has_content = True
        self._left: int | None = None
        """The announced bytes that were not sent yet; ``None`` if no length was announced."""

    @property
    def is_complete(self) -> bool:
        """Whether exactly the announced bytes were sent."""
        return self._left == 0

    def start(
        self, status: str, headers: list[tuple[str, str]], _exception: object = None, /
    ) -> Callable[[bytes], object]:
        """Take the status and the header fields. The content follows."""
        if status.startswith("204"):  # RFC 9110, section 8.6
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        given = {name.lower(): value for name, value in headers}
        self._has_content = self._method != "HEAD" and status[:3] not in _WITHOUT_CONTENT
        if not self._has_content:
            self._left = 0
        elif "content-length" in given:
            self._left = int(given["content-length"])
        own = self._begin(self._left is not None)
        fields = headers + [(name, value) for name, value in own if name.lower() not in given]
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
        self._head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return self._send

    def send(self, content: Iterable[bytes]) -> None:
        """Send the content, together with the head.

        :raises OSError: the client has left.
        """
        for data in content:
            self._send(data)
        if self._head:
            self._send(b"")

    def _send(self, data: bytes) -> None:
        if not self._has_content:
            data = b""
        if self._left is not None:
            self._left -= len(data)
        head, self._head = self._head, b""
        if head or data:
            self._write(head + data)
