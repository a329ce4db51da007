"""Signed chains of rows, which nobody without the key can change unnoticed.

Each row has a digest of its content, and the row that owns the chain has a seal:

    digest = HMAC(key, "link" + the seal before + the content)
    seal   = HMAC(key, "seal" + digest)

HMAC is that of RFC 2104 with SHA-256, and both are 32 bytes. The seal before the first row is 32
zeros; in the chain of all records it is the signed count 0. An attacker who can write to the
database but lacks the key can compute neither. The seals of earlier rows are stored nowhere, so
this attacker cannot remove the last rows either, except with a copy of the database from that time;
`verify_ledger --heads` covers that case.

The key is `LEDGER_KEY`, which is not in the database. `LEDGER_KEY_FALLBACKS` has earlier keys, the
latest first, so that their signatures still verify. A chain never goes back to an earlier key.
"""

import hashlib
import hmac
from functools import lru_cache

from django.conf import settings

GENESIS = bytes(32)


class Key:
    """One secret, ready to sign with."""

    def __init__(self, secret: str) -> None:
        # Copying a keyed state takes less than half the time of creating one.
        self._state = hmac.new(secret.encode(), digestmod=hashlib.sha256)

    def link(self, seal: bytes, content: bytes) -> bytes:
        """Return the digest of a row with this content, after the row with this seal."""
        return self._sign(b"link" + seal + content)

    def seal(self, digest: bytes) -> bytes:
        """Return the seal of the row that has this digest."""
        return self._sign(b"seal" + digest)

    def count(self, name: str, number: int) -> bytes:
        """Return the seal of a number, such as the number of accounts ever opened."""
        return self._sign(f"count {name} {number}".encode())

    def _sign(self, message: bytes) -> bytes:
        state = self._state.copy()
        state.update(message)
        return state.digest()


def keys() -> tuple[Key, ...]:
    """Return the current key, and then the earlier ones."""
    return _keys(settings.LEDGER_KEY, *settings.LEDGER_KEY_FALLBACKS)


@lru_cache(maxsize=8)
def _keys(*secrets: str) -> tuple[Key, ...]:
    return tuple(map(Key, secrets))


def append(seal: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Return the digest and the seal of a row that follows the row with this seal."""
    key = keys()[0]
    digest = key.link(seal, content)
    return digest, key.seal(digest)


def is_count(seal: bytes, name: str, number: int) -> bool:
    """Return whether this is the seal of a number, made with the current key or an earlier one."""
    return any(key.count(name, number) == seal for key in keys())


class Follower:
    """A reader that verifies a chain from its first row on, across changes of the key.

    name: the name of the count whose seal for 0 begins the chain, see `Key.count`; without a name,
        the chain begins with zeros.
    """

    def __init__(self, name: str = "") -> None:
        self._keys = keys()
        # The keys that may have signed the last row read, each with its seal of that row.
        self._seals = [
            (index, key.count(name, 0) if name else GENESIS) for index, key in enumerate(self._keys)
        ]

    def accepts(self, content: bytes, digest: bytes) -> bool:
        """Read the next row, and return whether its digest follows from the rows before it.

        Reading goes on from the stored digest, so one changed row is refused only once.
        """
        index = self._signer(content, digest)
        if index is not None:
            self._seals = [(index, self._keys[index].seal(digest))]
            return True
        oldest = max(signed for signed, _ in self._seals)
        self._seals = [(index, self._keys[index].seal(digest)) for index in range(oldest + 1)]
        return False

    def would_accept(self, content: bytes, digest: bytes) -> bool:
        """Return what `accepts` would return, without reading the row."""
        return self._signer(content, digest) is not None

    def _signer(self, content: bytes, digest: bytes) -> int | None:
        """Find the key that made the digest: the key of the row before, or a later one."""
        for signed, seal in self._seals:
            for index in range(signed, -1, -1):
                if self._keys[index].link(seal, content) == digest:
                    return index
        return None

    def ends_in(self, seal: bytes) -> bool:
        """Return whether this is the seal of the last row read."""
        return any(known == seal for _, known in self._seals)
