"""Requests that are safe to repeat, because they carry a key.

A row with a unique index claims the key in the transaction that moves the money: both are committed
or neither is. A second request with the key waits at that index until the first one has ended. The
API reads the key from the `Idempotency-Key` header, with the semantics of
draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, wraps
from typing import Any, TypeAlias

from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import mixins, status
from rest_framework.fields import empty
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer, ValidationError
from rest_framework.utils.serializer_helpers import ReturnDict

from accounts.models import IdempotencyKey
from almaFintech.api.openapi import operation
from almaFintech.api.people import acting_user
from almaFintech.db.failures import is_lock_timeout, waited_for
from almaFintech.db.prepared import Prepared
from almaFintech.db.scripts import Rows, Script, columns
from almaFintech.db.transactions import retried
from almaFintech.refusals import Refusal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY = r"[\x21-\x7e]{1,255}"
RECORDED_HEADERS = ("Location", "ETag")

View: TypeAlias = GenericAPIView[Any]
ViewMethod: TypeAlias = Callable[..., Response]


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


# For the OpenAPI document.
documented = operation(
    parameters=[
        OpenApiParameter(
            HEADER,
            {"type": "string", "pattern": f"^{KEY}$"},
            OpenApiParameter.HEADER,
            description="A new key for each request. A request that is repeated with its key is "
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
    """Another request has claimed the key, and the transaction of this one must be rolled back."""

    def __init__(self, claim: IdempotencyKey) -> None:
        super().__init__()
        self.claim = claim

    def earlier(self) -> IdempotencyKey:
        """Return the earlier request with the key and its response, after the rollback.

        Raises KeyReused or KeyInFlight.
        """
        claim = self.claim
        earlier = IdempotencyKey.objects.filter(
            user=claim.user, key_digest=claim.key_digest
        ).first()
        if earlier is None:
            # It expired between the two statements.
            raise KeyInFlight
        if earlier.fingerprint != claim.fingerprint:
            raise KeyReused
        return earlier


def claim_of(user: User, key: str, fingerprint: str) -> IdempotencyKey:
    """Return the unsaved claim of `key` for a request of `user`; fingerprint: its digest."""
    return IdempotencyKey(
        user=user,
        key=key,
        key_digest=hashlib.sha256(key.encode()).hexdigest(),
        fingerprint=fingerprint,
    )


def claimed(user: User, key: str, fingerprint: str) -> IdempotencyKey:
    """Claim `key` for a request of `user`, before the money moves and in its transaction.

    fingerprint: digest of the request, see `fingerprint_of`.
    Raises KeyTaken or KeyInFlight.
    """
    claim = claim_of(user, key, fingerprint)
    try:
        claim.save(force_insert=True)
    except IntegrityError as error:
        raise KeyTaken(claim) from error
    except OperationalError as error:
        if is_lock_timeout(error):
            raise KeyInFlight from error
        raise
    return claim


def record_response(
    claim: IdempotencyKey, status: int, body: Any, headers: Mapping[str, str]
) -> None:
    """Record the response to the request that claimed a key, in the same transaction."""
    claim.status = status
    claim.body = json.dumps(body)
    claim.headers = recorded_headers(headers)
    claim.save(update_fields=["status", "body", "headers"])


def recorded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in RECORDED_HEADERS if name in headers}


# The statements of a group on PostgreSQL. A key that is taken is no error there, since an error
# would roll back the others. Two groups insert their common keys in the same order.
CLAIM = Prepared(
    "claim_keys",
    """
INSERT INTO accounts_idempotencykey (user_id, key, key_digest, fingerprint, body, created)
SELECT claim.*, '', now() FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])
    AS claim (user_id, key, key_digest, fingerprint)
ORDER BY user_id, key_digest
ON CONFLICT (user_id, key_digest) DO NOTHING RETURNING id, user_id, key_digest
""",
)
RECORD = Prepared(
    "record_responses",
    """
UPDATE accounts_idempotencykey AS claim
SET status = answer.status, body = answer.body, headers = answer.headers
FROM unnest(%s::bigint[], %s::smallint[], %s::text[], %s::jsonb[])
    AS answer (id, status, body, headers)
WHERE claim.id = answer.id
""",
)
RELEASE = Prepared(
    "release_keys", "DELETE FROM accounts_idempotencykey WHERE id = ANY (%s::bigint[])"
)


class Claims:
    """The claims of several requests, each key once, among the statements of a script.

    PostgreSQL only. The script runs twice: it claims the keys and locks what it needs, and then it
    writes, and records the responses.
    """

    def __init__(self, claims: Sequence[IdempotencyKey], script: Script) -> None:
        self._script = script
        self._made: Rows = []
        self._answers: list[tuple[Any, ...]] = []
        if claims:
            values = [
                (each.user_id, each.key, each.key_digest, each.fingerprint) for each in claims
            ]
            self._made = script.add(CLAIM, *columns(values, 4))

    @cached_property
    def _free(self) -> dict[tuple[int, str], int]:
        """The ids of the claims whose keys were free, once the script has run."""
        return {(user, digest): id for id, user, digest in self._made}

    @staticmethod
    @contextmanager
    def claimed() -> Iterator[None]:
        """Raise KeyInFlight when the first run waits too long for another request with a key."""
        try:
            yield
        except OperationalError as error:
            if waited_for(error, IdempotencyKey._meta.db_table):
                raise KeyInFlight from error
            raise

    def is_taken(self, claim: IdempotencyKey) -> bool:
        return (claim.user_id, claim.key_digest) not in self._free

    def answer(self, claim: IdempotencyKey, response: Response) -> None:
        """Record the response to the request that made a claim."""
        self._answers.append(
            (
                self._free.pop((claim.user_id, claim.key_digest)),
                response.status_code,
                json.dumps(response.data),
                json.dumps(recorded_headers(response.headers)),
            )
        )

    def close(self) -> None:
        """Add the responses to the script, and release the keys without one."""
        if self._answers:
            self._script.add(RECORD, *columns(self._answers, 4))
        if self._free:
            self._script.add(RELEASE, list(self._free.values()))


def key_of(request: Request) -> str | None:
    """Return the key that the client sent, if it sent one. Raises MalformedKey."""
    key = request.headers.get(HEADER)
    if key is not None and not re.fullmatch(KEY, key):
        raise MalformedKey
    return key


def fingerprint_of(method: str, path: str, data: Any) -> str:
    """Return the SHA-256 of a request: its method, its path, and its body as `understood`."""
    body = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256("\n".join([method, path, body]).encode()).hexdigest()


def understood(serializer: BaseSerializer[Any]) -> Any:
    """Return the body of a request as its fields read it, before anything is looked up.

    5, 5.0, "5" and the field of a form are one number. A value that its field cannot read is kept
    as it is. Values without a field are left out, and so are passwords, because no quick hash of
    them may be stored.
    """
    data = serializer.initial_data
    if not (isinstance(serializer, Serializer) and isinstance(data, Mapping)):
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


def understood_when_valid(serializer: BaseSerializer[Any]) -> Any:
    """Return what `understood` returns, for a body that is valid, without reading it again."""
    assert isinstance(serializer, Serializer)  # noqa: S101
    valid = serializer.validated_data
    return {
        name: valid[field.source]
        for name, field in serializer.fields.items()
        if field.source in valid and field.style.get("input_type") != "password"
    }


def idempotent(create: ViewMethod) -> ViewMethod:
    """Let a view method run at most once for each key of a user, and in one transaction.

    The view's serializer decides which requests are the same. An exception of the method leaves
    the key free. Raises MalformedKey, KeyReused or KeyInFlight.
    """
    create_in_transaction = retried(create)

    @retried
    def create_with_key(
        key: str, fingerprint: str, view: View, request: Request, *args: Any, **kwargs: Any
    ) -> Response:
        claim = claimed(acting_user(request), key, fingerprint)
        response = create(view, request, *args, **kwargs)
        record_response(claim, response.status_code, response.data, response.headers)
        return response

    @wraps(create)
    def create_or_replay(view: View, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = key_of(request)
        if key is None:
            return create_in_transaction(view, request, *args, **kwargs)
        asked = understood(view.get_serializer(data=request.data))
        fingerprint = fingerprint_of(request.method or "", request.path, asked)
        try:
            return create_with_key(key, fingerprint, view, request, *args, **kwargs)
        except KeyTaken as taken:
            return replay(taken.earlier())

    return documented(create_or_replay)


def replay(earlier: IdempotencyKey) -> Response:
    """Return the response to the earlier request with a key."""
    headers = {**(earlier.headers or {}), REPLAYED: "true"}
    return Response(json.loads(earlier.body), earlier.status, headers=headers)


class CreatedOnce(mixins.CreateModelMixin, GenericAPIView[Any]):
    """Creates at most one row for each key of a user, and returns its address."""

    basename: str

    @idempotent
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().create(request, *args, **kwargs)

    def get_success_headers(self, data: ReturnDict) -> dict[str, str]:
        return {"Location": reverse(f"{self.basename}-detail", args=[data["id"]])}
