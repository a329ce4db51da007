"""Views that belong to no app, and a base class of views."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.urls import resolve
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_view
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.routers import APIRootView
from rest_framework.views import APIView

from almaFintech.api.openapi import Schema, operation
from almaFintech.api.queries import QueryMixin
from almaFintech.api.renderers import JSONRenderer


class JsonErrors(APIView):
    """A view that sends errors and its description as JSON, and anything else in other formats."""

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        self.render_json()
        return response

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        self.render_json()
        return super().options(request, *args, **kwargs)

    def render_json(self) -> None:
        # A request that failed before the negotiation has no renderer.
        if not isinstance(getattr(self.request, "accepted_renderer", None), JSONRenderer):
            self.request.accepted_renderer = JSONRenderer()
            self.request.accepted_media_type = JSONRenderer.media_type


@extend_schema_view(
    get=operation(
        "listEntryPoints",
        "List the entry points",
        tags=["api"],
        responses=OpenApiResponse(
            {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}},
            examples=[
                OpenApiExample(
                    "Entry points",
                    value={
                        "accounts": "http://localhost:8000/api/accounts/",
                        "login": "http://localhost:8000/api/login/",
                    },
                )
            ],
        ),
    )
)
class ApiRoot(QueryMixin, APIRootView):
    """The entry points of the API."""

    # DRF leaves its own view out of the document.
    schema = Schema()
    authentication_classes = ()
    permission_classes = (AllowAny,)


def no_icon(request: HttpRequest) -> HttpResponse:
    """Return 204: browsers ask for an icon with each page, and show a 404 in their console."""
    return HttpResponse(status=204)


@csrf_exempt
def no_such_path(request: HttpRequest) -> HttpResponse:
    """Return 404 in JSON, or redirect a GET that lacks the trailing slash to the path with it.

    Other methods get a hint instead, because clients that follow a redirect drop the body.
    """
    detail = "Not found."
    lacks_slash = request.path_info[-1:] != "/"
    if lacks_slash and resolve(f"{request.path_info}/").func is not no_such_path:
        if request.method in ("GET", "HEAD"):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        detail = f"Not found. The path ends with a slash: {request.path}/"
    return JsonResponse({"detail": detail, "code": "not_found"}, status=404)
