"""The JSON of accounts and transfers. What is true of the money, the ledger decides."""

import re
from datetime import datetime
from typing import Any, Self, cast

from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.request import Request

from accounts.ledger import MAX_MICRO_UNITS
from accounts.models import Account, Transfer
from almaFintech.refusals import Refusal


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


class MicroUnitsField(WholeNumberField):
    """An amount. The error for a decimal number names the micro units that it stands for."""

    default_error_messages = {
        "units": "Whole micro units are required: {units} is {micro_units}.",
    }

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, (str, float)):
            match = re.fullmatch(r"([0-9]{1,12})\.([0-9]{1,6})", str(data))
            if match and not (isinstance(data, float) and data.is_integer()):
                self.fail("units", units=data, micro_units=int(match[1] + match[2].ljust(6, "0")))
        return super().to_internal_value(data)


class MomentField(serializers.DateTimeField):
    """An ISO 8601 moment, or a date, which is its midnight in UTC; nothing else of ISO 8601."""

    default_error_messages = {
        "invalid": "Datetime has wrong format. Use one of these formats instead: "
        "YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z], YYYY-MM-DD.",
    }
    FORM = re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
    )

    def to_internal_value(self, value: Any) -> datetime:
        if not (isinstance(value, str) and self.FORM.fullmatch(value)):
            self.fail("invalid")
        return super().to_internal_value(value)


class AccountSerializer(serializers.ModelSerializer[Account]):
    balance = MicroUnitsField(
        required=False, help_text="Micro units of the currency: 1250000 is 1.25 units."
    )
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
        extra_kwargs = {
            "id": {"help_text": "Number of the transfer."},
            "date": {"help_text": "When it was booked."},
            "currency": {"help_text": "ISO 4217 code of both accounts."},
            "cancelled": {"help_text": "Whether the money was given back."},
            "reference": {"help_text": "The sender's own words, such as what it is for."},
            "created_by": {"help_text": "Id of the user who sent it; null if none is known."},
            "cancelled_by": {"help_text": "Id of the user who gave it back."},
            "cancelled_at": {"help_text": "When it was given back."},
        }


def moments(request: Request, *names: str) -> list[datetime | None]:
    """Read the query parameters `names`, ISO 8601 moments in order of time; absent ones are None.

    A date alone is its midnight, and without an offset the time is UTC.
    """
    found: list[datetime | None] = []
    for name in names:
        text = request.query_params.get(name)
        try:
            moment = None if text is None else MomentField().run_validation(text)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({name: error.detail}) from error
        if moment and any(earlier and earlier > moment for earlier in found):
            raise serializers.ValidationError({name: [f"This is before `{names[0]}`."]})
        found.append(moment)
    return found


class BatchSerializer(serializers.Serializer[Any]):
    """A body with the list of transfers to book together."""

    transfers = TransferSerializer(  # type: ignore[call-arg]
        many=True,
        min_length=1,
        max_length=1000,
        help_text="The transfers, booked in this order; an earlier one may fund a later one.",
    )


class BatchMalformed(Refusal):
    """The body of a batch is not what it should be; `index` is the first transfer at fault."""

    default_code = "invalid"
    default_detail = "Malformed batch"

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
        return cls(f"{field}: {_first_message(said)}", index=min(faulty)).of_item()


def _first_message(messages: Any) -> str:
    """The first text in errors nested as DRF nests them."""
    while not isinstance(messages, str):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return messages
