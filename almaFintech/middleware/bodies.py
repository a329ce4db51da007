"""Refusal of bodies that are too large or not UTF-8, before anything reads them."""

import codecs
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from almaFintech.api.responses import respond
from almaFintech.refusals import BodyTooLarge, LengthRequired, UnsupportedCharset, WalletError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


class BodyMiddleware:
    """Check the declared length of a body; nothing reads beyond that length.

    A body of undeclared length (`Transfer-Encoding: chunked`) would be mistaken for an empty one,
    so the client must declare it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        error = self.error_of(request)
        return respond(request.path, error) if error else self.get_response(request)

    def error_of(self, request: HttpRequest) -> WalletError | None:
        length = request.META.get("CONTENT_LENGTH") or ""
        if length.isdecimal() and int(length) > settings.MAX_BODY_BYTES:
            return BodyTooLarge()
        if not length and "Transfer-Encoding" in request.headers:
            return LengthRequired()
        # RFC 8259, section 8.1: JSON between systems is UTF-8. Python knows other codecs too, some
        # of which, such as "hex", do not even encode text.
        if request.encoding and codecs.lookup(request.encoding).name not in ("utf-8", "ascii"):
            return UnsupportedCharset()
        return None


def bounded(application: Application) -> Application:
    """Bound the bodies of an ASGI application: Django reads them before it runs any middleware."""

    async def run(scope: Any, receive: Receive, send: Send) -> None:
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Django discards what it has read when the client disconnects.
            is_too_large = received > settings.MAX_BODY_BYTES
            return {"type": "http.disconnect"} if is_too_large else message

        await application(scope, receive_bounded, send)
        if received > settings.MAX_BODY_BYTES:
            answer = respond(scope["path"], BodyTooLarge())
            headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
            await send(
                {"type": "http.response.start", "status": answer.status_code, "headers": headers}
            )
            await send({"type": "http.response.body", "body": answer.content})

    return run
