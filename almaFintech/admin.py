"""The base classes of all admin pages."""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, ActionForm
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import (
    AutocompleteMixin,
    AutocompleteSelect,
    AutocompleteSelectMultiple,
)
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import BigIntegerField, Model, Q, QuerySet
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode

from almaFintech.db.transactions import retried
from almaFintech.refusals import Conflict

# An action takes no more rows: the form that asks "are you sure?" has a field for each, and
# Django reads at most DATA_UPLOAD_MAX_NUMBER_FIELDS (1000) fields.
MOST_AT_ONCE = 500
# No searched column holds more, and the database runs no query for a thousand words.
LONGEST_SEARCH = 254

admin.site.site_header = admin.site.site_title = "almaFintech"
admin.site.index_title = "Administration"
# The API has no pages for "View site" to open, and the lists need the full width.
admin.site.site_url = None
admin.site.enable_nav_sidebar = False


class BoundedPaginator(Paginator):
    """A paginator that stops counting at `most`: a full count reads the whole table."""

    most = 10_000

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        return rows.order_by()[: self.most].count()


class BoundedList(ChangeList):
    """A list that says so when its pages do not reach the last row."""

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except (LookupError, OverflowError, ValueError) as error:
            # Django refuses most invalid filters when it builds them. Some, such as the year 0,
            # fail only when the rows are counted.
            raise IncorrectLookupParameters(error) from error
        if self.result_count >= BoundedPaginator.most:
            listed = (
                f"The pages end after {BoundedPaginator.most} rows: search and filter for more."
            )
            self.search_help_text = f"{self.search_help_text}. {listed}"

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        rows = super().get_queryset(request, *args, **kwargs)
        # Django ignores a search for NUL, and an action would then apply to every row.
        return rows if self.search_form_class(request.GET).is_valid() else rows.none()


def is_number(text: str) -> bool:
    """Return whether `text` can be the number of a row: at most 64 bits."""
    return bool(re.fullmatch("[0-9]{1,19}", text)) and int(text) <= BigIntegerField.MAX_BIGINT


class NumericOptions(AutocompleteMixin):
    """A widget that looks up numbers only; Django's own also looks up `abc`, and fails."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        return super().optgroups(name, [text for text in value if is_number(text)], attr)


class NumberSelect(NumericOptions, AutocompleteSelect):
    pass


class NumberSelectMultiple(NumericOptions, AutocompleteSelectMultiple):
    pass


class NumbersField(ModelMultipleChoiceField):
    """Rows chosen by number; Django's own field also looks up numbers above 64 bits, and fails."""

    def clean(self, value: Any) -> Any:
        for text in value or ():
            if not is_number(text):
                raise ValidationError(
                    self.error_messages["invalid_choice"], "invalid_choice", {"value": text}
                )
        return super().clean(value)


class WalletAdmin(admin.ModelAdmin):
    """Pages that stay fast over a million rows and show every refusal as a message.

    The search box looks up a number in the columns `id_fields`, and compares any other text with
    the column `text_field`. Lists are sorted by columns that have an index: name no other column
    in `sortable_by`.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    id_fields: tuple[str, ...] = ()
    text_field = ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if len(term) > LONGEST_SEARCH:
            return queryset.none(), False
        if not self.id_fields or not term:
            return super().get_search_results(request, queryset, search_term)
        if not is_number(term):
            return self.text_search(queryset, term), False
        matches = [Q(**{name: int(term)}) for name in self.id_fields]
        return queryset.filter(Q(*matches, _connector=Q.OR)), False

    def text_search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        if not self.text_field:
            return queryset.none()
        return queryset.filter(**{self.text_field: term})

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return self.run_view(
            request,
            lambda: self.save_or_show(request, object_id, *args, **kwargs),
            refused=request.path if object_id else self.filled_form(request),
        )

    def save_or_show(
        self, request: HttpRequest, object_id: str | None, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Run Django's page that adds or edits a row; a POST runs in one transaction."""
        return super().changeform_view(request, object_id, *args, **kwargs)

    def filled_form(self, request: HttpRequest) -> str:
        """Return the address of the add page with the typed values filled in."""
        names = flatten_fieldsets(self.get_fieldsets(request))
        typed = {name: request.POST.get(name, "") for name in names if "password" not in name}
        return f"{request.path}?{urlencode(typed)}"

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        view = super().delete_view
        return self.run_view(request, lambda: view(request, *args, **kwargs), refused=request.path)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        view = super().changelist_view
        return self.run_view(
            request, lambda: view(request, *args, **kwargs), refused=request.get_full_path()
        )

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        fault = self._fault_of_selection(request, queryset)
        if fault:
            messages.error(request, f"{fault} Nothing was changed.")
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def _fault_of_selection(self, request: HttpRequest, listed: QuerySet[Any]) -> str:
        """Return why an action cannot run on the selected rows, or "" if it can."""
        # Read as Django's action form reads it, or the action might apply to other rows.
        across = ActionForm.base_fields["select_across"]
        if across.clean(request.POST.get("select_across")):
            rows = listed[: MOST_AT_ONCE + 1].count()
            if rows > MOST_AT_ONCE:
                return f"Select at most {MOST_AT_ONCE} at once."
            return "" if rows else "The list is empty."
        selected = set(request.POST.getlist(ACTION_CHECKBOX_NAME))
        numbers = {int(text) for text in selected if is_number(text)}
        # A row may have left the list since the page was opened, because it no longer meets a
        # filter. An action on the remaining rows would look like one on the whole selection.
        if len(numbers) < len(selected) or listed.filter(pk__in=numbers).count() < len(numbers):
            return "Some of the selected rows are no longer in the list: select again."
        return ""

    def run_view(
        self, request: HttpRequest, view: Callable[[], HttpResponse], *, refused: str
    ) -> HttpResponse:
        """Run a view of Django; show a refusal as a message on the page at `refused`."""
        try:
            return retried(view)() if request.method == "POST" else view()
        except ValidationError as refusal:
            message = refusal.messages[0]
        except IntegrityError:
            message = Conflict.default_detail
        messages.error(request, message)
        return HttpResponseRedirect(refused)


class ReadOnlyAdmin(WalletAdmin):
    """Read-only pages of rows that only the server writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
