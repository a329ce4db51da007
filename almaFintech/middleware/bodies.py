"""Requests with too large a body are refused before anything reads it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import status

from almaFintech.api.responses import refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


class BodyMiddleware:
    """Believe the length that a request declares, since nobody reads further than that.

    A body of undeclared length (`Transfer-Encoding: chunked`) would be taken for an empty one,
    so the client is told to declare it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        length = request.META.get("CONTENT_LENGTH") or ""
        if length.isdecimal() and int(length) > settings.MAX_BODY_BYTES:
            return too_large(request.path)
        if not length and "Transfer-Encoding" in request.headers:
            return refusal(
                request.path,
                "The request must tell the length of its body: Content-Length is missing.",
                "length_required",
                status.HTTP_411_LENGTH_REQUIRED,
            )
        return self.get_response(request)


def too_large(path: str) -> HttpResponse:
    return refusal(
        path,
        f"The body may have at most {settings.MAX_BODY_BYTES} bytes.",
        "body_too_large",
        status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    )


def bounded(application: Application) -> Application:
    """Bound the bodies of an ASGI application: Django reads those to the end before it asks us."""

    async def run(scope: Any, receive: Receive, send: Send) -> None:
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Django lets go of what it has read of a request whose client is gone.
            is_too_large = received > settings.MAX_BODY_BYTES
            return {"type": "http.disconnect"} if is_too_large else message

        await application(scope, receive_bounded, send)
        if received > settings.MAX_BODY_BYTES:
            answer = too_large(scope["path"])
            headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
            await send(
                {"type": "http.response.start", "status": answer.status_code, "headers": headers}
            )
            await send({"type": "http.response.body", "body": answer.content})

    return run
