"""How often a login may fail, and how often one user may log in.

A failed login is counted for its address and for the user name that it tried, whether there is
such a user or not. Whoever knows a name could use up its count on purpose; so an address from
which the user has logged in before has a count of its own for that name, out of reach of others.
"""

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import BaseCache
from django.http import HttpRequest
from rest_framework.request import Request

from almaFintech.api.rates import Count, Rate, TooMany, key_of, shared
from login.addresses import UNKNOWN, client_address, site_of

# The login by password, at the API and at the admin alike, tries a username; the refresh a user
# id. They are counted apart: an app begins its day by trying the token of yesterday.
LOGIN = "login"
REFRESH = "refresh"

# How many of its networks may fail as often as one may, before a whole site of IPv6 is refused.
SITE_TIMES = 4

# For how long an address is remembered as one of the user's.
KNOWN_SECONDS = 30 * 24 * 60 * 60


class TooManyFailedLogins(TooMany):
    default_detail = "Too many failed logins."
    default_code = "too_many_failed_logins"


class TooManyLogins(TooMany):
    default_detail = "Too many logins."
    default_code = "too_many_logins"


class Attempt:
    """One attempt to log in. Say what became of it: `failed()` or `succeeded()`.

    Each step raises TooManyFailedLogins when too many have failed. That `succeeded()` does so
    too makes the limit exact: of a thousand guesses at once, no more than the rate learn
    whether they were right.

    Right passwords cost as much time as wrong ones, so they are counted as well: when a user has
    logged in too often, `by()` and `succeeded()` raise TooManyLogins.
    """

    def __init__(self, door: str, request: HttpRequest | Request | None) -> None:
        self.door = door
        # Code that logs in without a request has no address.
        self.address = client_address(request) if request else UNKNOWN
        self.counts: list[Count] = []
        self.logins: Count | None = None
        self._limit(settings.LOGIN_RATE_PER_ADDRESS, "address", self.address)
        site = site_of(self.address)
        if site:
            self._limit(settings.LOGIN_RATE_PER_ADDRESS, "address", site, times=SITE_TIMES)

    def by(self, name: str) -> None:
        """Tell whom the attempt is for; without that, only the address counts."""
        key = _known(self.door, name, self.address)
        is_known = shared(lambda cache: cache.get(key, False))
        self._limit(
            settings.LOGIN_RATE_PER_USERNAME, "name", name, self.address if is_known else ""
        )
        # A refresh costs no hash.
        rate = Rate.parse(settings.LOGIN_RATE_PER_USER) if self.door == LOGIN else None
        if rate:
            self.logins = Count(rate, "logged in", name)
            if self.logins.is_full():
                raise TooManyLogins(self.logins.wait())

    def failed(self) -> None:
        # All are counted, even when the first is full.
        self._refuse([count for count in self.counts if not count.add()])

    def succeeded(self, user: AbstractBaseUser) -> None:
        """Let the login pass, and remember the address as one of the user's."""
        self._refuse([count for count in self.counts if count.is_full()])
        if self.logins and not self.logins.add():
            raise TooManyLogins(self.logins.wait())
        keys = [
            _known(LOGIN, user.get_username(), self.address),
            _known(REFRESH, str(user.pk), self.address),
        ]

        def remember(cache: BaseCache) -> None:
            cache.set_many(dict.fromkeys(keys, True), timeout=KNOWN_SECONDS)

        shared(remember)

    def _limit(self, rate: str, *parts: str, times: int = 1) -> None:
        limit = Rate.parse(rate)
        if limit:
            limit = limit._replace(most=limit.most * times)
            count = Count(limit, "failed", self.door, *parts)
            self._refuse([count] if count.is_full() else [])
            self.counts.append(count)

    def _refuse(self, full: list[Count]) -> None:
        if full:
            raise TooManyFailedLogins(max(count.wait() for count in full))


def _known(door: str, name: str, address: str) -> str:
    return key_of("known", door, name, address)
