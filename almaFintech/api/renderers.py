"""Choice of the format of a response, by `?format=` or `Accept`."""

from collections.abc import Iterable
from typing import Any

from rest_framework import negotiation
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

FORMAT = str(api_settings.URL_FORMAT_OVERRIDE)


class Negotiation(negotiation.DefaultContentNegotiation):
    """Content negotiation that refuses an unsupported `?format=`."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        # The base class treats an empty one as a missing one.
        if request.query_params.get(FORMAT) == "":
            self.filter_renderers(renderers, "")
        return super().select_renderer(request, renderers, format_suffix)

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> Any:
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            # The base class raises a 404, but the path exists.
            known = ", ".join(dict.fromkeys(str(renderer.format) for renderer in renderers))
            raise ValidationError({FORMAT: [f"Must be one of: {known}."]})
        return found
