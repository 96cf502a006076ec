"""The header fields that keep a browser from making more of an answer than it is. Every answer has them."""

from __future__ import annotations


def security_headers(*, over_tls: bool) -> list[tuple[str, str]]:
    """Those of an answer that is data, and no page.

    :param over_tls: whether it goes out over TLS: a browser is then told to come by TLS alone (RFC 6797).
    """
    fields = [
        ("X-Content-Type-Options", "nosniff"),
        # A browser has no business to render it.
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        # Under "no-referrer" a browser sends "Origin: null" with the form of our own page (WHATWG Fetch, "append a
        # request Origin header"), which then looks like another site's.
        ("Referrer-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    ]
    if over_tls:
        fields.append(("Strict-Transport-Security", "max-age=31536000"))
    return fields
