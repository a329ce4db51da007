"""Requests that are safe to repeat: the `Idempotency-Key` header.

The semantics are those of draft-ietf-httpapi-idempotency-key-header. The key is claimed by a row
with a unique index, in the transaction that moves the money: both are committed or neither is.
A second request with the key waits at that index until the first one has ended.
"""

import hashlib
import json
import re
from collections.abc import Callable

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


class _Taken(Exception):
    """Another request has claimed the key."""


def once(request: Request, answer: Callable[[], Response]) -> Response:
    """Return the response of `answer`, called at most once for each key of a user.

    Without the header `answer` is just called. What it raises is raised, and leaves the key
    free. Raises MalformedKey, KeyReused or KeyInFlight.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return answer()
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise MalformedKey
    claim = IdempotencyKey(
        user=acting_user(request),
        key=key,
        key_digest=hashlib.sha256(key.encode()).hexdigest(),
        fingerprint=_fingerprint(request),
    )
    try:
        return _claimed(claim, answer)
    except _Taken:
        return _replay(claim)


@retried
def _claimed(claim: IdempotencyKey, answer: Callable[[], Response]) -> Response:
    claim.pk = None
    try:
        claim.save(force_insert=True)
    except IntegrityError as error:
        raise _Taken from error
    except OperationalError as error:
        if is_lock_timeout(error):
            raise KeyInFlight from error
        raise
    response = answer()
    claim.status = response.status_code
    claim.body = json.dumps(response.data)
    claim.save(update_fields=["status", "body"])
    return response


def _replay(claim: IdempotencyKey) -> Response:
    stored = IdempotencyKey.objects.filter(user=claim.user, key_digest=claim.key_digest).first()
    if stored is None:
        # It expired between the two statements.
        raise KeyInFlight
    if stored.fingerprint != claim.fingerprint:
        raise KeyReused
    return Response(json.loads(stored.body), stored.status, headers={REPLAYED: "true"})


def _fingerprint(request: Request) -> str:
    """SHA-256 of what was asked: method, path and the meaning of the body, not its spelling."""
    body = json.dumps(request.data, sort_keys=True, default=str)
    asked = "\n".join([request.method or "", request.path, body])
    return hashlib.sha256(asked.encode()).hexdigest()
