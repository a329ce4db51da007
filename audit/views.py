"""Base classes of the views that record what staff changes."""

from typing import Any, cast

from django.db.models import Model
from rest_framework import status, viewsets
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from almaFintech.api.people import acting_user
from almaFintech.db.transactions import retried
from audit import trail


def reason_in(serializer: BaseSerializer[Any]) -> str:
    """Return the reason that the request gives, or ""."""
    return cast(str, serializer.validated_data.get("reason", ""))


class AuditedViewSet(GenericAPIView):
    """Records every edit, in the transaction that makes it."""

    def authorship(self) -> dict[str, Any]:
        """Return the arguments that pass the author to `save()` and `delete()` of a row."""
        return {}

    def locked_object(self, *, to_delete: bool = False) -> Any:
        """Return the row of the request as it is now, locked until the transaction ends."""
        row = self.get_object()
        if to_delete:
            [row] = trail.locked_to_delete([row])
            return row
        return trail.locked_row(row)

    @retried
    def update(
        self, request: Request, *args: Any, partial: bool = False, **kwargs: Any
    ) -> Response:
        row = self.locked_object()
        serializer = self.get_serializer(row, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        self.perform_update(serializer)
        return Response(serializer.data)

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        row, reason = cast(Model, serializer.instance), reason_in(serializer)
        with trail.changing(acting_user(self.request), row, reason=reason):
            serializer.save(**self.authorship())


class AuditedModelViewSet(AuditedViewSet, viewsets.ModelViewSet[Any]):
    """Records every creation and deletion as well."""

    @retried
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().create(request, *args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        row = serializer.save(**self.authorship())
        trail.created(acting_user(self.request), row, reason=reason_in(serializer))

    @retried
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.perform_destroy(self.locked_object(to_delete=True))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def perform_destroy(self, instance: Model) -> None:
        trail.deleted(acting_user(self.request), [instance])
        instance.delete(**self.authorship())
