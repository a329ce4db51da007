"""The OpenAPI document and its two pages, which load nothing from other servers."""

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

from almaFintech.api.views import JsonErrors


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document; it is the same for all users, so it is built only once."""
    return SchemaGenerator().get_schema(public=True)


class SchemaView(JsonErrors, SpectacularAPIView):
    def _get_schema_response(self, request: Request) -> Response:
        return Response(document())


class SwaggerView(JsonErrors, SpectacularSwaggerSplitView):
    template_name = "almaFintech/swagger.html"


class RedocView(JsonErrors, SpectacularRedocView):
    template_name = "almaFintech/redoc.html"


docs = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", SwaggerView.as_view(), name="docs"),
    path("redoc/", RedocView.as_view(), name="redoc"),
]
