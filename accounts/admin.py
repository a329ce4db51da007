"""Accounts and transfers in the admin. Money moves by the same rules as through the API."""

import json
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from accounts import idempotency, ledger, rules
from accounts.currencies import currencies_in_use, currency_choices, in_units
from accounts.models import Account, Entry, Transfer
from almaFintech.admin import NumberSelect, ReadOnlyAdmin
from almaFintech.api.people import acting_user
from audit import trail
from audit.admin import AuditedAdmin

MICRO_UNITS_HELP = "1 000 000 is one unit of the currency."
STILL_BOOKING = "This form is still being booked: save it again later."


def link_to(page: str, number: int | None) -> str:
    """Link to the page of a row without reading the row.

    Reading it would cost a query for each line of a list, and the row may be deleted.
    """
    if number is None:
        return "-"
    return format_html(
        '<a href="{}">{}</a>', reverse(f"admin:{page}_change", args=[number]), number
    )


def link_to_account(number: int | None) -> str:
    return "deleted" if number is None else link_to("accounts_account", number)


def link_to_list(model: str, account: int) -> str:
    url = reverse(f"admin:accounts_{model}_changelist")
    return format_html('<a href="{}?q={}">show</a>', url, account)


class CurrencyFilter(admin.SimpleListFilter):
    title = parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = model_admin.get_queryset(request)
        return [(code, code) for code in currencies_in_use(rows)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(currency=self.value()) if self.value() else queryset


class AccountForm(forms.ModelForm):
    class Meta:
        model = Account
        fields = ("currency", "balance")

    balance = forms.IntegerField(
        min_value=0,
        max_value=rules.MAX_MICRO_UNITS,
        initial=0,
        label="Balance in micro units",
        help_text=MICRO_UNITS_HELP,
        # The form holds the balance that the page showed, to distinguish an edit from a
        # transfer that has changed the balance meanwhile.
        show_hidden_initial=True,
    )
    reason = forms.CharField(
        max_length=140, required=False, help_text="Reason for the edit, kept in the ledger."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        currency = self.instance.currency
        field = self.fields.get("currency")
        if currency and isinstance(field, forms.ChoiceField):
            # The account keeps its currency even if that was withdrawn.
            offered = dict(currency_choices())
            field.choices = list(({currency: currency} | offered).items())

    def _get_validation_exclusions(self) -> set[str]:
        # The field has checked its choices; the model's choices lack withdrawn currencies.
        return super()._get_validation_exclusions() | {"currency"}  # type: ignore[misc]

    def clean(self) -> dict[str, Any] | None:
        shown = self.data.get(self.add_initial_prefix("balance"))
        if self.instance.pk and shown is not None:
            self.instance.balance_as_read = self.fields["balance"].clean(shown)
        data = super().clean() or {}
        shown_balance, shown_currency = self.instance.balance_as_read, self.instance.currency
        edited = (
            data.get("balance", shown_balance) != shown_balance
            or data.get("currency", shown_currency) != shown_currency
        )
        missing = not data.get("reason") and "reason" not in self.errors
        if self.instance.pk and edited and missing:
            self.add_error("reason", "Say why the balance or the currency is edited.")
        return data


class ClosingForm(forms.Form):
    """Form of the page that confirms the deletion of accounts."""

    reason = forms.CharField(
        max_length=140,
        label="Reason",
        help_text="Kept in the ledger and in the records of staff.",
    )
    # The balances that the page showed: nothing else is deleted.
    shown = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, accounts: Sequence[Account], **options: Any) -> None:
        self.state = ",".join(
            f"{account.pk}:{account.currency}:{account.balance}"
            for account in sorted(accounts, key=lambda account: account.pk)
        )
        super().__init__(initial={"shown": self.state}, **options)
        self.fields["reason"].required = any(account.balance for account in accounts)

    def clean_shown(self) -> str:
        shown: str = self.cleaned_data["shown"]
        if shown != self.state:
            raise ValidationError("A balance has changed since the page was shown.")
        return shown


@admin.register(Account)
class AccountAdmin(AuditedAdmin):
    form = AccountForm
    list_display = ("id", "amount", "micro_units", "transfers", "entries")
    list_filter = (CurrencyFilter,)
    ordering = ("id",)
    sortable_by = ("id",)
    search_fields = ("id",)
    search_help_text = "Number of the account"
    id_fields = ("id",)
    actions = ("delete_selected",)

    def get_fields(self, request: HttpRequest, obj: Account | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("currency", "balance", "reason")
        return ("currency", "amount", "balance", "reason", "transfers", "entries")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Account | None = None
    ) -> tuple[str, ...]:
        used = obj is not None and Transfer.objects.touching([obj.pk]).exists()
        return ("amount", "transfers", "entries", *(["currency"] if used else []))

    @admin.display(description="Balance")
    def amount(self, account: Account) -> str:
        # While a form is corrected, its account holds the typed balance, not the saved one.
        saved = account.balance_as_read
        return in_units(account.balance if saved is None else saved, account.currency)

    @admin.display(description="Micro units")
    def micro_units(self, account: Account) -> int:
        return account.balance

    @admin.display(description="Transfers")
    def transfers(self, account: Account) -> str:
        return link_to_list("transfer", account.pk)

    @admin.display(description="Entries")
    def entries(self, account: Account) -> str:
        return link_to_list("entry", account.pk)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        obj.save(by=acting_user(request), reason=form.cleaned_data["reason"])

    def reason_of(self, request: HttpRequest) -> str:
        # Stripped as the form does, which is valid whenever a reason is recorded.
        return request.POST.get("reason", "").strip()

    def require_confirmed(self, request: HttpRequest, rows: Sequence[Account]) -> None:
        form = ClosingForm(rows, data=request.POST)
        if "shown" in form.errors:
            raise ValidationError(
                "Nothing was deleted: a balance has changed since the page was shown. "
                "Look at the balances again."
            )
        if "reason" in form.errors:
            raise ValidationError(f"Nothing was deleted. Reason: {form.errors['reason'][0]}")

    def closing(self, accounts: Iterable[Account]) -> dict[str, Any]:
        """Context of the confirmation pages: the balances to be written off, and their owners."""
        accounts = list(accounts)
        owners: dict[int, list[str]] = {account.pk: [] for account in accounts}
        profiles = Account.profile_set.through.objects.filter(account__in=list(owners))
        for number, name in profiles.order_by("profile__user__username").values_list(
            "account", "profile__user__username"
        ):
            owners[number].append(name)
        lines = [
            {
                "account": account,
                "amount": in_units(account.balance, account.currency),
                "owners": ", ".join(owners[account.pk]) or "nobody",
            }
            for account in accounts
        ]
        return {"closing": lines, "closing_form": ClosingForm(accounts)}

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        return super().render_delete_form(request, context | self.closing([context["object"]]))

    @admin.action(description="Delete selected accounts", permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, accounts: QuerySet[Account]
    ) -> TemplateResponse | None:
        page = delete_selected(self, request, accounts)
        if page is not None and page.context_data is not None:
            page.context_data |= self.closing(page.context_data["queryset"])
        return page

    def delete_model(self, request: HttpRequest, obj: Account) -> None:
        obj.delete(by=acting_user(request), reason=self.reason_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        ledger.close_accounts(queryset, by=acting_user(request), reason=self.reason_of(request))


class TransferForm(forms.ModelForm):
    class Meta:
        model = Transfer
        fields = ("origin", "destination", "balance", "reference")
        labels = {"origin": "From", "destination": "To", "balance": "Amount in micro units"}
        help_texts = {"balance": MICRO_UNITS_HELP}

    # A form is booked once, however often it is sent. Without a key it is booked each time, like
    # an API request without a key.
    idempotency_key = forms.RegexField(
        rf"\A{idempotency.KEY}\Z", required=False, widget=forms.HiddenInput
    )

    def clean(self) -> dict[str, Any] | None:
        data = super().clean() or {}
        if data.get("origin") and data.get("origin") == data.get("destination"):
            # The ledger's message, because otherwise the form would name the constraint.
            self.add_error("destination", rules.SameAccount())
        return data


def booked_before(taken: idempotency.KeyTaken) -> str:
    """Return a message that names the transfer booked when the form was first sent."""
    try:
        booked = json.loads(taken.earlier().body)["transfer"]
    except idempotency.KeyInFlight:
        return STILL_BOOKING
    except idempotency.KeyReused:
        return (
            "This form has already booked another transfer, and nothing was booked now. "
            "Open a new form to book one more."
        )
    return f"This form has already booked transfer {booked}, and did not book it again."


@admin.register(Transfer)
class TransferAdmin(AuditedAdmin):
    form = TransferForm
    list_display = ("id", "date", "sender", "receiver", "amount", "state", "micro_units")
    list_filter = ("cancelled", CurrencyFilter, "date")
    # By date, and not by number, so that the index of the date filter also gives the order.
    ordering = ("-date",)
    sortable_by = ("id", "date")
    search_fields = ("id",)
    search_help_text = "Number of the transfer or of one of its accounts, or the whole reference"
    id_fields = ("id", "origin", "destination")
    text_field = "reference"
    actions = ("cancel_selected",)

    def get_fields(self, request: HttpRequest, obj: Transfer | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("origin", "destination", "balance", "reference", "idempotency_key")
        return (
            *("id", "date", "origin", "destination", "amount", "micro_units", "reference"),
            *("made_by", "state", "cancelled_by_user", "cancelled_at"),
        )

    def get_readonly_fields(
        self, request: HttpRequest, obj: Transfer | None = None
    ) -> tuple[str, ...]:
        computed = (
            "amount",
            "micro_units",
            "made_by",
            "state",
            "cancelled_by_user",
            "cancelled_at",
        )
        return () if obj is None else computed

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.ModelChoiceField | None:
        kwargs["widget"] = NumberSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        for name in form.base_fields.keys() & {"origin", "destination"}:
            # Django offers to edit and delete accounts next to the fields that choose them.
            widget = form.base_fields[name].widget
            widget.can_add_related = widget.can_change_related = widget.can_delete_related = False
        return form

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description="From")
    def sender(self, transfer: Transfer) -> str:
        return link_to_account(transfer.origin_id)

    @admin.display(description="To")
    def receiver(self, transfer: Transfer) -> str:
        return link_to_account(transfer.destination_id)

    @admin.display(description="Amount")
    def amount(self, transfer: Transfer) -> str:
        return in_units(transfer.balance, transfer.currency)

    @admin.display(description="Micro units")
    def micro_units(self, transfer: Transfer) -> int:
        return transfer.balance

    @admin.display(description="Made by user")
    def made_by(self, transfer: Transfer) -> str:
        return link_to("auth_user", transfer.created_by_id)

    @admin.display(description="Cancelled by user")
    def cancelled_by_user(self, transfer: Transfer) -> str:
        return link_to("auth_user", transfer.cancelled_by_id)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        data: dict[str, Any] = super().get_changeform_initial_data(request)
        # A form that was refused is shown again with its key, because a slow request may still book
        # it. Every other form gets a new key.
        if not re.fullmatch(idempotency.KEY, data.get("idempotency_key", "")):
            data["idempotency_key"] = str(uuid4())
        return data

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Book the transfer, unless its form has been booked before."""
        obj.created_by = acting_user(request)
        key = form.cleaned_data["idempotency_key"]
        if not key:
            obj.save()
            return
        typed = [obj.origin_id, obj.destination_id, obj.balance, obj.reference]
        asked = idempotency.fingerprint_of("POST", request.path, typed)
        try:
            claim = idempotency.claimed(obj.created_by, key, asked)
        except idempotency.KeyInFlight as error:
            raise ValidationError(STILL_BOOKING) from error
        obj.save()
        idempotency.record_response(claim, HTTPStatus.FOUND, {"transfer": obj.pk}, {})

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except idempotency.KeyTaken as taken:
            messages.warning(request, booked_before(taken))
        return HttpResponseRedirect(reverse("admin:accounts_transfer_changelist"))

    @admin.display(description="State")
    def state(self, transfer: Transfer) -> str:
        return "cancelled" if transfer.cancelled else "booked"

    @admin.action(description="Cancel selected transfers", permissions=["view"])
    def cancel_selected(self, request: HttpRequest, transfers: QuerySet[Transfer]) -> None:
        """Cancel the selected transfers, oldest first, all or none."""
        selected = list(transfers.order_by("id"))
        try:
            ledger.cancel(selected, by=acting_user(request))
        except rules.LedgerRefusal as refusal:
            number = selected[refusal.index].pk
            raise ValidationError(
                f"Nothing was cancelled. Transfer {number}: {refusal.detail}"
            ) from refusal
        trail.cancelled(acting_user(request), selected)
        LogEntry.objects.log_actions(str(request.user.pk), selected, CHANGE, "Cancelled.")
        messages.success(request, f"{len(selected)} cancelled.")


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = (
        *("id", "of_account", "seq", "date", "kind", "change", "balance", "of_transfer"),
        *("counterparty", "by_user", "reason"),
    )
    ordering = ("-id",)
    sortable_by = ("id",)
    search_fields = ("id",)
    search_help_text = "Number of the account"
    id_fields = ("account",)

    def get_fields(self, request: HttpRequest, obj: Entry | None = None) -> tuple[str, ...]:
        return (*self.list_display, "chained")

    @admin.display(description="Account")
    def of_account(self, entry: Entry) -> str:
        return link_to_account(entry.account_id)

    @admin.display(description="Transfer")
    def of_transfer(self, entry: Entry) -> str:
        return link_to("accounts_transfer", entry.transfer_id)

    @admin.display(description="Amount")
    def change(self, entry: Entry) -> str:
        return in_units(entry.amount, entry.currency)

    @admin.display(description="Balance after")
    def balance(self, entry: Entry) -> str:
        return in_units(entry.balance_after, entry.currency)

    @admin.display(description="By user")
    def by_user(self, entry: Entry) -> str:
        return link_to("auth_user", entry.by_id)

    @admin.display(description="Digest")
    def chained(self, entry: Entry) -> str:
        return bytes(entry.digest).hex()
