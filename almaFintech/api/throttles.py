"""How often a user may call the API.

DRF imports this module while it is itself being imported: it may not need DRF's views.
"""

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from almaFintech.api.rates import Count, Rate

if TYPE_CHECKING:
    from rest_framework.views import APIView


class UserThrottle(BaseThrottle):
    """At most `USER_RATE` requests of one user; DRF's own throttle loses some of those at once."""

    count: Count

    def allow_request(self, request: Request, view: "APIView") -> bool:
        rate = Rate.parse(settings.USER_RATE)
        if rate is None or not request.user.is_authenticated:
            return True
        self.count = Count(rate, "requests", str(request.user.pk))
        return self.count.add()

    def wait(self) -> float:
        return self.count.wait()
