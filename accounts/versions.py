"""Edits that hold only for what was read: `ETag` and `If-Match` (RFC 9110, section 13.1.1).

A client that reads a balance, reckons, and writes the result would undo the transfer that landed
in between. With `If-Match` it says which state of the account it has read.
"""

from django.utils.http import parse_etags
from rest_framework import status

from accounts.models import Account
from almaFintech.errors import Refusal


class PreconditionFailed(Refusal):
    code = "precondition_failed"
    default_message = "The account has changed since it was read: read it again"
    status_code = status.HTTP_412_PRECONDITION_FAILED


def version_of(account: Account) -> str:
    """The entity tag of an account: every change of it has an entry, and each entry a number."""
    return f'"{account.last_seq}"'


def require_match(account: Account, condition: str | None) -> None:
    """Raise PreconditionFailed when an If-Match header names other versions of a locked account."""
    if condition is not None and {"*", version_of(account)}.isdisjoint(parse_etags(condition)):
        raise PreconditionFailed
