"""The security headers: they keep browsers from rendering or running a response. Every response has them."""

from __future__ import annotations


def security_headers(*, over_tls: bool) -> list[tuple[str, str]]:
    """Return the header fields of a response that is data and not a page.

    :param over_tls: whether the client uses TLS. Its browser then never comes back without TLS (RFC 6797).
    """
    fields = [
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        # Under "no-referrer" a browser sends "Origin: null" with the form of our own page (WHATWG Fetch, "append a
        # request Origin header"). The request would then look like one from another site.
        ("Referrer-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    ]
    if over_tls:
        fields.append(("Strict-Transport-Security", "max-age=31536000"))
    return fields
