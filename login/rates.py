"""Rate limits of failed logins, and of one user's logins.

A failed login is counted for its address and for the username that it tried, whether there is
such a user or not. Anyone who knows a username could use up its count on purpose; so an address
from which the user has logged in before has its own count for that name, which others cannot reach.
"""

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from rest_framework.request import Request

from almaFintech.api.rates import Count, Rate, TooMany, counters, key_of
from login.addresses import UNKNOWN, client_address, site_of

# The login by password, at the API and at the admin alike, tries a username; the refresh tries a
# user id. They are counted separately, because apps often start with an expired token.
LOGIN = "login"
REFRESH = "refresh"

# A whole IPv6 site may fail this many times as often as one of its networks.
SITE_TIMES = 4

# Time for which an address is remembered as one of the user's.
KNOWN_SECONDS = 30 * 24 * 60 * 60


class TooManyFailedLogins(TooMany):
    default_detail = "Too many failed logins."
    default_code = "too_many_failed_logins"


class TooManyLogins(TooMany):
    default_detail = "Too many logins."
    default_code = "too_many_logins"


class Attempt:
    """One attempt to log in. Report its result: `failed()` or `succeeded()`.

    Each step raises TooManyFailedLogins when too many have failed. Since `succeeded()` does so
    too, the limit is exact: of a thousand concurrent guesses, no more than the rate allows learn
    their result.

    Right passwords cost as much time as wrong ones, so they are counted as well: when a user has
    logged in too often, `by()` and `succeeded()` raise TooManyLogins.
    """

    def __init__(self, kind: str, request: HttpRequest | Request | None) -> None:
        self.kind = kind
        # Code that logs in without a request has no address.
        self.address = client_address(request) if request else UNKNOWN
        self.counts: list[Count] = []
        self.logins: Count | None = None
        self._limit(settings.LOGIN_RATE_PER_ADDRESS, "address", self.address)
        site = site_of(self.address)
        if site:
            self._limit(settings.LOGIN_RATE_PER_ADDRESS, "address", site, times=SITE_TIMES)

    def by(self, name: str) -> None:
        """Set the name that the attempt is for; without one, only the address is counted."""
        is_known = counters.get(_known(self.kind, name, self.address), False)
        self._limit(
            settings.LOGIN_RATE_PER_USERNAME, "name", name, self.address if is_known else ""
        )
        # A refresh costs no hash.
        rate = Rate.parse(settings.LOGIN_RATE_PER_USER) if self.kind == LOGIN else None
        if rate:
            self.logins = Count(rate, "logged in", name)
            if self.logins.is_full():
                raise TooManyLogins(self.logins.wait())

    def failed(self) -> None:
        # Each is counted, even when the first one is full.
        self._refuse([count for count in self.counts if not count.add()])

    def succeeded(self, user: AbstractBaseUser) -> None:
        """Count the login, and remember the address as one of the user's."""
        self._refuse([count for count in self.counts if count.is_full()])
        if self.logins and not self.logins.add():
            raise TooManyLogins(self.logins.wait())
        keys = [
            _known(LOGIN, user.get_username(), self.address),
            _known(REFRESH, str(user.pk), self.address),
        ]
        counters.set_many(dict.fromkeys(keys, True), KNOWN_SECONDS)

    def _limit(self, rate: str, *parts: str, times: int = 1) -> None:
        limit = Rate.parse(rate)
        if limit:
            limit = limit._replace(most=limit.most * times)
            count = Count(limit, "failed", self.kind, *parts)
            self._refuse([count] if count.is_full() else [])
            self.counts.append(count)

    def _refuse(self, full: list[Count]) -> None:
        if full:
            raise TooManyFailedLogins(max(count.wait() for count in full))


def _known(kind: str, name: str, address: str) -> str:
    return key_of("known", kind, name, address)
