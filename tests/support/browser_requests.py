"""Forms as browsers and other clients send them, written by hand.

They differ in the boundary, in the order and number of header fields, and in how they write a name that is not ASCII or
holds a quote: browsers write UTF-8 and percent-encode the quote, CR and LF (WHATWG HTML, "Multipart form data"), older
ones and curl put a backslash before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import samples


@dataclass(frozen=True, kw_only=True)
class FormRequest:
    boundary: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    files: tuple[tuple[str, bytes], ...]
    """The files in it: the name that each is stored under, and its bytes."""

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"


def part(boundary: str, *fields: str, content: bytes) -> bytes:
    head = "".join(f"{field}\r\n" for field in fields)
    return f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"


def chrome() -> FormRequest:
    boundary = "----WebKitFormBoundaryx8jO2oVc6SWP3Sad"
    return FormRequest(
        boundary=boundary,
        headers=(
            ("Cache-Control", "max-age=0"),
            ("Sec-Ch-Ua", '"Chromium";v="128", "Not;A=Brand";v="24"'),
            ("Origin", "http://localhost:8000"),
            ("Upgrade-Insecure-Requests", "1"),
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/128.0.0.0 Safari/537.36"),
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ),
        body=part(boundary, 'Content-Disposition: form-data; name="comment"', content="Grüße".encode())
        + part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename="Ferien %22Süd%22.png"',
            "Content-Type: image/png",
            content=samples.png(300),
        )
        + part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename="notes.txt"',
            "Content-Type: text/plain",
            content=samples.TEXT,
        )
        + f"--{boundary}--\r\n".encode(),
        files=(("Ferien_Sud.png", samples.png(300)), ("notes.txt", samples.TEXT)),
    )


def firefox() -> FormRequest:
    boundary = "----geckoformboundary4fba1e1eb2e7a4cdbb8d3a9f6b2c1d70"
    return FormRequest(
        boundary=boundary,
        headers=(
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"),
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Accept-Language", "de,en-US;q=0.7,en;q=0.3"),
            ("Origin", "http://localhost:8000"),
            ("DNT", "1"),
            ("Priority", "u=0, i"),
        ),
        body=part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename=""',
            "Content-Type: application/octet-stream",
            content=b"",
        )
        + part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename="日本語.pdf"',
            "Content-Type: application/pdf",
            content=samples.PDF,
        )
        + f"--{boundary}--\r\n".encode(),
        files=(("file.pdf", samples.PDF),),
    )


def safari() -> FormRequest:
    boundary = "----WebKitFormBoundaryAz9BqkTz1cXQd3Ye"
    return FormRequest(
        boundary=boundary,
        headers=(
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Origin", "null"),
            ("Accept-Language", "en-GB,en;q=0.9"),
            (
                "User-Agent",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.6 Safari/605.1",
            ),
        ),
        # Safari writes names as macOS stores them, decomposed: u, and a mark above it.
        body=part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename="Gru\u0308n.jpeg"',
            "Content-Type: image/jpeg",
            content=samples.JPEG,
        )
        + part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename="tabelle.csv"',
            "Content-Type: text/csv",
            content=samples.CSV,
        )
        + f"--{boundary}--\r\n".encode(),
        files=(("Grun.jpeg", samples.JPEG), ("tabelle.csv", samples.CSV)),
    )


def curl() -> FormRequest:
    boundary = "------------------------d74496d66958873e"
    return FormRequest(
        boundary=boundary,
        headers=(("User-Agent", "curl/8.7.1"), ("Accept", "*/*")),
        body=part(
            boundary,
            'Content-Disposition: form-data; name="file"; filename="a \\"b\\".gif"',
            "Content-Type: image/gif",
            content=samples.GIF,
        )
        + f"--{boundary}--\r\n".encode(),
        files=(("a_b.gif", samples.GIF),),
    )


def dotnet() -> FormRequest:
    """.NET 9, ``MultipartFormDataContent``; PowerShell 7.4 sends the same, with a Content-Type."""
    boundary = "5c4ab5f4-6a5f-4f0e-9d27-3f2b8d1f8a31"
    return FormRequest(
        boundary=boundary,
        headers=(),
        body=part(
            boundary,
            "Content-Disposition: form-data; name=file; filename=photo.jpg; filename*=utf-8''photo.jpg",
            content=samples.JPEG,
        )
        + part(
            boundary,
            "Content-Type: application/octet-stream",
            'Content-Disposition: form-data; name=file; filename="=?utf-8?B?R3LDvG4gMS5jc3Y=?="; '
            "filename*=utf-8''Gr%C3%BCn%201.csv",
            content=samples.CSV,
        )
        + f"--{boundary}--\r\n".encode(),
        files=(("photo.jpg", samples.JPEG), ("Grun_1.csv", samples.CSV)),
    )


def react_native() -> FormRequest:
    """React Native 0.76 on Android, through OkHttp."""
    boundary = "9b1c6f0e-1f0b-4a5b-8a57-1f6f3b6f0f2c"
    return FormRequest(
        boundary=boundary,
        headers=(("User-Agent", "okhttp/4.12.0"), ("Accept-Encoding", "gzip")),
        body=part(boundary, 'content-disposition: form-data; name="title"', "Content-Length: 2", content=b"hi")
        + part(
            boundary,
            'content-disposition: form-data; name="file"; filename="IMG_0001.JPG"; filename*=utf-8\'\'IMG_0001.JPG',
            "Content-Type: image/jpeg",
            f"Content-Length: {len(samples.JPEG)}",
            content=samples.JPEG,
        )
        + f"--{boundary}--\r\n".encode(),
        files=(("IMG_0001.jpg", samples.JPEG),),
    )


REQUESTS = {
    "Chrome": chrome(),
    "Firefox": firefox(),
    "Safari": safari(),
    "curl": curl(),
    ".NET": dotnet(),
    "React Native": react_native(),
}
