"""Rate limits that all processes of the server share.

A rate is written as in Django REST framework, "10/m": at most 10 in each minute of the clock.
The counts are in the cache `counters`. While Redis is down, each process counts for itself.

DRF imports this module while it is itself being imported, so it must not import DRF's views.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from django.conf import settings
from django.core.cache import BaseCache, caches
from redis.exceptions import RedisError
from rest_framework import status
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from almaFintech.refusals import WalletError

if TYPE_CHECKING:
    from rest_framework.views import APIView

T = TypeVar("T")
logger = logging.getLogger(__name__)

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Each by its letter, or spelled out as in Django REST framework's documentation.
PERIODS = "(?P<s>s|secs?|seconds?)|(?P<m>m|mins?|minutes?)|(?P<h>h|hrs?|hours?)|(?P<d>d|days?)"
# The time after a failure during which Redis is not asked; the failure is logged once.
PAUSE_SECONDS = 10


class TooMany(WalletError):
    """A refusal that lasts `wait` seconds."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_detail = "Too many requests."
    default_code = "throttled"

    def __init__(self, wait: int) -> None:
        # A browser does not show Retry-After, so the message repeats it.
        super().__init__(f"{self.default_detail} Try again in {wait} seconds.")
        self.wait = wait


class Rate(NamedTuple):
    most: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read "10/m" or "10/min"; empty means no limit. Raises ValueError."""
        if not text:
            return None
        match = re.fullmatch(rf"([1-9][0-9]{{0,8}})/(?:{PERIODS})", text)
        if match is None:
            raise ValueError(
                f"{text!r} is not a rate such as 10/m (s, m, h, d, or sec, min, hour, day)"
            )
        return cls(int(match[1]), SECONDS[str(match.lastgroup)])


class FailoverCache:
    """The cache `counters`, shared by all processes, or this process's own while Redis is down.

    Attributes:
        until: the time.monotonic() until which Redis is not asked, after a failure.
    """

    def __init__(self) -> None:
        self.until = 0.0

    def increment(self, key: str, seconds: int) -> int:
        """Add 1 to a number that expires after `seconds`, and return the sum."""

        def add(cache: BaseCache) -> int:
            # The key cannot expire between the two calls: it lives longer than it is used.
            cache.add(key, 0, timeout=seconds)
            return cache.incr(key)

        return self._run(add)

    def get(self, key: str, default: Any) -> Any:
        return self._run(lambda cache: cache.get(key, default))

    def set_many(self, values: dict[str, Any], seconds: int) -> None:
        self._run(lambda cache: cache.set_many(values, timeout=seconds))

    def _run(self, work: Callable[[BaseCache], T]) -> T:
        if time.monotonic() >= self.until:
            try:
                return work(caches["counters"])
            except (RedisError, OSError) as error:
                # Without the pause, each request would wait for a Redis that hangs.
                self.until = time.monotonic() + PAUSE_SECONDS
                logger.error("Redis is down, and each process counts for itself: %s", error)
        return work(caches["process"])


counters = FailoverCache()


class Count:
    """A counter of the event named by `parts` in the current window of time."""

    def __init__(self, rate: Rate, *parts: str) -> None:
        self.rate = rate
        self.parts = parts

    def add(self) -> bool:
        """Count one more, and return whether it is still within the rate."""
        return counters.increment(self._key(), 2 * self.rate.seconds) <= self.rate.most

    def is_full(self) -> bool:
        return counters.get(self._key(), 0) >= self.rate.most

    def wait(self) -> int:
        """Return the seconds until the window ends, at least 1."""
        return self.rate.seconds - int(time.time()) % self.rate.seconds

    def _key(self) -> str:
        window = int(time.time()) // self.rate.seconds
        return key_of("count", str(self.rate.seconds), str(window), *self.parts)


def key_of(*parts: str) -> str:
    """Return a cache key of a fixed length, whatever clients have sent in the parts."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


class UserThrottle(BaseThrottle):
    """A limit of `USER_RATE` requests for one user; DRF's own throttle misses concurrent ones."""

    count: Count

    def allow_request(self, request: Request, view: "APIView") -> bool:
        rate = Rate.parse(settings.USER_RATE)
        if rate is None or not request.user.is_authenticated:
            return True
        self.count = Count(rate, "requests", str(request.user.pk))
        return self.count.add()

    def wait(self) -> float:
        return self.count.wait()
