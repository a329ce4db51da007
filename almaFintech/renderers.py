"""The API as pages for people, which is a convenience of development."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from rest_framework import negotiation, renderers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class BrowsableAPIRenderer(renderers.BrowsableAPIRenderer):
    """Pages on which bodies are written as JSON.

    A form with a field for each value would offer the accounts of a profile in a select box, for
    which it reads them all.
    """

    def render_form_for_serializer(self, serializer: Any) -> str:
        return ""


class Negotiation(negotiation.DefaultContentNegotiation):
    """Offers the pages while DEBUG is on."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        offered = [
            renderer
            for renderer in renderers
            if settings.DEBUG or not isinstance(renderer, BrowsableAPIRenderer)
        ]
        return super().select_renderer(request, offered, format_suffix)
