"""The views that belong to no app."""

from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.urls import resolve
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_view
from rest_framework.permissions import AllowAny
from rest_framework.routers import APIRootView

from almaFintech.api.openapi import Schema, operation
from almaFintech.api.queries import QueryMixin


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
    """Answer browsers that ask for an icon with each page; a 404 is an error in their console."""
    return HttpResponse(status=204)


@csrf_exempt
def no_such_path(request: HttpRequest) -> HttpResponse:
    """Answer 404 in JSON, or send a GET that lacks the trailing slash to the path that has it.

    Other methods are not sent there, but told of it: clients drop the body on the way.
    """
    detail = "Not found."
    lacks_slash = request.path_info[-1:] != "/"
    if lacks_slash and resolve(f"{request.path_info}/").func is not no_such_path:
        if request.method in ("GET", "HEAD"):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        detail = f"Not found. The path ends with a slash: {request.path}/"
    return JsonResponse({"detail": detail, "code": "not_found"}, status=404)
