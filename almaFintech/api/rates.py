"""Counting what may happen only so often, over all processes of the server.

A rate is written as in Django REST framework, "10/m": at most 10 in each minute of the clock.
The counts are in the cache `counters`. While Redis is away each process counts for itself.
"""

import hashlib
import logging
import re
import time
from collections.abc import Callable
from typing import NamedTuple, Self, TypeVar

from django.core.cache import BaseCache, caches
from redis.exceptions import RedisError
from rest_framework import status

from almaFintech.refusals import WalletError

T = TypeVar("T")
logger = logging.getLogger(__name__)

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Each by its letter, or as Django REST framework's own pages write it.
PERIODS = "(?P<s>s|secs?|seconds?)|(?P<m>m|mins?|minutes?)|(?P<h>h|hrs?|hours?)|(?P<d>d|days?)"
# For so long a Redis that failed is left alone, and that it failed is logged once.
PAUSE_SECONDS = 10


class TooMany(WalletError):
    """A refusal that ends by itself, `wait` seconds from now."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_detail = "Too many requests."
    default_code = "throttled"

    def __init__(self, wait: int) -> None:
        # A browser shows no Retry-After, so the text tells it too.
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


class Count:
    """How often something named by `parts` has happened in the window of time that runs now."""

    def __init__(self, rate: Rate, *parts: str) -> None:
        self.rate = rate
        self.parts = parts

    def add(self) -> bool:
        """Count one more, and tell whether it is still within the rate."""
        key = self._key()

        def add(cache: BaseCache) -> int:
            # Nothing expires between the two calls: the key is of no use after its window.
            cache.add(key, 0, timeout=2 * self.rate.seconds)
            return cache.incr(key)

        return shared(add) <= self.rate.most

    def is_full(self) -> bool:
        key = self._key()
        return shared(lambda cache: cache.get(key, 0)) >= self.rate.most

    def wait(self) -> int:
        """Seconds until the window ends, at least 1."""
        return self.rate.seconds - int(time.time()) % self.rate.seconds

    def _key(self) -> str:
        window = int(time.time()) // self.rate.seconds
        return key_of("count", str(self.rate.seconds), str(window), *self.parts)


def key_of(*parts: str) -> str:
    """A cache key of a fixed length, whatever clients have written into the parts."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


_redis_left_alone_until = 0.0


def shared(work: Callable[[BaseCache], T]) -> T:
    """Run `work` on the cache of all processes, or on that of this one while Redis is away."""
    global _redis_left_alone_until
    if time.monotonic() >= _redis_left_alone_until:
        try:
            return work(caches["counters"])
        except (RedisError, OSError) as error:
            # Without the pause, each request would wait for a Redis that hangs.
            _redis_left_alone_until = time.monotonic() + PAUSE_SECONDS
            logger.error("Redis is away, and each process counts for itself: %s", error)
    return work(caches["process"])
