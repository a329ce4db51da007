"""Query parameters of accounts and transfers."""

from typing import Any, TypeVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.currencies import currencies_in_use, currency_choices
from accounts.fields import MicroUnitsField, MomentField, WholeNumberField
from accounts.models import Account, Transfer, TransferQuerySet
from accounts.watermark import settled
from almaFintech.api.openapi import reference_to
from almaFintech.api.queries import ListQuery, PageQuery, Query, exact_text

Q = TypeVar("Q", bound=QuerySet[Any])

ANY_CURRENCY = {"type": "string", "pattern": "^[A-Z]{3}$"}
A_MOMENT = "For example `2026-05-01T12:00:00Z` or `2026-05-01`."


@extend_schema_field({"anyOf": [reference_to("schemas", "Currency"), ANY_CURRENCY]})
class CurrencyField(serializers.CharField):
    """A code of ISO 4217, or a withdrawn one while an account or a transfer uses it."""

    def to_internal_value(self, data: Any) -> str:
        code = super().to_internal_value(data)
        if code not in dict(currency_choices()):
            self.run_validators(code)
            rows = (model.objects.filter(currency=code) for model in (Account, Transfer))
            if not any(found.exists() for found in rows):
                raise serializers.ValidationError("Not an ISO 4217 currency code.")
        return code


class MoneyQuery(ListQuery):
    """A currency, and bounds of `balance`."""

    currency = CurrencyField(
        required=False,
        max_length=3,
        help_text="A code of ISO 4217, or a withdrawn one that is in use. For example `USD`.",
    )
    balance_min = MicroUnitsField(
        required=False,
        source="balance__gte",
        help_text="In micro units, inclusive. For example `1000000`.",
    )
    balance_max = MicroUnitsField(
        required=False,
        source="balance__lte",
        help_text="In micro units, inclusive. For example `5000000`.",
    )

    def narrow(self, rows: Q) -> Q:
        asked = self.conditions
        if "currency" not in asked and asked.keys() & {"balance__gte", "balance__lte"}:
            # The index of balances begins with the currency.
            every: QuerySet[Any] = rows.model.objects.all()
            rows = rows.filter(currency__in=currencies_in_use(every))
        return super().narrow(rows)


class AccountQuery(MoneyQuery):
    orderings = {"id": ("id",), "balance": ("balance", "id")}


class AccountAtQuery(Query):
    at = MomentField(
        required=False, help_text=f"The balance that the account had at this moment. {A_MOMENT}"
    )


class StatementQuery(PageQuery):
    """A period and a page of its entries."""

    orderings = {"seq": ("seq",)}
    default_ordering = "seq"

    to = MomentField(
        required=False, help_text=f"End of the period, exclusive; now if absent. {A_MOMENT}"
    )
    # For the documentation: almaFintech.api.renderers has already read it.
    format = serializers.ChoiceField(
        ["json", "csv"],
        default="json",
        help_text="JSON is paginated; CSV is not, and takes no `limit` or `cursor`. "
        "For example `csv`.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is a keyword of Python.
        start = MomentField(
            required=False,
            help_text=f"Start of the period, inclusive; the opening if absent. {A_MOMENT}",
        )
        return {**super().get_fields(), "from": start}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "from" in attrs and "to" in attrs and attrs["to"] < attrs["from"]:
            raise serializers.ValidationError({"to": ["This is before `from`."]})
        return attrs


class TransferQuery(MoneyQuery):
    """Filters of transfers; `date_from` is inclusive, `date_to` is exclusive."""

    orderings = {"date": ("date", "id")}
    default_ordering = "-date"

    cancelled = serializers.BooleanField(
        required=False, help_text="Whether the transfers were cancelled. For example `false`."
    )
    reference = exact_text(140, "The whole reference. For example `rent`.")
    date_from = MomentField(
        required=False,
        source="date__gte",
        help_text="Inclusive. For example `2026-05-01T00:00:00Z`.",
    )
    date_to = MomentField(
        required=False,
        source="date__lt",
        help_text="Exclusive. For example `2026-06-01T00:00:00Z`.",
    )
    account = WholeNumberField(
        required=False, help_text="The id of either account. For example `1`."
    )
    origin = WholeNumberField(
        required=False, help_text="The id of the account that paid. For example `1`."
    )
    destination = WholeNumberField(
        required=False, help_text="The id of the account that received. For example `2`."
    )

    @property
    def conditions(self) -> dict[str, Any]:
        # `narrow` calls methods of the queryset for these three.
        return {
            name: value
            for name, value in super().conditions.items()
            if name not in ("account", "origin", "destination")
        }

    def narrow(self, rows: TransferQuerySet) -> TransferQuerySet:  # type: ignore[override]
        asked = self.validated_data
        transfers = super().narrow(rows)
        if self.ordering == "date":
            transfers = settled(transfers)
        if "reference" in asked:
            # The index has this condition, which is always true here.
            transfers = transfers.exclude(reference="")
        if "account" in asked:
            transfers = transfers.touching([asked["account"]])
        if "origin" in asked:
            transfers = transfers.sent_by(asked["origin"])
        if "destination" in asked:
            transfers = transfers.received_by(asked["destination"])
        return transfers
