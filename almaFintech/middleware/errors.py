"""Responses to errors of pages outside the API."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from almaFintech.api.errors import translated
from almaFintech.api.responses import respond
from almaFintech.refusals import WalletError


class ErrorMiddleware:
    """Turn errors of views outside the API into responses, such as 503 for a database outage."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        error = translated(error)
        return respond(request.path, error) if isinstance(error, WalletError) else None
