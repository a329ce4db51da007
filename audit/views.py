"""What the views have in common by which staff changes something."""

from typing import Any, cast

from django.db.models import Model
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from almaFintech.transactions import retried
from audit import trail


class AuditedViewSet(GenericAPIView):
    """Leaves a record of every creation, edit and deletion, in the transaction that makes it."""

    def authorship(self) -> dict[str, Any]:
        """What the rows want to be told on `save()` and `delete()` of who does it."""
        return {}

    @retried
    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        trail.created(self.request.user, serializer.save(**self.authorship()))

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        # An edit that is run again begins by reading the row again.
        return retried(super().update)(request, *args, **kwargs)  # type: ignore[misc]

    def perform_update(self, serializer: BaseSerializer[Any]) -> None:
        with trail.changing(self.request.user, cast(Model, serializer.instance)):
            serializer.save(**self.authorship())

    @retried
    def perform_destroy(self, instance: Model) -> None:
        trail.deleted(self.request.user, [instance])
        instance.delete(**self.authorship())
