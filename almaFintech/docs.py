"""The OpenAPI document, and the two pages that show it, with nothing from any other server."""

from functools import cache
from typing import Any

from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)
from rest_framework.request import Request
from rest_framework.response import Response


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document, made once: it does not depend on who asks."""
    return SchemaGenerator().get_schema(public=True)


class SchemaView(SpectacularAPIView):
    def _get_schema_response(self, request: Request) -> Response:
        return Response(document())


class SwaggerView(SpectacularSwaggerSplitView):
    template_name = "almaFintech/swagger.html"


class RedocView(SpectacularRedocView):
    template_name = "almaFintech/redoc.html"


docs = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", SwaggerView.as_view(), name="docs"),
    path("redoc/", RedocView.as_view(), name="redoc"),
]
