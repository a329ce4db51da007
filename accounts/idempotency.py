"""Requests that are safe to repeat, because they carry a key.

The key is claimed by a row with a unique index, in the transaction that moves the money: both are
committed or neither is. A second request with the key waits at that index until the first one has
ended. The API takes the key from the `Idempotency-Key` header, with the semantics of
draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import mixins, status
from rest_framework.fields import empty
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer, ValidationError

from accounts.models import IdempotencyKey
from almaFintech.api.openapi import operation
from almaFintech.api.people import acting_user
from almaFintech.db.failures import is_lock_timeout
from almaFintech.db.transactions import retried
from almaFintech.refusals import Refusal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY = r"[\x21-\x7e]{1,255}"
# The headers of an answer that are kept with it.
KEPT = ("Location", "ETag")


class MalformedKey(Refusal):
    default_code = "idempotency_key_malformed"
    default_detail = f"{HEADER} must be 1 to 255 visible ASCII characters"


class KeyReused(Refusal):
    default_code = "idempotency_key_reused"
    default_detail = f"This {HEADER} was used for another request"
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY


class KeyInFlight(Refusal):
    default_code = "idempotency_key_in_flight"
    default_detail = f"A request with this {HEADER} is still being processed: repeat it later"
    status_code = status.HTTP_409_CONFLICT


documented = operation(
    parameters=[
        OpenApiParameter(
            HEADER,
            {"type": "string", "pattern": f"^{KEY}$"},
            OpenApiParameter.HEADER,
            description="A new name for each request. A request that is repeated with its name is "
            "carried out once, and gets the same response each time. For example `rent-2026-05`.",
        )
    ],
    headers={
        REPLAYED: {
            "description": "Present when this is the response to an earlier request with the key.",
            "schema": {"type": "string", "enum": ["true"]},
            "example": "true",
        }
    },
    errors=(MalformedKey, KeyReused, KeyInFlight),
)


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


def keep(
    claim: IdempotencyKey, status: int, body: Any, headers: Mapping[str, str] | None = None
) -> None:
    """Keep the answer to the request that claimed a key, in the same transaction."""
    claim.status = status
    claim.body = json.dumps(body)
    claim.headers = dict(headers or {})
    claim.save(update_fields=["status", "body", "headers"])


def fingerprint_of(method: str, path: str, data: Any) -> str:
    """SHA-256 of what was asked: method, path, and what was understood of the body."""
    body = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256("\n".join([method, path, body]).encode()).hexdigest()


def understood(serializer: Serializer[Any]) -> Any:
    """The body of a request as its fields read it, before anything is looked up.

    5, 5.0, "5" and the field of a form are one number. A value that a field cannot read stands
    for itself, and what no field reads is left out. So is a password, of which no quick hash
    may be stored.
    """
    data = serializer.initial_data
    if not isinstance(data, Mapping):
        return data
    found = {}
    for name, field in serializer.fields.items():
        if field.read_only or field.style.get("input_type") == "password":
            continue
        sent = field.get_value(data)
        if sent is empty:
            continue
        try:
            found[name] = None if sent is None else field.to_internal_value(sent)
        except ValidationError:
            found[name] = sent
    return found


def once(
    request: Request, serializer: Serializer[Any], answer: Callable[[Request], Response]
) -> Response:
    """Return the response of `answer` to `request`, called at most once for each key of a user.

    serializer: one that has the body and that nobody has asked yet whether it is valid; it
    decides which requests are the same. What `answer` does is one transaction, with a key or
    without. What it raises is raised, and leaves the key free. Raises MalformedKey, KeyReused or
    KeyInFlight.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return retried(answer)(request)
    if not re.fullmatch(KEY, key):
        raise MalformedKey
    user = acting_user(request)
    asked = fingerprint_of(request.method or "", request.path, understood(serializer))

    @retried
    def first() -> Response:
        claim = claimed(user, key, asked)
        response = answer(request)
        headers = {name: response[name] for name in KEPT if name in response}
        keep(claim, response.status_code, response.data, headers)
        return response

    try:
        return first()
    except KeyTaken as taken:
        kept = taken.answer()
    headers = {**(kept.headers or {}), REPLAYED: "true"}
    return Response(json.loads(kept.body), kept.status, headers=headers)


class CreatedOnce(mixins.CreateModelMixin):
    """Creates at most one row for each key of a user, and answers where it is."""

    basename: str

    @documented
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        view: Any = self
        return once(request, view.get_serializer(data=request.data), super().create)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {"Location": reverse(f"{self.basename}-detail", args=[data["id"]])}
