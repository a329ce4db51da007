"""What the views have in common by which staff changes something."""

from typing import Any, cast

from django.db.models import Model
from rest_framework import viewsets
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from almaFintech.api.people import acting_user
from almaFintech.db.transactions import retried
from audit import trail


def reason_in(serializer: BaseSerializer[Any]) -> str:
    """The reason that the request gives; "" without one, or where none can be given."""
    return cast(str, serializer.validated_data.get("reason", ""))


class AuditedViewSet(GenericAPIView):
    """Leaves a record of every edit, in the transaction that makes it."""

    def authorship(self) -> dict[str, Any]:
        """What the rows want to be told on `save()` and `delete()` of who does it."""
        return {}

    def find_object(self) -> Any:
        return super().get_object()

    def get_object(self) -> Any:
        """The row of the request; one that is to be changed is locked, and read under the lock."""
        row = self.find_object()
        if self.request.method in SAFE_METHODS:
            return row
        if self.request.method == "DELETE":
            [row] = trail.locked_to_delete([row])
            return row
        return trail.locked_row(row)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        # What is run again begins by reading the request and the row again.
        return retried(super().update)(request, *args, **kwargs)  # type: ignore[misc]

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        row, reason = cast(Model, serializer.instance), reason_in(serializer)
        with trail.changing(acting_user(self.request), row, reason=reason):
            serializer.save(**self.authorship())


class AuditedModelViewSet(AuditedViewSet, viewsets.ModelViewSet[Any]):
    """Leaves a record of every creation and deletion as well."""

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return retried(super().create)(request, *args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        row = serializer.save(**self.authorship())
        trail.created(acting_user(self.request), row, reason=reason_in(serializer))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return retried(super().destroy)(request, *args, **kwargs)

    def perform_destroy(self, instance: Model) -> None:
        trail.deleted(acting_user(self.request), [instance])
        instance.delete(**self.authorship())
