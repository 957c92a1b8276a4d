"""Who may ask, and what the browser may do with the answer.

A page on a machine's own loopback is still reachable by every web page that its user visits. So:
only our own names as Host (DNS rebinding), only our own origin may post or fetch, only a person's
own click may come from elsewhere, bodies and addresses are bounded, and the answer may load nothing
from anywhere and run no inline script.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_SECURITY_POLICY", "Guard"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # none elsewhere; with none at all our forms have no Origin
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_TOO_LARGE = "The file is larger than 1 MB."
MAX_ADDRESS_BYTES = 4_096
MAX_BODY_BYTES = 1_100_000  # a file of 1 MB and what a form puts around it


class Guard:
    """Middleware around the whole application.

    Parameters
    ----------
    app : ASGI application
    hosts : frozenset of str
        What the Host header may say: ``127.0.0.1:8765``, ``localhost:8765``.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with a bounded body and our headers on the answer."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    told[name] = value
                told.setdefault("cache-control", "no-store")
            await send(message)

        if refused:
            status, words = refused
            await PlainTextResponse(f"{words}\n", status)(scope, receive, with_headers)
            return
        await self._app(scope, bounded, with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host, method = headers.get("host", ""), scope["method"]
        if host not in self._hosts:
            return 421, "This page answers only to its own address on this machine."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
            return 414, "The address is too long."
        if _length(headers) > MAX_BODY_BYTES:
            return 413, _TOO_LARGE
        site = headers.get("sec-fetch-site", "none")
        if method in ("GET", "HEAD"):
            clicked = headers.get("sec-fetch-dest") == "document"
            if site in ("cross-site", "same-site") and not clicked:
                return 403, "Other pages may link here, but load nothing from here."
            return None
        if headers.get("origin") != f"http://{host}" or site not in ("same-origin", "none"):
            return 403, "Only this page itself may send something."
        return None


def _length(headers: Any) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdigit() else 0
