"""Database failures and unusual charsets, answered outside the API as within it."""

import codecs
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.exceptions import APIException

from almaFintech.api.errors import as_api_exception
from almaFintech.api.responses import refusal


class ErrorMiddleware:
    """Give the pages outside the API the same answers to what no page can help."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # RFC 8259, section 8.1: JSON between systems is UTF-8. Some of the other names that
        # Python knows, such as "hex", are not even encodings of text.
        if request.encoding and codecs.lookup(request.encoding).name not in ("utf-8", "ascii"):
            return refusal(
                request.path,
                "The charset must be UTF-8.",
                "unsupported_media_type",
                status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
            )
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        answer = as_api_exception(error)
        if not isinstance(answer, APIException):
            return None
        wait = getattr(answer, "wait", None)
        return HttpResponse(
            str(answer.detail),
            status=answer.status_code,
            headers={"Retry-After": str(wait)} if wait else None,
        )
