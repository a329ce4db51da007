"""Conditional edits of an account: `ETag` and `If-Match` (RFC 9110, section 13.1.1).

A client that reads a balance, computes a new one and writes it would undo a transfer that was
booked in between. With `If-Match` it states which version of the account it has read.
"""

import re

from drf_spectacular.utils import OpenApiParameter
from rest_framework import status

from accounts.models import Account
from almaFintech.api.openapi import operation
from almaFintech.refusals import Refusal

# Weak tags never match here (RFC 9110, section 8.8.3.2), so they count as malformed.
CONDITION = re.compile(r'\*|"[^"]*"([ \t]*,[ \t]*"[^"]*")*')


class IfMatchMalformed(Refusal):
    default_code = "if_match_malformed"
    default_detail = 'If-Match must be an ETag as it was returned, with its quotes, such as "3"'


class PreconditionFailed(Refusal):
    default_code = "precondition_failed"
    default_detail = "The account has changed since it was read: read it again"
    status_code = status.HTTP_412_PRECONDITION_FAILED


# For the OpenAPI document: decorators of methods that take If-Match, and of those that return an
# ETag.
conditional = operation(
    parameters=[
        OpenApiParameter(
            "If-Match",
            {"type": "string", "pattern": r'^(\*|"[0-9]{1,19}")$'},
            OpenApiParameter.HEADER,
            description="The `ETag` that came with the account, in its quotes. The request is "
            'refused if the account has changed since. For example `"2"`.',
        )
    ],
    errors=(IfMatchMalformed, PreconditionFailed),
)
versioned = operation(
    headers={
        "ETag": {
            "description": "The version of the account, for `If-Match`; absent with `at`.",
            "schema": {"type": "string"},
            "example": '"2"',
        }
    }
)


def version_of(account: Account) -> str:
    """Return an account's entity tag: the number of its last entry, as each change adds one."""
    return f'"{account.last_seq}"'


def require_match(account: Account, condition: str | None) -> None:
    """Compare an If-Match header with the version of a locked account. Without a header all match.

    Raises IfMatchMalformed, or PreconditionFailed when the header names other versions.
    """
    if condition is None:
        return
    if not CONDITION.fullmatch(condition.strip(" \t")):
        raise IfMatchMalformed
    if {"*", version_of(account)}.isdisjoint(re.findall(r'\*|"[^"]*"', condition)):
        raise PreconditionFailed
