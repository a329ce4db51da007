"""Permissions to act on accounts and transfers. The querysets decide which rows a user can see."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import Transfer
from almaFintech.refusals import Refusal


class ForeignOrigin(Refusal):
    """A transfer from an account that is not the user's; `index` is its place in the batch."""

    status_code = PermissionDenied.status_code
    default_code = PermissionDenied.default_code
    default_detail = "You can only send from your own accounts."


def require_own_origins(items: Iterable[Mapping[str, Any]], own: Container[int]) -> None:
    """Refuse the first transfer that is not from one of these accounts. Raises ForeignOrigin."""
    for index, item in enumerate(items):
        if item["origin_id"] not in own:
            raise ForeignOrigin(index=index)


class AccountPermissions(BasePermission):
    """All users may read, staff may write."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in SAFE_METHODS or request.user.is_staff


class TransferPermissions(BasePermission):
    """Staff may cancel any transfer, users those that one of their accounts received."""

    message = "Only the receiver can cancel a transfer."

    def has_object_permission(self, request: Request, view: APIView, transfer: Transfer) -> bool:
        if request.method != "DELETE" or request.user.is_staff:
            return True
        return transfer.received_by_own is not None
