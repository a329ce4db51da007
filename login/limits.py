"""How often a login may fail.

A failed login is counted for its address and for the user name that it tried, whether there is
such a user or not. Whoever knows a name could use up its count on purpose; so an address from
which the user has logged in before has a count of its own for that name, out of reach of others.
"""

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import BaseCache
from django.http import HttpRequest
from rest_framework.request import Request

from almaFintech.addresses import UNKNOWN, client_address
from almaFintech.rates import Count, Rate, TooMany, key_of, shared

# The login by password, at the API and at the admin alike, tries a username; the refresh a user
# id. They are counted apart: an app begins its day by trying the token of yesterday.
LOGIN = "login"
REFRESH = "refresh"

# For how long an address is remembered as one of the user's.
KNOWN_SECONDS = 30 * 24 * 60 * 60


class TooManyFailedLogins(TooMany):
    default_detail = "Too many failed logins."
    default_code = "too_many_failed_logins"


class Attempt:
    """One attempt to log in. Say what became of it: `failed()` or `succeeded()`.

    Each step raises TooManyFailedLogins when too many have failed. That `succeeded()` does so
    too makes the limit exact: of a thousand guesses at once, no more than the rate learn
    whether they were right.
    """

    def __init__(self, door: str, request: HttpRequest | Request | None) -> None:
        self.door = door
        # Code that logs in without a request has no address.
        self.address = client_address(request) if request else UNKNOWN
        self.counts: list[Count] = []
        self._limit(settings.LOGIN_RATE_PER_ADDRESS, "address", self.address)

    def by(self, name: str) -> None:
        """Tell whom the attempt is for; without that, only the address counts."""
        key = _known(self.door, name, self.address)
        is_known = shared(lambda cache: cache.get(key, False))
        self._limit(
            settings.LOGIN_RATE_PER_USERNAME, "name", name, self.address if is_known else ""
        )

    def failed(self) -> None:
        # All are counted, even when the first is full.
        self._refuse([count for count in self.counts if not count.add()])

    def succeeded(self, user: AbstractBaseUser) -> None:
        """Let the login pass, and remember the address as one of the user's."""
        self._refuse([count for count in self.counts if count.is_full()])
        keys = [
            _known(LOGIN, user.get_username(), self.address),
            _known(REFRESH, str(user.pk), self.address),
        ]

        def remember(cache: BaseCache) -> None:
            cache.set_many(dict.fromkeys(keys, True), timeout=KNOWN_SECONDS)

        shared(remember)

    def _limit(self, rate: str, *parts: str) -> None:
        limit = Rate.parse(rate)
        if limit:
            count = Count(limit, "failed", self.door, *parts)
            self._refuse([count] if count.is_full() else [])
            self.counts.append(count)

    def _refuse(self, full: list[Count]) -> None:
        if full:
            raise TooManyFailedLogins(max(count.wait() for count in full))


def _known(door: str, name: str, address: str) -> str:
    return key_of("known", door, name, address)
