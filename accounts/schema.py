"""What the OpenAPI document says of accounts and transfers beside what is derived."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from accounts import rules
from accounts.etags import IfMatchMalformed, PreconditionFailed
from accounts.fields import WholeNumberField
from accounts.models import Account, Entry
from accounts.permissions import ForeignOrigin, TransferPermissions
from accounts.serializers import (
    AccountSerializer,
    BatchMalformed,
    BatchSerializer,
    TransferSerializer,
)
from almaFintech.api.openapi import JSON, WHOLE_NUMBER, operation, reference_to

SENT = {"origin": 1, "destination": 2, "balance": 1_250_000, "reference": "rent"}
TRANSFER = {
    "id": 1,
    "date": "2026-05-01T12:00:00Z",
    "origin": 1,
    "destination": 2,
    "currency": "USD",
    "balance": 1_250_000,
    "cancelled": False,
    "reference": "rent",
    "created_by": 1,
    "cancelled_by": None,
    "cancelled_at": None,
}
STATEMENT = {
    "account": 1,
    "currency": "USD",
    "from": "2026-05-01T00:00:00Z",
    "to": "2026-06-01T00:00:00Z",
    "opening_balance": 5_000_000,
    "closing_balance": 3_750_000,
    "entries": [
        {
            "seq": 2,
            "date": "2026-05-01T12:00:00Z",
            "kind": "transfer",
            "transfer": 1,
            "counterparty": 2,
            "reference": "rent",
            "amount": -1_250_000,
            "balance_after": 3_750_000,
        }
    ],
}
STATEMENT_CSV = """\
seq,date,kind,transfer,counterparty,reference,amount,balance_after\r
2,2026-05-01T12:00:00Z,transfer,1,2,rent,-1250000,3750000\r
total,2026-06-01T00:00:00Z,,,,,-1250000,3750000\r
"""
VERSION = {
    "ETag": {
        "description": "The version of the account, for `If-Match`; absent with `at`.",
        "schema": {"type": "string"},
        "example": '"2"',
    }
}
IF_MATCH = OpenApiParameter(
    "If-Match",
    {"type": "string", "pattern": r'^(\*|"[0-9]{1,19}")$'},
    OpenApiParameter.HEADER,
    description="The `ETag` with which the account was read, with its quotes: if anything has "
    'happened on the account since, the request is refused. For example `"2"`.',
)
ANY_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$"}
RULES_OF_TRANSFERS = (
    rules.AccountMissing,
    rules.SameAccount,
    rules.CurrencyMismatch,
    rules.InsufficientFunds,
    rules.BalanceOverflow,
    rules.AccountAhead,
)
RULES_OF_EDITS = (rules.CurrencyFixed, rules.AccountAhead, IfMatchMalformed, PreconditionFailed)


class AccountAtSerializer(AccountSerializer):
    """An account, and the moment of the balance where one was asked for."""

    at = serializers.DateTimeField(
        read_only=True, required=False, help_text="The moment of the balance, if one was asked for."
    )

    class Meta:
        model = Account
        fields = (*AccountSerializer.Meta.fields, "at")
        extra_kwargs = AccountSerializer.Meta.extra_kwargs
        sometimes = ("at",)


class StatementLineSerializer(serializers.Serializer[Any]):
    """One change of the balance."""

    seq = WholeNumberField(help_text="1, 2, 3 ... within the account.")
    date = serializers.DateTimeField(help_text="When the balance changed.")
    kind = serializers.ChoiceField(Entry.Kind.choices, help_text="What changed the balance.")
    transfer = WholeNumberField(
        allow_null=True, help_text="Id of the transfer that was booked or cancelled."
    )
    counterparty = WholeNumberField(
        allow_null=True, help_text="Id of the other account of that transfer."
    )
    reference = serializers.CharField(
        help_text="The reference of that transfer, or the reason of an edit."
    )
    amount = serializers.IntegerField(
        min_value=-rules.MAX_MICRO_UNITS,
        max_value=rules.MAX_MICRO_UNITS,
        help_text="Change in micro units, negative when money went out.",
    )
    balance_after = WholeNumberField(help_text="Balance after the change, in micro units.")


class StatementSerializer(serializers.Serializer[Any]):
    """What happened on an account in a period."""

    account = WholeNumberField(help_text="Id of the account.")
    currency = serializers.CharField(help_text="ISO 4217 code at the end of the period.")
    to = serializers.DateTimeField(help_text="End of the period, not included.")
    opening_balance = WholeNumberField(help_text="Balance before the period, in micro units.")
    closing_balance = WholeNumberField(help_text="Balance at its end, in micro units.")
    entries = StatementLineSerializer(
        many=True, help_text="One page of the changes of the balance, oldest first."
    )

    def get_fields(self) -> dict[str, Any]:
        # "from" is a word of Python's.
        start = serializers.DateTimeField(
            allow_null=True, help_text="Start of the period, included; null: the opening."
        )
        return {**super().get_fields(), "from": start}


class WholeNumber(OpenApiSerializerFieldExtension):
    target_class = WholeNumberField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        return {**WHOLE_NUMBER, "minimum": self.target.min_value}


class Choice(OpenApiSerializerFieldExtension):
    """Accounts and transfers keep a currency that ISO 4217 has since withdrawn."""

    target_class = serializers.ChoiceField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        if direction == "response" and self.target.field_name == "currency":
            return ANY_CURRENCY
        return auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)


class CurrencyFilter(OpenApiSerializerFieldExtension):
    """A withdrawn currency can be looked for as long as something is in it."""

    target_class = "accounts.queries.CurrencyField"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        return {"anyOf": [reference_to("schemas", "Currency"), ANY_CURRENCY]}


extend_schema_serializer(
    examples=[
        OpenApiExample(
            "An account",
            value={"id": 1, "currency": "USD", "balance": 3_750_000},
            response_only=True,
        ),
        OpenApiExample(
            "An account with money",
            value={"currency": "USD", "balance": 5_000_000, "reason": "opened at the counter"},
            request_only=True,
        ),
    ]
)(AccountSerializer)
extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A past balance",
            value={"id": 1, "currency": "USD", "balance": 5_000_000, "at": "2026-05-01T00:00:00Z"},
        ),
    ]
)(AccountAtSerializer)
extend_schema_serializer(
    examples=[
        OpenApiExample("A transfer", value=TRANSFER, response_only=True),
        OpenApiExample("A rent", value=SENT, request_only=True),
    ]
)(TransferSerializer)

document_accounts = extend_schema_view(
    list=operation(
        summary="List accounts",
        description="The accounts that this user may see: for staff all, else those in the "
        "user's profile. By id unless `ordering` says otherwise.",
    ),
    create=operation(
        summary="Open an account",
        description="Open an account, with money if `balance` says so. With an `Idempotency-Key` "
        "the request may be repeated: one account is opened.",
        headers=VERSION,
    ),
    update=operation(
        summary="Edit an account",
        description="Edit an account. `balance` becomes what is sent, and stays if it is left "
        "out; `currency` is fixed once the account has transfers. With `If-Match` the edit is "
        "refused if anything has happened on the account since it was read.",
        errors=RULES_OF_EDITS,
        parameters=[IF_MATCH],
        headers=VERSION,
    ),
    partial_update=operation(
        summary="Edit some fields of an account",
        description="Edit those fields of an account that are sent. With `If-Match` the edit is "
        "refused if anything has happened on the account since it was read.",
        errors=RULES_OF_EDITS,
        parameters=[IF_MATCH],
        headers=VERSION,
    ),
    destroy=operation(
        summary="Close an account",
        description="Close an account. Its transfers and entries stay, and staff can still read "
        "its statement. With `If-Match` this is refused if anything has happened on the account "
        "since it was read.",
        errors=[rules.AccountAhead, IfMatchMalformed, PreconditionFailed],
        parameters=[IF_MATCH],
    ),
    retrieve=operation(
        summary="Get an account",
        headers=VERSION,
        responses=AccountAtSerializer,
    ),
    transfers=operation(
        "listAccountTransfers",
        "List the transfers of an account",
        responses=TransferSerializer(many=True),
    ),
    biggest=operation(
        "listBiggestAccounts",
        "List the biggest account of each currency",
        responses=AccountSerializer(many=True),
    ),
    statement=operation(
        "getAccountStatement",
        "Get the statement of an account",
        responses={(200, JSON): StatementSerializer, (200, "text/csv"): str},
        examples=[
            OpenApiExample("A month", value=STATEMENT),
            OpenApiExample("A month as CSV", value=STATEMENT_CSV, media_type="text/csv"),
        ],
    ),
)

document_transfers = extend_schema_view(
    list=operation(
        summary="List transfers",
        description="The transfers that this user may see, newest first: for staff all, else "
        "those from or to an account in the user's profile. With `ordering=date` the list is "
        "oldest first, and ends before the first transfer that may still be joined by an earlier "
        "one: read its last page again to go on.",
    ),
    retrieve=operation(summary="Get a transfer", description="One transfer."),
    create=operation(
        summary="Send money",
        description="Send `balance` micro units from `origin` to `destination`, two accounts of "
        "one currency. With an `Idempotency-Key` the request may be repeated: the money moves "
        "once.",
        errors=(*RULES_OF_TRANSFERS, ForeignOrigin),
    ),
    batch=operation(
        "createTransferBatch",
        "Send up to 1000 transfers, all or none",
        errors=(*RULES_OF_TRANSFERS, ForeignOrigin, BatchMalformed),
        request=BatchSerializer,
        responses={201: TransferSerializer(many=True)},
        examples=[
            OpenApiExample("A rent", value={"transfers": [SENT]}, request_only=True),
            OpenApiExample("What was booked", value=TRANSFER, response_only=True),
        ],
    ),
    destroy=operation(
        "cancelTransfer",
        "Cancel a transfer",
        description="Give the money of a transfer back. The transfer stays, marked as cancelled.",
        errors=(
            rules.AlreadyCancelled,
            rules.AccountMissing,
            rules.InsufficientFunds,
            rules.BalanceOverflow,
            rules.AccountAhead,
            PermissionDenied(TransferPermissions.message),
        ),
    ),
)
