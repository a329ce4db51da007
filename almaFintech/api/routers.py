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
    """A DefaultRouter with numeric ids, on which POST to a resource edits it as PUT does.

    The clients of the first almaFintech edit by POST.
    """

    # `/api/accounts.json` would be a second name for a path.
    include_format_suffixes = False
    routes = [
        route._replace(mapping={**route.mapping, "post": "update"})
        if isinstance(route, routers.Route) and route.name == "{basename}-detail"
        else route
        for route in routers.DefaultRouter.routes
    ]

    def get_lookup_regex(self, viewset: Any, lookup_prefix: str = "") -> str:
        # `int()` also reads signs and the digits of other scripts: more names for one resource.
        return f"(?P<{lookup_prefix}{viewset.lookup_field}>[0-9]+)"

    def get_api_root_view(self, api_urls: Any = None) -> Callable[..., Any]:
        collections = {prefix: f"{basename}-list" for prefix, _, basename in self.registry}
        return ApiRoot.as_view(api_root_dict={**collections, **OTHER_ENTRY_POINTS})
