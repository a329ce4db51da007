"""The endpoints of accounts and transfers. Their docstrings are the API's documentation."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ValidationError
from rest_framework.utils.serializer_helpers import ReturnDict

from accounts import ledger
from accounts.etags import require_match, version_of
from accounts.fields import WholeNumberField
from accounts.idempotency import CreatedOnce, idempotent
from accounts.models import Account, AccountQuerySet, Entry, Transfer
from accounts.permissions import (
    AccountPermissions,
    ForeignOrigin,
    TransferPermissions,
)
from accounts.queries import AccountAtQuery, AccountQuery, StatementQuery, TransferQuery
from accounts.rates import limited_refusals
from accounts.rules import LedgerRefusal
from accounts.schema import document_accounts, document_transfers
from accounts.serializers import (
    AccountSerializer,
    BatchMalformed,
    BatchSerializer,
    TransferSerializer,
)
from accounts.statements import CSVRenderer, Statement
from almaFintech.api.pagination import KeysetPagination
from almaFintech.api.people import acting_user
from almaFintech.api.queries import ListQuery, QueryMixin
from almaFintech.db.transactions import retried
from audit import trail
from audit.views import AuditedModelViewSet


def closed_account(id: str) -> Account | None:
    """The account that the entries with this number are of; None if there are none."""
    try:
        number = WholeNumberField().run_validation(id)
    except ValidationError:
        # Beyond the column, which not every database compares with such a number.
        return None
    last = Entry.objects.filter(account=number).latest_state()
    if last is None:
        return None
    return Account(pk=number, currency=last.currency, last_date=last.date)


def etag_of(data: ReturnDict) -> str:
    """Return the version of the account that was serialized as `data`."""
    account = data.serializer.instance
    assert isinstance(account, Account)  # noqa: S101
    return version_of(account)


@document_accounts
class AccountViewSet(QueryMixin, CreatedOnce, AuditedModelViewSet):
    """Accounts: staff sees and edits all, a user sees those in the own profile.

    `balance` is in micro units of `currency`. With `If-Match`, an edit or a deletion is refused
    when anything has happened on the account since the `ETag` was read.
    """

    queries = {
        "list": AccountQuery,
        "retrieve": AccountAtQuery,
        "transfers": TransferQuery,
        "statement": StatementQuery,
        "biggest": ListQuery,
    }

    serializer_class = AccountSerializer
    lookup_field = "id"
    permission_classes = (IsAuthenticated, AccountPermissions)

    def get_queryset(self) -> AccountQuerySet:
        return Account.objects.visible_to(self.request.user)

    def locked_object(self, *, to_delete: bool = False) -> Account:
        account: Account = super().locked_object(to_delete=to_delete)
        require_match(account, self.request.headers.get("If-Match"))
        return account

    def get_account_or_history(self) -> Account:
        """The account; for staff also one that was closed, as its entries remember it."""
        try:
            return self.get_object()
        except Http404:
            closed = closed_account(self.kwargs["id"]) if self.request.user.is_staff else None
            if closed is None:
                raise
            return closed

    def get_success_headers(self, data: ReturnDict) -> dict[str, str]:
        return super().get_success_headers(data) | {"ETag": etag_of(data)}

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response = super().update(request, *args, **kwargs)
        response["ETag"] = etag_of(response.data)
        return response

    def authorship(self) -> dict[str, Any]:
        return {"by": acting_user(self.request)}

    @action(detail=True, serializer_class=TransferSerializer)
    def transfers(self, request: Request, id: str) -> Response:
        """The transfers from and to this account, newest first."""
        account = self.get_object()
        transfers = self.query.narrow(Transfer.objects.all())
        return self.paginated(transfers.touching([account.pk]))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One account; with `?at=`, an ISO 8601 moment, the balance that it had then.

        With `?at=` staff reads closed accounts, too.
        """
        at = self.query.validated_data.get("at")
        account = self.get_account_or_history() if at else self.get_object()
        data = self.get_serializer(account).data
        if not at:
            return Response(data, headers={"ETag": etag_of(data)})
        state = Entry.objects.filter(account=account.pk, date__lte=at).latest_state()
        # Before its opening there was nothing, in whatever currency.
        then = {"currency": state.currency, "balance": state.balance_after} if state else {}
        return Response({**data, "balance": 0, **then, "at": at})

    @action(detail=True, renderer_classes=(JSONRenderer, CSVRenderer))
    def statement(self, request: Request, id: str) -> HttpResponseBase:
        """The entries of an account from `?from=` (included) to `?to=` (not), oldest first.

        Both are ISO 8601 moments; a date alone is its midnight in UTC. The balances are those
        of the whole period, whatever the page. As CSV (`?format=csv` or `Accept: text/csv`)
        the entries come in one stream, with a line of totals. Staff reads the statements of
        closed accounts, too.
        """
        asked = self.query.validated_data
        account = self.get_account_or_history()
        statement = Statement.of(account, asked.get("from"), asked.get("to"))
        if request.accepted_renderer.format == "csv":
            name = f"statement-{statement.account.pk}.csv"
            return StreamingHttpResponse(
                statement.csv(),
                content_type="text/csv; charset=utf-8",
                headers={"Content-Disposition": f'attachment; filename="{name}"'},
            )
        # The next page is of the same period, and not until a later now.
        paginator = KeysetPagination(to=statement.end.isoformat())
        page = paginator.paginate_queryset(statement.entries().lines(), request, view=self)
        return paginator.get_paginated_response(statement.json(page))

    @action(detail=False)
    def biggest(self, request: Request) -> Response:
        """The account with the highest balance of each currency; all of them on a tie."""
        return self.paginated(self.get_queryset().biggest())

    def paginated(self, rows: QuerySet[Any]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


@document_transfers
class TransferViewSet(
    QueryMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Transfer],
):
    """Transfers: staff sees all, a user those from or to an account in the own profile.

    POST moves `balance` micro units from `origin` to `destination`; DELETE gives them back and
    keeps the transfer, marked as cancelled. With an `Idempotency-Key` a POST may be repeated: it
    is carried out once, and answered alike each time.
    """

    serializer_class = TransferSerializer
    lookup_field = "id"
    queries = {"list": TransferQuery}
    permission_classes = (IsAuthenticated, TransferPermissions)

    def get_queryset(self) -> QuerySet[Transfer]:
        return Transfer.objects.visible_to(self.request.user)

    @idempotent
    def create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = acting_user(request)
        self.require_own_origins([serializer.validated_data])
        with limited_refusals(user):
            transfer = serializer.save(created_by=user)
        trail.booked(user, [transfer])
        address = reverse("transfer-detail", args=[transfer.pk])
        return Response(serializer.data, status.HTTP_201_CREATED, headers={"Location": address})

    @retried
    def destroy(self, request: Request, id: str) -> Response:
        user = acting_user(request)
        transfer = self.get_object()
        transfer.delete(by=user)
        trail.cancelled(user, [transfer])
        return Response(status=status.HTTP_204_NO_CONTENT)

    @idempotent
    @action(methods=["post"], detail=False, serializer_class=BatchSerializer, pagination_class=None)
    def batch(self, request: Request) -> Response:
        """Book up to 1000 transfers in the order given, all or none.

        An earlier one may fund a later one. A refusal names the `index`, counted from 0, of the
        first transfer that was refused.
        """
        serializer = self.get_serializer(data=request.data)
        if not serializer.is_valid():
            raise BatchMalformed.of(serializer.errors)
        items = serializer.validated_data["transfers"]
        user = acting_user(request)
        try:
            self.require_own_origins(items)
            with limited_refusals(user):
                transfers = ledger.post(Transfer(**item, created_by=user) for item in items)
        except (ForeignOrigin, LedgerRefusal) as refusal:
            raise refusal.of_item() from refusal
        trail.booked(user, transfers)
        return Response(
            TransferSerializer(transfers, many=True).data, status=status.HTTP_201_CREATED
        )

    def require_own_origins(self, items: Sequence[dict[str, Any]]) -> None:
        """Refuse the first transfer from an account that is not the user's or does not exist."""
        if self.request.user.is_staff:
            return
        origins = {item["origin_id"] for item in items}
        visible = Account.objects.visible_to(self.request.user)
        own = set(visible.filter(pk__in=origins).values_list("pk", flat=True))
        for index, item in enumerate(items):
            if item["origin_id"] not in own:
                raise ForeignOrigin(index=index)
