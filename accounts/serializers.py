"""The JSON of accounts and transfers. Serializers check its shape, the ledger checks the money."""

from typing import Any, Self, cast

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from accounts.fields import MicroUnitsField, WholeNumberField, iso
from accounts.models import Account, Transfer
from almaFintech.api.serializers import SharedFields
from almaFintech.refusals import Refusal

# The columns of a response, in its order. `values()` of them is a row as it is sent.
ACCOUNT_COLUMNS = ("id", "currency", "balance")
TRANSFER_COLUMNS = (
    "id",
    "date",
    "origin",
    "destination",
    "currency",
    "balance",
    "cancelled",
    "reference",
    "created_by",
    "cancelled_by",
    "cancelled_at",
)
RENT = {"origin": 1, "destination": 2, "balance": 1_250_000, "reference": "rent"}


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "An account",
            {"id": 1, "currency": "USD", "balance": 3_750_000},
            response_only=True,
        ),
        OpenApiExample(
            "An account with money",
            {"currency": "USD", "balance": 5_000_000, "reason": "opened at the counter"},
            request_only=True,
        ),
    ]
)
class AccountSerializer(serializers.ModelSerializer[Account]):
    balance = MicroUnitsField(
        required=False, help_text="Micro units of the currency: 1250000 is 1.25 units."
    )
    reason = serializers.CharField(
        max_length=140,
        allow_blank=True,
        required=False,
        write_only=True,
        help_text="Reason for the change, kept with the entry in the ledger.",
    )

    class Meta:
        model = Account
        fields = (*ACCOUNT_COLUMNS, "reason")
        extra_kwargs = {
            "id": {"help_text": "Number of the account."},
            "currency": {
                "help_text": "ISO 4217 code, which is fixed once the account has transfers."
            },
        }

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        if isinstance(self.instance, Account):
            # An account keeps its currency, even one that ISO 4217 has since withdrawn.
            currency = self.instance.currency
            field = cast(serializers.ChoiceField, fields["currency"])
            field.choices = {currency: currency} | field.choices
        return fields

    def to_representation(self, account: Account) -> dict[str, Any]:
        return {"id": account.pk, "currency": account.currency, "balance": account.balance}

    def create(self, validated_data: dict[str, Any]) -> Account:
        """Open the account; `by` and `reason` go to its first entry."""
        why = self._author_and_reason(validated_data)
        account = Account(**validated_data)
        account.save(**why)
        return account

    def update(self, instance: Account, validated_data: dict[str, Any]) -> Account:
        """Edit the account; `by` and `reason` go to the entries of what changed."""
        why = self._author_and_reason(validated_data)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(**why)
        return instance

    @staticmethod
    def _author_and_reason(validated_data: dict[str, Any]) -> dict[str, Any]:
        return {
            "by": validated_data.pop("by", None),
            "reason": validated_data.pop("reason", ""),
        }


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A transfer",
            {
                "id": 1,
                "date": "2026-05-01T12:00:00Z",
                **RENT,
                "currency": "USD",
                "cancelled": False,
                "created_by": 1,
                "cancelled_by": None,
                "cancelled_at": None,
            },
            response_only=True,
        ),
        OpenApiExample("A rent", RENT, request_only=True),
    ]
)
class TransferSerializer(SharedFields, serializers.ModelSerializer[Transfer]):
    # Plain numbers: the ledger checks under its lock whether the accounts exist, so looking
    # them up beforehand would cost two statements and prove nothing.
    origin = WholeNumberField(
        source="origin_id", help_text="Id of the account that pays; null once that is closed."
    )
    destination = WholeNumberField(
        source="destination_id",
        help_text="Id of the account that receives; null once that is closed.",
    )
    balance = MicroUnitsField(
        min_value=1,
        help_text="The amount, in micro units of the currency: 1250000 is 1.25 units.",
    )

    class Meta:
        model = Transfer
        fields = TRANSFER_COLUMNS
        read_only_fields = (
            "id",
            "date",
            "currency",
            "cancelled",
            "created_by",
            "cancelled_by",
            "cancelled_at",
        )
        extra_kwargs = {
            "id": {"help_text": "Number of the transfer."},
            "date": {"help_text": "When it was booked."},
            "currency": {"help_text": "ISO 4217 code of both accounts."},
            "cancelled": {"help_text": "Whether it was cancelled."},
            "reference": {"help_text": "The sender's own text, such as the purpose."},
            "created_by": {"help_text": "Id of the user who sent it; null if unknown."},
            "cancelled_by": {"help_text": "Id of the user who cancelled it."},
            "cancelled_at": {"help_text": "When it was cancelled."},
        }

    def run_validators(self, value: Any) -> None:
        """Skip the search for rules about several fields: there are none."""

    def to_representation(self, transfer: Transfer) -> dict[str, Any]:
        return transfer_json(transfer)


def transfer_json(transfer: Transfer) -> dict[str, Any]:
    """Return a transfer as the API sends it."""
    return {
        "id": transfer.pk,
        "date": iso(transfer.date),
        "origin": transfer.origin_id,
        "destination": transfer.destination_id,
        "currency": transfer.currency,
        "balance": transfer.balance,
        "cancelled": transfer.cancelled,
        "reference": transfer.reference,
        "created_by": transfer.created_by_id,
        "cancelled_by": transfer.cancelled_by_id,
        "cancelled_at": transfer.cancelled_at and iso(transfer.cancelled_at),
    }


@extend_schema_serializer(
    examples=[OpenApiExample("A rent", {"transfers": [RENT]}, request_only=True)]
)
class BatchSerializer(SharedFields):
    """A body with the list of transfers to book together."""

    transfers = TransferSerializer(  # type: ignore[call-arg]
        many=True,
        min_length=1,
        max_length=1000,
        help_text="The transfers, booked in this order; an earlier one may fund a later one.",
    )


class BatchMalformed(Refusal):
    """A malformed body of a batch; `index` is its first malformed transfer."""

    default_code = "invalid"
    default_detail = "Malformed batch"

    @classmethod
    def of(cls, errors: Any) -> Self:
        """Make one from the errors of a BatchSerializer."""
        messages = errors.get("transfers", errors)
        faulty = [key for key in messages if isinstance(key, int)]
        if not faulty:
            return cls(f"transfers: {_first_message(messages)}")
        first = messages[min(faulty)]
        # An item that is not an object has no field to name.
        field = next(iter(first)) if isinstance(first, dict) else "transfers"
        return cls(f"{field}: {_first_message(first)}", index=min(faulty)).of_item()


def _first_message(messages: Any) -> str:
    """Return the first text in errors nested as DRF nests them."""
    while not isinstance(messages, str):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return messages
