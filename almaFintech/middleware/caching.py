"""Compression of responses, and headers that keep them out of caches."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

API = "/api/"
# The length of a compressed body reveals repetitions in it (the BREACH attack), so responses with
# tokens are not compressed. Django adds random bytes to the others.
TOKENS = "/api/login/"


class CompressionMiddleware(GZipMiddleware):
    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if request.path.startswith(TOKENS):
            return response
        return super().process_response(request, response)


class NoStoreMiddleware:
    """Keep the responses of the API, which describe money and people, out of every cache."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.path.startswith(API):
            response.headers.setdefault("Cache-Control", "no-store")
        return response
