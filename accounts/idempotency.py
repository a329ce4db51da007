"""Requests that are safe to repeat, because they carry a key.

The key is claimed by a row with a unique index, in the transaction that moves the money: both are
committed or neither is. A second request with the key waits at that index until the first one has
ended. The API takes the key from the `Idempotency-Key` header, with the semantics of
draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotencyKey
from accounts.permissions import acting_user
from almaFintech.errors import Refusal
from almaFintech.transactions import is_lock_timeout, retried

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY = r"[\x21-\x7e]{1,255}"


class MalformedKey(Refusal):
    code = "idempotency_key_malformed"
    default_message = f"{HEADER} must be 1 to 255 visible ASCII characters"


class KeyReused(Refusal):
    code = "idempotency_key_reused"
    default_message = f"This {HEADER} was used for another request"
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY


class KeyInFlight(Refusal):
    code = "idempotency_key_in_flight"
    default_message = f"A request with this {HEADER} is still being processed: repeat it later"
    status_code = status.HTTP_409_CONFLICT


class KeyTaken(Exception):
    """Another request has claimed the key, and the transaction of this one is to be rolled back."""

    def __init__(self, claim: IdempotencyKey) -> None:
        super().__init__()
        self.claim = claim

    def answer(self) -> IdempotencyKey:
        """The claim with the answer that was kept. To be asked for after the roll-back.

        Raises KeyReused or KeyInFlight.
        """
        claim = self.claim
        kept = IdempotencyKey.objects.filter(user=claim.user, key_digest=claim.key_digest).first()
        if kept is None:
            # It expired between the two statements.
            raise KeyInFlight
        if kept.fingerprint != claim.fingerprint:
            raise KeyReused
        return kept


def claimed(user: User, key: str, fingerprint: str) -> IdempotencyKey:
    """Claim `key` for a request of `user`, before the money moves and in its transaction.

    fingerprint: what was asked, see `fingerprint_of`.
    Raises KeyTaken or KeyInFlight.
    """
    claim = IdempotencyKey(
        user=user,
        key=key,
        key_digest=hashlib.sha256(key.encode()).hexdigest(),
        fingerprint=fingerprint,
    )
    try:
        claim.save(force_insert=True)
    except IntegrityError as error:
        raise KeyTaken(claim) from error
    except OperationalError as error:
        if is_lock_timeout(error):
            raise KeyInFlight from error
        raise
    return claim


def keep(claim: IdempotencyKey, status: int, body: Any) -> None:
    """Keep the answer to the request that claimed a key, in the same transaction."""
    claim.status = status
    claim.body = json.dumps(body)
    claim.save(update_fields=["status", "body"])


def fingerprint_of(method: str, path: str, data: Any) -> str:
    """SHA-256 of what was asked: method, path and the meaning of the body, not its spelling."""
    body = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256("\n".join([method, path, body]).encode()).hexdigest()


def once(request: Request, answer: Callable[[], Response]) -> Response:
    """Return the response of `answer`, called at most once for each key of a user.

    Without the header `answer` is just called. What it raises is raised, and leaves the key
    free. Raises MalformedKey, KeyReused or KeyInFlight.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return answer()
    if not re.fullmatch(KEY, key):
        raise MalformedKey
    user = acting_user(request)
    asked = fingerprint_of(request.method or "", request.path, request.data)

    @retried
    def first() -> Response:
        claim = claimed(user, key, asked)
        response = answer()
        keep(claim, response.status_code, response.data)
        return response

    try:
        return first()
    except KeyTaken as taken:
        kept = taken.answer()
    return Response(json.loads(kept.body), kept.status, headers={REPLAYED: "true"})
