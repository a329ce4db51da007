"""Shapes of responses that the OpenAPI document cannot read from the code that makes them."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from accounts.fields import WholeNumberField
from accounts.models import Account, Entry
from accounts.queries import ANY_CURRENCY
from accounts.rules import MAX_MICRO_UNITS
from accounts.serializers import AccountSerializer

CSV = """\
seq,date,kind,transfer,counterparty,reference,amount,balance_after\r
2,2026-05-01T12:00:00Z,transfer,1,2,rent,-1250000,3750000\r
total,2026-06-01T00:00:00Z,,,,,-1250000,3750000\r
"""


class Choice(OpenApiSerializerFieldExtension):
    """The currency in a response may be one that ISO 4217 has since withdrawn."""

    target_class = serializers.ChoiceField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        if direction == "response" and self.target.field_name == "currency":
            return ANY_CURRENCY
        return auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A past balance",
            {"id": 1, "currency": "USD", "balance": 5_000_000, "at": "2026-05-01T00:00:00Z"},
        ),
    ]
)
class AccountAtSerializer(AccountSerializer):
    """An account, and the moment of its balance if one was requested."""

    at = serializers.DateTimeField(
        read_only=True, required=False, help_text="The moment of the balance, if one was requested."
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
    kind = serializers.ChoiceField(Entry.Kind.choices, help_text="The kind of change.")
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
        min_value=-MAX_MICRO_UNITS,
        max_value=MAX_MICRO_UNITS,
        help_text="Change in micro units, negative when money went out.",
    )
    balance_after = WholeNumberField(help_text="Balance after the change, in micro units.")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A month",
            {
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
            },
        )
    ]
)
class StatementSerializer(serializers.Serializer[Any]):
    """The changes of an account in a period."""

    account = WholeNumberField(help_text="Id of the account.")
    currency = serializers.CharField(help_text="ISO 4217 code at the end of the period.")
    to = serializers.DateTimeField(help_text="End of the period, exclusive.")
    opening_balance = WholeNumberField(help_text="Balance before the period, in micro units.")
    closing_balance = WholeNumberField(help_text="Balance at its end, in micro units.")
    entries = StatementLineSerializer(
        many=True, help_text="One page of the changes of the balance, oldest first."
    )

    def get_fields(self) -> dict[str, Any]:
        # `from` is a keyword of Python.
        start = serializers.DateTimeField(
            allow_null=True, help_text="Start of the period, inclusive; null means the opening."
        )
        return {**super().get_fields(), "from": start}
