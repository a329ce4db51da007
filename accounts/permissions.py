"""Who may act on accounts and transfers. What one may see is the querysets' matter."""

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import Account, Transfer
from almaFintech.refusals import Refusal


class ForeignOrigin(Refusal):
    """A transfer from an account that is not the user's; `index` is its place in the batch."""

    status_code = PermissionDenied.status_code
    default_code = PermissionDenied.default_code
    default_detail = "You can only send from your own accounts."


class AccountPermissions(BasePermission):
    """Everybody reads; staff writes."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in SAFE_METHODS or request.user.is_staff


class TransferPermissions(BasePermission):
    """Staff gives any transfer back; a user those that one of the user's accounts received."""

    message = "Only the receiver can give a transfer back."

    def has_object_permission(self, request: Request, view: APIView, transfer: Transfer) -> bool:
        if request.method != "DELETE" or request.user.is_staff:
            return True
        own = Account.objects.visible_to(request.user)
        return own.filter(in_transfers=transfer).exists()
