"""What the admin pages of all models share."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from django.db import DataError, IntegrityError
from django.db.models import BigIntegerField, Model, Q, QuerySet
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode

from almaFintech.api.people import acting_user
from almaFintech.db.transactions import retried
from almaFintech.refusals import Conflict, Refusal, Unstorable
from audit import trail

# An action takes no more rows: the form that asks "are you sure?" holds a field for each, and
# Django reads at most DATA_UPLOAD_MAX_NUMBER_FIELDS (1000) of those.
MOST_AT_ONCE = 500

admin.site.site_header = admin.site.site_title = "almaFintech"
admin.site.index_title = "Administration"
# The site is an API, which has nothing to view; and the lists need the width of the page.
admin.site.site_url = None
admin.site.enable_nav_sidebar = False


class BoundedPaginator(Paginator):
    """A paginator that stops counting at `most`: a full count reads the whole table."""

    most = 10_000

    @cached_property
    def count(self) -> int:
        rows = cast(QuerySet[Any], self.object_list)
        return rows.order_by()[: self.most].count()


@contextmanager
def senseless_lookups_refused() -> Iterator[None]:
    """Let Django treat as senseless also a lookup that it takes and the database does not.

    It catches a month 13, but not a year that has no next one, nor a number beyond 64 bits: those
    fail where the filters are made or, in a lookup that no filter has, where the rows are counted.
    """
    try:
        yield
    except (LookupError, OverflowError, ValueError) as error:
        raise IncorrectLookupParameters(error) from error


class BoundedList(ChangeList):
    """A list that says when it ends before its rows do."""

    def get_results(self, request: HttpRequest) -> None:
        with senseless_lookups_refused():
            super().get_results(request)
        if self.result_count >= BoundedPaginator.most:
            listed = (
                f"The pages end after {BoundedPaginator.most} rows: search and filter for more."
            )
            self.search_help_text = f"{self.search_help_text}. {listed}"

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        rows = super().get_queryset(request, *args, **kwargs)
        # Django takes a search for a NUL as none, and an action would then be on every row.
        return rows if self.search_form_class(request.GET).is_valid() else rows.none()

    def get_filters(self, request: HttpRequest) -> Any:
        with senseless_lookups_refused():
            return super().get_filters(request)


def is_number(text: str) -> bool:
    """Tell whether `text` may be the number of a row, none of which is beyond 64 bits."""
    return bool(re.fullmatch("[0-9]{1,19}", text)) and int(text) <= BigIntegerField.MAX_BIGINT


class ShowsAnything(AutocompleteMixin):
    """An autocomplete field that can show any value again: Django's looks up even `abc`."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        return super().optgroups(name, [text for text in value if is_number(text)], attr)


class NumberSelect(ShowsAnything, AutocompleteSelect):
    pass


class NumberSelectMultiple(ShowsAnything, AutocompleteSelectMultiple):
    pass


class NumbersField(ModelMultipleChoiceField):
    """Rows chosen by number, of which Django's field looks up even those beyond 64 bits."""

    def clean(self, value: Any) -> Any:
        for text in value or ():
            if not is_number(text):
                raise ValidationError(
                    self.error_messages["invalid_choice"], "invalid_choice", {"value": text}
                )
        return super().clean(value)


class WalletAdmin(admin.ModelAdmin):
    """Pages that open over a million rows and show every refusal as a message.

    `id_fields` are the columns that a number in the search box is looked up in, `text_field` the
    one that any other text is compared with. The lists are
    sorted by columns that have an index: name no other in `sortable_by`.
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
        again = request.path if object_id else self.filled_form(request)
        view = super().changeform_view
        return self._answer(request, again, lambda: view(request, object_id, *args, **kwargs))

    def filled_form(self, request: HttpRequest, **changes: str) -> str:
        """The address of an add page with what was typed and `changes` to it.

        The page fills its form from the query.
        """
        names = flatten_fieldsets(self.get_fieldsets(request))
        typed = {name: request.POST.get(name, "") for name in names if "password" not in name}
        return f"{request.path}?{urlencode({**typed, **changes})}"

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        view = super().delete_view
        return self._answer(request, request.path, lambda: view(request, *args, **kwargs))

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        view = super().changelist_view
        again = request.get_full_path()
        return self._answer(request, again, lambda: view(request, *args, **kwargs))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        fault = self._fault_of_selection(request, queryset)
        if fault:
            messages.error(request, f"{fault} Nothing was changed.")
            return None
        return super().response_action(request, queryset, *args, **kwargs)

    def _fault_of_selection(self, request: HttpRequest, listed: QuerySet[Any]) -> str:
        """Say why an action cannot be on the selected ones of the listed rows; "" when it can."""
        # Read as Django's form of the actions reads it, or it might act on what was not looked at.
        across = ActionForm.base_fields["select_across"]
        if across.clean(request.POST.get("select_across")):
            rows = listed[: MOST_AT_ONCE + 1].count()
            if rows > MOST_AT_ONCE:
                return f"Select at most {MOST_AT_ONCE} at once."
            return "" if rows else "The list is empty."
        selected = set(request.POST.getlist(ACTION_CHECKBOX_NAME))
        numbers = {int(text) for text in selected if is_number(text)}
        # A row may have left the list since the page was opened, by a filter that it no longer
        # meets. Who selected it would take an action on the others for one on all.
        if len(numbers) < len(selected) or listed.filter(pk__in=numbers).count() < len(numbers):
            return "Not all of what was selected is in the list: select again."
        return ""

    def get_object(self, request: HttpRequest, *args: Any) -> Any:
        row = super().get_object(request, *args)
        # Not on the page that deletes, where the ledger locks the transfers before the account.
        page = request.resolver_match.url_name or "" if request.resolver_match else ""
        edits = request.method == "POST" and page.endswith("_change")
        if row is not None and edits and self.has_change_permission(request, row):
            row.state_before = trail.state_of(trail.locked_row(row))
        return row

    def reason_of(self, request: HttpRequest) -> str:
        """The reason that the form gives for what it does; "" where it asks for none."""
        return ""

    def require_confirmed(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Raise a ValidationError when locked rows are not those whose deletion was confirmed."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        trail.created(acting_user(request), obj, reason=self.reason_of(request))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        trail.changed(acting_user(request), obj, obj.state_before, reason=self.reason_of(request))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        rows = trail.locked_to_delete(queryset)
        self.require_confirmed(request, rows)
        trail.deleted(acting_user(request), rows, reason=self.reason_of(request))
        return super().log_deletions(request, queryset)

    def _answer(
        self, request: HttpRequest, again: str, view: Callable[[], HttpResponse]
    ) -> HttpResponse:
        """Run a view of Django's; when it is refused, say why on the page at `again`."""
        try:
            return retried(view)() if request.method == "POST" else view()
        except Refusal as refusal:
            message = refusal.detail
        except ValidationError as error:
            message = error.messages[0]
        except IntegrityError:
            message = Conflict.default_detail
        except DataError:
            # What cannot be stored, such as a NUL, cannot be looked up either. It may stand in
            # the query, so the page is opened without one.
            message, again = Unstorable.default_detail, request.path
        messages.error(request, message)
        return HttpResponseRedirect(again)


class ReadOnlyAdmin(WalletAdmin):
    """Pages of rows that the server writes and nobody edits."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
