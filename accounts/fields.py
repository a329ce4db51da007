"""The numbers and moments of the API, in bodies and in queries."""

import re
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from accounts.rules import MAX_MICRO_UNITS

MOMENT = {"anyOf": [{"type": "string", "format": form} for form in ("date-time", "date")]}


def iso(moment: datetime) -> str:
    """Return a moment in UTC as the API writes it."""
    return moment.isoformat().replace("+00:00", "Z")


class WholeNumberField(serializers.IntegerField):
    """A whole number from 0 to 2**63 - 1 that was not rounded.

    1.5 is refused, and so is a float from 2**53, where JSON numbers lose digits.
    """

    def __init__(self, *, min_value: int = 0, **options: Any) -> None:
        super().__init__(min_value=min_value, max_value=MAX_MICRO_UNITS, **options)
        self.allowed = range(min_value, MAX_MICRO_UNITS + 1)

    def get_value(self, dictionary: Any) -> Any:
        # The base class treats a blank number in a form as a missing one.
        return dictionary.get(self.field_name, empty)

    def run_validation(self, data: Any = empty) -> Any:
        # The checks below take ten times as long, and a batch has 3000 numbers.
        if type(data) is int and data in self.allowed:
            return data
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and not (data.is_integer() and abs(data) < 2**53):
            self.fail("invalid")
        if isinstance(data, str) and not re.fullmatch(r"-?[0-9]+", data):
            self.fail("invalid")
        return super().to_internal_value(data)


class MicroUnitsField(WholeNumberField):
    """An amount. The error for a decimal number states the same amount in micro units."""

    default_error_messages = {
        "units": "Whole micro units are required: {units} is {micro_units}.",
    }

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, (str, float)):
            match = re.fullmatch(r"([0-9]{1,12})\.([0-9]{1,6})", str(data))
            if match and not (isinstance(data, float) and data.is_integer()):
                self.fail("units", units=data, micro_units=int(match[1] + match[2].ljust(6, "0")))
        return super().to_internal_value(data)


@extend_schema_field(MOMENT)
class MomentField(serializers.DateTimeField):
    """An ISO 8601 moment, or a date, which means its midnight in UTC. Other forms are refused."""

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
