"""The endpoints of accounts and transfers. Their docstrings are the API's documentation."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, ValidationError
from rest_framework.utils.serializer_helpers import ReturnDict

from accounts import bookings, ledger, postgresql, rules
from accounts.bookings import Booking
from accounts.etags import conditional, require_match, version_of, versioned
from accounts.fields import WholeNumberField
from accounts.idempotency import (
    CreatedOnce,
    claim_of,
    documented,
    fingerprint_of,
    idempotent,
    key_of,
    understood_when_valid,
)
from accounts.models import Account, AccountQuerySet, Entry, Transfer
from accounts.permissions import (
    AccountPermissions,
    ForeignOrigin,
    TransferPermissions,
    require_own_origins,
)
from accounts.queries import AccountAtQuery, AccountQuery, StatementQuery, TransferQuery
from accounts.rates import TooManyRefused, limited_refusals
from accounts.schema import CSV, AccountAtSerializer, StatementSerializer
from accounts.serializers import (
    ACCOUNT_COLUMNS,
    TRANSFER_COLUMNS,
    AccountSerializer,
    BatchMalformed,
    BatchSerializer,
    TransferSerializer,
    transfer_json,
)
from accounts.statements import CSVRenderer, Statement
from almaFintech.api.openapi import JSON, operation
from almaFintech.api.pagination import KeysetPagination
from almaFintech.api.people import acting_user
from almaFintech.api.queries import ListQuery, QueryMixin
from almaFintech.api.renderers import JSONRenderer
from almaFintech.api.views import JsonErrors
from almaFintech.db.compiled import compiled
from almaFintech.db.transactions import retried
from audit import trail
from audit.views import AuditedModelViewSet

ERRORS_OF_EDITS = (rules.CurrencyFixed, rules.AccountAhead)
ERRORS_OF_BOOKINGS = (
    rules.AccountMissing,
    rules.SameAccount,
    rules.CurrencyMismatch,
    rules.InsufficientFunds,
    rules.BalanceOverflow,
    rules.AccountAhead,
    ForeignOrigin,
)


# An example of a malformed batch.
NO_ORIGIN = BatchMalformed.of({"transfers": {0: {"origin": ["This field is required."]}}})


def closed_account(id: str) -> Account | None:
    """Return a closed account as its entries describe it, or None if no entries have this id."""
    try:
        number = WholeNumberField().run_validation(id)
    except ValidationError:
        # Not every database compares a column with a number that does not fit into it.
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


@compiled
def any_account(id: int) -> QuerySet[Account]:
    return Account.objects.visible_to(User(is_staff=True)).filter(pk=id)


@compiled
def account_of(user: int, id: int) -> QuerySet[Account]:
    return Account.objects.visible_to(User(pk=user)).filter(pk=id)


@compiled
def any_transfer(id: int) -> QuerySet[Transfer]:
    return Transfer.objects.visible_to(User(is_staff=True)).filter(pk=id)


@compiled
def transfer_of(user: int, id: int) -> QuerySet[Transfer]:
    return Transfer.objects.visible_to(User(pk=user)).filter(pk=id)


@retried
def cancel(transfer: Transfer, user: User) -> None:
    transfer.delete(by=user)
    trail.cancelled(user, [transfer])


class QuickReads(GenericAPIView[Any]):
    """Reads of single rows by compiled queries, and of pages without model instances.

    Attributes:
        any_row: looks up any row by its id.
        row_of: looks up a row that a user may see, by the ids of the user and the row.
        columns: the columns of a row in a list.
    """

    basename: str
    any_row: Callable[[int], Sequence[Any]]
    row_of: Callable[[int, int], Sequence[Any]]
    columns: Sequence[str]

    def get_object(self) -> Any:
        user = acting_user(self.request)
        try:
            id = int(self.kwargs["id"])
        except ValueError as error:
            # It has more digits than Python converts.
            raise Http404 from error
        found = self.any_row(id) if user.is_staff else self.row_of(user.pk, id)
        if not found:
            raise Http404(f"No {self.basename.title()} matches the given query.")
        [row] = found
        self.check_object_permissions(self.request, row)
        return row

    def list(self, request: Request) -> Response:
        return self.paginated(self.filter_queryset(self.get_queryset()), self.columns)

    def paginated(self, rows: QuerySet[Any], columns: Sequence[str]) -> Response:
        return self.get_paginated_response(self.paginate_queryset(rows.values(*columns)))


@extend_schema_view(
    list=operation(
        summary="List accounts",
        description="The accounts that this user may see: for staff all, for others those of "
        "their profile. Ordered by id unless `ordering` is sent.",
    ),
    create=operation(
        summary="Open an account",
        description="Open an account, with the `balance` if one is sent. With an `Idempotency-Key` "
        "the request may be repeated: one account is opened.",
    ),
    partial_update=operation(
        summary="Edit some fields of an account",
        description="Edit the fields that are sent. With `If-Match` the edit is "
        "refused if the account has changed since it was read.",
        errors=ERRORS_OF_EDITS,
    ),
    destroy=operation(
        summary="Close an account",
        description="Close an account. Its transfers and entries stay, and staff can still read "
        "its statement. With `If-Match` this is refused if the account has changed since it was "
        "read.",
        errors=[rules.AccountAhead],
    ),
)
@extend_schema_view(create=versioned, partial_update=versioned)
@extend_schema_view(partial_update=conditional, destroy=conditional)
class AccountViewSet(JsonErrors, QueryMixin, QuickReads, CreatedOnce, AuditedModelViewSet):
    """Accounts: staff can see and edit all, users see those in their profile."""

    queries = {
        "list": AccountQuery,
        "retrieve": AccountAtQuery,
        "transfers": TransferQuery,
        "statement": StatementQuery,
        "biggest": ListQuery,
    }

    serializer_class = AccountSerializer
    any_row, row_of = staticmethod(any_account), staticmethod(account_of)
    columns = ACCOUNT_COLUMNS
    lookup_field = "id"
    permission_classes = (IsAuthenticated, AccountPermissions)

    def get_queryset(self) -> AccountQuerySet:
        return Account.objects.visible_to(self.request.user)

    def locked_object(self, *, to_delete: bool = False) -> Account:
        account: Account = super().locked_object(to_delete=to_delete)
        require_match(account, self.request.headers.get("If-Match"))
        return account

    def get_account_or_history(self) -> Account:
        """Return the account; for staff also a closed one, as its entries describe it."""
        try:
            return self.get_object()
        except Http404:
            closed = closed_account(self.kwargs["id"]) if self.request.user.is_staff else None
            if closed is None:
                raise
            return closed

    def get_success_headers(self, data: ReturnDict) -> dict[str, str]:
        return super().get_success_headers(data) | {"ETag": etag_of(data)}

    @operation(errors=ERRORS_OF_EDITS)
    @conditional
    @versioned
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Edit an account.

        An omitted `balance` stays as it is; `currency` is fixed once the account has transfers.
        With `If-Match` the edit is refused if the account has changed since it was read.
        """
        response = super().update(request, *args, **kwargs)
        response["ETag"] = etag_of(response.data)
        return response

    def authorship(self) -> dict[str, Any]:
        return {"by": acting_user(self.request)}

    @operation("listAccountTransfers", responses=TransferSerializer(many=True))
    @action(detail=True, serializer_class=TransferSerializer)
    def transfers(self, request: Request, id: str) -> Response:
        """List the transfers of an account.

        The transfers from and to this account, newest first.
        """
        account = self.get_object()
        transfers = self.query.narrow(Transfer.objects.touching([account.pk]))
        return self.paginated(transfers, TRANSFER_COLUMNS)

    @versioned
    @operation(responses=AccountAtSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Get an account.

        One account; with `?at=`, an ISO 8601 moment, the balance that it had then. With `?at=`
        staff can read closed accounts, too.
        """
        at = self.query.validated_data.get("at")
        account = self.get_account_or_history() if at else self.get_object()
        data = self.get_serializer(account).data
        if not at:
            return Response(data, headers={"ETag": etag_of(data)})
        state = Entry.objects.filter(account=account.pk, date__lte=at).latest_state()
        # Before its opening the balance was 0, in any currency.
        then = {"currency": state.currency, "balance": state.balance_after} if state else {}
        return Response({**data, "balance": 0, **then, "at": at})

    @operation(
        "getAccountStatement",
        responses={
            (200, JSON): StatementSerializer,
            (200, "text/csv"): OpenApiResponse(
                str, examples=[OpenApiExample("A month as CSV", CSV, media_type="text/csv")]
            ),
        },
    )
    @action(detail=True, renderer_classes=(JSONRenderer, CSVRenderer))
    def statement(self, request: Request, id: str) -> HttpResponseBase:
        """Get the statement of an account.

        The entries of an account from `?from=` (inclusive) to `?to=` (exclusive), oldest first.
        Both are ISO 8601 moments; a date alone means midnight UTC. The balances are those of the
        whole period on every page. As CSV (`?format=csv` or `Accept: text/csv`) the entries
        come in one stream, with a line of totals. Staff can read the statements of closed
        accounts, too.
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
        # Without `to` the period ends now; without this, the next page would end later.
        paginator = KeysetPagination(to=statement.end.isoformat())
        page = paginator.paginate_queryset(statement.entries().lines(), request, view=self)
        return paginator.get_paginated_response(statement.json(page))

    @operation("listBiggestAccounts", responses=AccountSerializer(many=True))
    @action(detail=False)
    def biggest(self, request: Request) -> Response:
        """List the biggest account of each currency.

        The account with the highest balance of each currency; several on a tie.
        """
        return self.paginated(self.get_queryset().biggest(), self.columns)


@extend_schema_view(
    list=operation(
        summary="List transfers",
        description="The transfers that this user may see, newest first: for staff all, for "
        "others those from or to an account of their profile. With `ordering=date` the list is "
        "oldest first, and ends where an earlier transfer may still appear: read its last page "
        "again to continue.",
    ),
    retrieve=operation(summary="Get a transfer", description="One transfer."),
)
class TransferViewSet(
    QueryMixin,
    QuickReads,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Transfer],
):
    """Transfers: staff see all, users those from or to an account in their profile."""

    serializer_class = TransferSerializer
    any_row, row_of = staticmethod(any_transfer), staticmethod(transfer_of)
    columns = TRANSFER_COLUMNS
    lookup_field = "id"
    queries = {"list": TransferQuery}
    permission_classes = (IsAuthenticated, TransferPermissions)

    def get_queryset(self) -> QuerySet[Transfer]:
        return Transfer.objects.visible_to(self.request.user)

    @operation(errors=ERRORS_OF_BOOKINGS)
    @documented
    def create(self, request: Request) -> Response:
        """Send money.

        `balance` micro units move from `origin` to `destination`, two accounts of one currency.
        With an `Idempotency-Key` the request may be repeated: the money moves once.
        """
        return self.book(request)

    @operation(
        "cancelTransfer",
        errors=(
            rules.AlreadyCancelled,
            rules.AccountMissing,
            rules.InsufficientFunds,
            rules.BalanceOverflow,
            rules.AccountAhead,
            PermissionDenied(TransferPermissions.message),
        ),
    )
    def destroy(self, request: Request, id: str) -> Response:
        """Cancel a transfer.

        The money goes back to the account that paid. The transfer stays, marked as cancelled.
        """
        cancel(self.get_object(), acting_user(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @operation(
        "createTransferBatch",
        errors=(*(error().of_item() for error in ERRORS_OF_BOOKINGS), NO_ORIGIN),
        names_fields=False,
        responses={201: TransferSerializer(many=True)},
    )
    @documented
    @action(methods=["post"], detail=False, serializer_class=BatchSerializer, pagination_class=None)
    def batch(self, request: Request) -> Response:
        """Send up to 1000 transfers, all or none.

        They are booked in the order given, so an earlier one may fund a later one. A refusal
        names the `index`, counted from 0, of the first transfer that was refused.
        """
        try:
            return self.book(request)
        except (ForeignOrigin, rules.LedgerRefusal) as refusal:
            raise refusal.of_item() from refusal

    def book(self, request: Request) -> Response:
        booking = self.booking(request) if postgresql.is_used() else None
        if booking is None:
            return self.book_by_itself(request)
        try:
            with limited_refusals(booking.user):
                return bookings.book(booking)
        except TooManyRefused:
            if booking.refusal:
                raise
            # Nothing was booked, but the key may have been used before.
            return self.book_by_itself(request)

    @idempotent
    def book_by_itself(self, request: Request) -> Response:
        user = acting_user(request)
        items = self.items_of(self.get_serializer(data=request.data))
        self.require_own_origins(items)
        with limited_refusals(user):
            transfers = ledger.post(Transfer(**item, created_by=user) for item in items)
        trail.booked(user, transfers)
        return self.respond(transfers)

    def booking(self, request: Request) -> Booking | None:
        """Return what the request asks for; None if it is malformed, unless its key was used."""
        user, key = acting_user(request), key_of(request)
        serializer = self.get_serializer(data=request.data)
        try:
            items = self.items_of(serializer)
        except (ValidationError, BatchMalformed):
            return None
        claim = None
        if key:
            asked = understood_when_valid(serializer)
            claim = claim_of(user, key, fingerprint_of("POST", request.path, asked))
        return Booking(user, items, self.respond, claim)

    def items_of(self, serializer: BaseSerializer[Any]) -> list[dict[str, Any]]:
        """Return the fields of the transfers to book. Raises ValidationError or BatchMalformed."""
        if self.action == "batch":
            if not serializer.is_valid():
                raise BatchMalformed.of(serializer.errors)
            items: list[dict[str, Any]] = serializer.validated_data["transfers"]
            return items
        serializer.is_valid(raise_exception=True)
        return [serializer.validated_data]

    def respond(self, transfers: list[Transfer]) -> Response:
        """Return the response for the booked transfers of this request."""
        data = [transfer_json(transfer) for transfer in transfers]
        if self.action == "batch":
            return Response(data, status=status.HTTP_201_CREATED)
        address = reverse("transfer-detail", args=[transfers[0].pk])
        return Response(data[0], status.HTTP_201_CREATED, headers={"Location": address})

    def require_own_origins(self, items: Sequence[dict[str, Any]]) -> None:
        """Refuse the first transfer from an account that is not the user's or does not exist."""
        user = acting_user(self.request)
        if user.is_staff:
            return
        origins = {item["origin_id"] for item in items}
        if len(origins) == 1:
            own = {account.pk for account in account_of(user.pk, *origins)}
        else:
            visible = Account.objects.visible_to(user).filter(pk__in=origins)
            own = set(visible.values_list("pk", flat=True))
        require_own_origins(items, own)
