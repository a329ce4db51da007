"""The JSON of accounts and transfers. What is true of the money, the ledger decides."""

import re
from datetime import datetime
from typing import Any, Self, cast

from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.request import Request

from accounts.ledger import MAX_MICRO_UNITS
from accounts.models import Account, Transfer
from almaFintech.errors import Refusal


class WholeNumberField(serializers.IntegerField):
    """A whole number from 0 to 2**63 - 1 that no rounding has touched.

    1.5 is refused, and so is a float from 2**53, where JSON numbers lose digits.
    """

    def __init__(self, *, min_value: int = 0, **options: Any) -> None:
        super().__init__(min_value=min_value, max_value=MAX_MICRO_UNITS, **options)

    def get_value(self, dictionary: Any) -> Any:
        # The base class takes a number that a form leaves blank for one that it leaves out.
        return dictionary.get(self.field_name, empty)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and not (data.is_integer() and abs(data) < 2**53):
            self.fail("invalid")
        if isinstance(data, str) and not re.fullmatch(r"-?[0-9]+", data):
            self.fail("invalid")
        return super().to_internal_value(data)


class AccountSerializer(serializers.ModelSerializer[Account]):
    balance = WholeNumberField(required=False)
    reason = serializers.CharField(
        max_length=140,
        allow_blank=True,
        required=False,
        write_only=True,
        help_text="Why the balance is edited; kept with the entry in the ledger.",
    )

    class Meta:
        model = Account
        fields = ("id", "currency", "balance", "reason")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        if isinstance(self.instance, Account):
            # An account keeps its currency, even one that ISO 4217 has since withdrawn.
            currency = self.instance.currency
            field = cast(serializers.ChoiceField, fields["currency"])
            field.choices = {currency: currency} | field.choices
        return fields

    def create(self, validated_data: dict[str, Any]) -> Account:
        """Open the account; `by` and `reason` go to its first entry."""
        why = self._why(validated_data)
        account = Account(**validated_data)
        account.save(**why)
        return account

    def update(self, instance: Account, validated_data: dict[str, Any]) -> Account:
        """Edit the account; `by` and `reason` go to the entries of what changed."""
        why = self._why(validated_data)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(**why)
        return instance

    @staticmethod
    def _why(validated_data: dict[str, Any]) -> dict[str, Any]:
        return {
            "by": validated_data.pop("by", None),
            "reason": validated_data.pop("reason", ""),
        }


class TransferSerializer(serializers.ModelSerializer[Transfer]):
    # Plain numbers: the ledger says under its lock whether such accounts exist, so looking
    # them up beforehand would cost two statements and prove nothing.
    origin = WholeNumberField(source="origin_id")
    destination = WholeNumberField(source="destination_id")
    balance = WholeNumberField(min_value=1)

    class Meta:
        model = Transfer
        fields = (
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
        read_only_fields = (
            "id",
            "date",
            "currency",
            "cancelled",
            "created_by",
            "cancelled_by",
            "cancelled_at",
        )


def moments(request: Request, *names: str) -> list[datetime | None]:
    """Read the query parameters `names`, ISO 8601 moments in order of time; absent ones are None.

    A date alone is its midnight, and without an offset the time is UTC.
    """
    found: list[datetime | None] = []
    for name in names:
        text = request.query_params.get(name)
        try:
            moment = None if text is None else serializers.DateTimeField().run_validation(text)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({name: error.detail}) from error
        if moment and any(earlier and earlier > moment for earlier in found):
            raise serializers.ValidationError({name: [f"This is before `{names[0]}`."]})
        found.append(moment)
    return found


class BatchSerializer(serializers.Serializer[Any]):
    """A body with the list of transfers to book together."""

    transfers = TransferSerializer(many=True, min_length=1, max_length=1000)  # type: ignore[call-arg]


class BatchMalformed(Refusal):
    """The body of a batch is not what it should be; `index` is the first transfer at fault."""

    code = "invalid"
    default_message = "Malformed batch"

    @classmethod
    def of(cls, errors: Any) -> Self:
        """Make one of the errors of a BatchSerializer."""
        messages = errors.get("transfers", errors)
        faulty = [key for key in messages if isinstance(key, int)]
        if not faulty:
            return cls(f"transfers: {_first_message(messages)}")
        said = messages[min(faulty)]
        # What is no object at all has no field to name.
        field = next(iter(said)) if isinstance(said, dict) else "transfers"
        refusal = cls(f"{field}: {_first_message(said)}")
        refusal.details = {"index": min(faulty)}
        return refusal


def _first_message(messages: Any) -> str:
    """The first text in errors nested as DRF nests them."""
    while not isinstance(messages, str):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return messages
