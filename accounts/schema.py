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

from accounts import ledger
from accounts.idempotency import KeyInFlight, KeyReused, MalformedKey
from accounts.models import Account, Entry
from accounts.serializers import (
    AccountSerializer,
    BatchMalformed,
    BatchSerializer,
    TransferSerializer,
    WholeNumberField,
)
from accounts.versions import PreconditionFailed
from almaFintech.schema import JSON, MOMENT, WHOLE_NUMBER, operation, reference_to

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
    description="The `ETag` with which the account was read: when anything has happened on it "
    "since, the request is refused.",
    examples=[OpenApiExample("A version", value='"2"')],
)
ANY_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$"}
RULES_OF_TRANSFERS = (
    ledger.AccountMissing,
    ledger.SameAccount,
    ledger.CurrencyMismatch,
    ledger.InsufficientFunds,
    ledger.BalanceOverflow,
)
RULES_OF_KEYS = (MalformedKey, KeyReused, KeyInFlight)
RULES_OF_EDITS = (ledger.CurrencyFixed, PreconditionFailed)


def moment(name: str, description: str) -> OpenApiParameter:
    examples = [OpenApiExample("A moment", value="2026-05-01T12:00:00Z")]
    examples += [OpenApiExample("A date", value="2026-05-01")]
    return OpenApiParameter(name, MOMENT, description=description, examples=examples)


class AccountAtSerializer(AccountSerializer):
    """An account, and the moment of the balance where one was asked for."""

    at = serializers.DateTimeField(read_only=True, required=False)

    class Meta:
        model = Account
        fields = (*AccountSerializer.Meta.fields, "at")
        sometimes = ("at",)


class StatementLineSerializer(serializers.Serializer[Any]):
    seq = WholeNumberField()
    date = serializers.DateTimeField()
    kind = serializers.ChoiceField(Entry.Kind.choices)
    transfer = WholeNumberField(allow_null=True)
    counterparty = WholeNumberField(allow_null=True)
    reference = serializers.CharField()
    amount = serializers.IntegerField(
        min_value=-ledger.MAX_MICRO_UNITS, max_value=ledger.MAX_MICRO_UNITS
    )
    balance_after = WholeNumberField()


class StatementSerializer(serializers.Serializer[Any]):
    account = WholeNumberField()
    currency = serializers.CharField()
    to = serializers.DateTimeField()
    opening_balance = WholeNumberField()
    closing_balance = WholeNumberField()
    entries = StatementLineSerializer(many=True)

    def get_fields(self) -> dict[str, Any]:
        # "from" is a word of Python's.
        return {**super().get_fields(), "from": serializers.DateTimeField(allow_null=True)}


class WholeNumber(OpenApiSerializerFieldExtension):
    target_class = WholeNumberField

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

    target_class = "accounts.filters.CurrencyField"

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
    create=operation(headers=VERSION),
    update=operation(refusals=RULES_OF_EDITS, parameters=[IF_MATCH], headers=VERSION),
    partial_update=operation(refusals=RULES_OF_EDITS, parameters=[IF_MATCH], headers=VERSION),
    destroy=operation(refusals=[PreconditionFailed], parameters=[IF_MATCH]),
    retrieve=operation(
        headers=VERSION,
        responses=AccountAtSerializer,
        parameters=[moment("at", "The balance that the account had at this moment.")],
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
        paged=True,
        responses={(200, JSON): StatementSerializer, (200, "text/csv"): str},
        parameters=[
            moment("from", "Start of the period, included; the opening if absent."),
            moment("to", "End of the period, not included; now if absent."),
            OpenApiParameter(
                "format",
                {"type": "string", "enum": ["json", "csv"], "default": "json"},
                description="JSON comes in pages, CSV as a whole: without `limit` and `cursor`.",
                examples=[OpenApiExample("CSV", value="csv")],
            ),
        ],
        examples=[
            OpenApiExample("A month", value=STATEMENT),
            OpenApiExample("A month as CSV", value=STATEMENT_CSV, media_type="text/csv"),
        ],
    ),
)

document_transfers = extend_schema_view(
    create=operation(
        idempotent=True,
        refusals=(*RULES_OF_TRANSFERS, *RULES_OF_KEYS),
    ),
    batch=operation(
        "createTransferBatch",
        "Send up to 1000 transfers, all or none",
        idempotent=True,
        refusals=(*RULES_OF_TRANSFERS, *RULES_OF_KEYS, BatchMalformed),
        request=BatchSerializer,
        responses={201: TransferSerializer(many=True)},
        examples=[
            OpenApiExample("A rent", value={"transfers": [SENT]}, request_only=True),
            OpenApiExample("What was booked", value=TRANSFER, response_only=True),
        ],
    ),
    destroy=operation(
        "cancelTransfer",
        "Give a transfer back",
        refusals=(
            ledger.AlreadyCancelled,
            ledger.AccountMissing,
            ledger.InsufficientFunds,
            ledger.BalanceOverflow,
        ),
    ),
)
