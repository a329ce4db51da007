"""The router of the API."""

from collections.abc import Callable
from typing import Any

from rest_framework import routers

from almaFintech.api.views import ApiRoot

OTHER_ENTRY_POINTS = {
    "password": "own-password",
    **{name: name for name in ("me", "login", "refresh", "logout", "schema", "docs", "redoc")},
}


class Router(routers.DefaultRouter):
    """A DefaultRouter on which POST to a resource edits it, as PUT does, and ids are digits.

    The clients of the first almaFintech edit by POST.
    """

    APIRootView = ApiRoot
    # Every path has its trailing slash; `/api/accounts.json` would be a second name for one.
    include_format_suffixes = False
    routes = [
        route._replace(mapping={**route.mapping, "post": "update"})
        if isinstance(route, routers.Route) and route.name == "{basename}-detail"
        else route
        for route in routers.DefaultRouter.routes
    ]

    def get_lookup_regex(self, viewset: Any, lookup_prefix: str = "") -> str:
        # What `int()` takes besides, such as a sign or the digits of other scripts, would be more
        # names for one resource.
        return f"(?P<{lookup_prefix}{viewset.lookup_field}>[0-9]+)"

    def get_api_root_view(self, api_urls: Any = None) -> Callable[..., Any]:
        view: Any = super().get_api_root_view(api_urls)
        # The entry points that are no collections.
        view.initkwargs["api_root_dict"] |= OTHER_ENTRY_POINTS
        return view
