"""By what accounts and transfers are found. `README.md` tells their users."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers

from accounts.currencies import currencies_in_use, currency_choices
from accounts.models import Account, Transfer, TransferQuerySet
from accounts.serializers import MicroUnitsField, MomentField, WholeNumberField
from almaFintech.api.queries import ApiFilter, text


class CurrencyField(serializers.CharField):
    """A code of ISO 4217, or a withdrawn one as long as there is money or a transfer in it."""

    def to_internal_value(self, data: Any) -> str:
        code = super().to_internal_value(data)
        if code not in dict(currency_choices()):
            self.run_validators(code)
            rows = (model.objects.filter(currency=code) for model in (Account, Transfer))
            if not any(found.exists() for found in rows):
                raise serializers.ValidationError("This is no currency of ISO 4217.")
        return code


class MoneyFilter(filters.FilterSet):
    """By currency and by the bounds of `balance`, in micro units, both included."""

    currency = ApiFilter(
        read_by=CurrencyField(
            max_length=3, help_text="A code of ISO 4217, or a withdrawn one that is in use."
        ),
        example="USD",
    )
    balance_min = ApiFilter(
        "balance",
        "gte",
        read_by=MicroUnitsField(help_text="In micro units, included."),
        example=1_000_000,
    )
    balance_max = ApiFilter(
        "balance",
        "lte",
        read_by=MicroUnitsField(help_text="In micro units, included."),
        example=5_000_000,
    )

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asked = self.form.cleaned_data
        bounded = asked["balance_min"] is not None or asked["balance_max"] is not None
        if bounded and asked["currency"] is None:
            # The index of balances begins with the currency.
            every: QuerySet[Any] = self._meta.model.objects.all()
            queryset = queryset.filter(currency__in=currencies_in_use(every))
        return super().filter_queryset(queryset)


class AccountFilter(MoneyFilter):
    class Meta:
        model = Account
        fields = ()


class TransferFilter(MoneyFilter):
    """The period is from `date_from`, included, to `date_to`, not included."""

    cancelled = ApiFilter(
        read_by=serializers.BooleanField(help_text="Whether they were given back."), example=False
    )
    reference = ApiFilter(
        read_by=text(140, help_text="The whole reference."), method="of_reference", example="rent"
    )
    date_from = ApiFilter(
        "date",
        "gte",
        read_by=MomentField(help_text="Included."),
        example="2026-05-01T00:00:00Z",
    )
    date_to = ApiFilter(
        "date",
        "lt",
        read_by=MomentField(help_text="Not included."),
        example="2026-06-01T00:00:00Z",
    )
    # The last ones, because what they know of the transfers is forgotten by another filter.
    account = ApiFilter(
        read_by=WholeNumberField(help_text="The id of either side."),
        method="of_account",
        example=1,
    )
    origin = ApiFilter(
        read_by=WholeNumberField(help_text="The id of the account that paid."),
        method="of_origin",
        example=1,
    )
    destination = ApiFilter(
        read_by=WholeNumberField(help_text="The id of the account that received."),
        method="of_destination",
        example=2,
    )

    class Meta:
        model = Transfer
        fields = ()

    def of_reference(self, transfers: TransferQuerySet, name: str, value: str) -> TransferQuerySet:
        # The second condition, which the first implies, is that of the index.
        return transfers.filter(reference=value).exclude(reference="")

    def of_account(self, transfers: TransferQuerySet, name: str, value: int) -> TransferQuerySet:
        return transfers.touching([value])

    def of_origin(self, transfers: TransferQuerySet, name: str, value: int) -> TransferQuerySet:
        return transfers.sent_by(value)

    def of_destination(
        self, transfers: TransferQuerySet, name: str, value: int
    ) -> TransferQuerySet:
        return transfers.received_by(value)
