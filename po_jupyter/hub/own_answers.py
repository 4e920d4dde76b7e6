"""Answers of the gateway's own that are no problems: JSON, texts and pages, with headers that keep browsers safe."""

from __future__ import annotations

import json

from aiohttp import web

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'; sandbox"


def as_json(value: object, status: int = 200) -> web.Response:
    """A value as JSON."""
    body = json.dumps(value).encode()
    headers = {**_SAFE, "Content-Security-Policy": _NO_PAGE}
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def as_text(text: str, kind: str, *, download: str = "") -> web.Response:
    """A text; a browser keeps one to `download` as a file of that name."""
    headers = {**_SAFE, "Content-Security-Policy": _NO_PAGE, "Content-Type": kind}
    if download:
        headers["Content-Disposition"] = f'attachment; filename="{download}"'
    return web.Response(body=text.encode(), headers=headers)


def as_page(html: str, style_digest: str) -> web.Response:
    """A page without scripts, whose one style has that digest.

    The sandbox gives it an origin of its own: what runs on another page of the hub's host cannot read it.
    """
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox allow-downloads"
    )
    headers = {**_SAFE, "Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}
    return web.Response(body=html.encode(), headers=headers)
