"""The API as pages for people, which is a convenience of development."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from rest_framework import negotiation, renderers
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

FORMAT = str(api_settings.URL_FORMAT_OVERRIDE)


class BrowsableAPIRenderer(renderers.BrowsableAPIRenderer):
    """Pages on which bodies are written as JSON.

    A form with a field for each value would offer the accounts of a profile in a select box, for
    which it reads them all.
    """

    def render_form_for_serializer(self, serializer: Any) -> str:
        return ""


class Negotiation(negotiation.DefaultContentNegotiation):
    """Offers the pages while DEBUG is on, and refuses a `?format=` that is not offered."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        offered = [
            renderer
            for renderer in renderers
            if settings.DEBUG or not isinstance(renderer, BrowsableAPIRenderer)
        ]
        # The base class takes an empty one for none.
        if request.query_params.get(FORMAT) == "":
            self.filter_renderers(offered, "")
        return super().select_renderer(request, offered, format_suffix)

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> Any:
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            # A path that has no such form is there nevertheless, so this is no 404.
            known = ", ".join(dict.fromkeys(str(renderer.format) for renderer in renderers))
            raise ValidationError({FORMAT: [f"One of these is required: {known}."]})
        return found
