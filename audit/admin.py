"""Admin pages that record what staff changes, and the page of the records."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join

from almaFintech.admin import ReadOnlyAdmin, WalletAdmin
from almaFintech.api.people import acting_user
from almaFintech.db.transactions import retried
from audit import trail
from audit.models import Record


class AuditedAdmin(WalletAdmin):
    """Pages that record every change, in the transaction that makes it."""

    def reason_of(self, request: HttpRequest) -> str:
        """Return the reason that the form gives for the change, or ""."""
        return ""

    def locked_row(self, row: Any) -> Any:
        """Return the row as it is now, locked until the transaction ends."""
        return trail.locked_row(row)

    def require_confirmed(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Raise ValidationError if the deletion of these locked rows was not confirmed."""

    def save_or_show(
        self, request: HttpRequest, object_id: str | None, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        with self.recorded_change(request, object_id):
            return super().save_or_show(request, object_id, *args, **kwargs)

    @contextmanager
    def recorded_change(self, request: HttpRequest, object_id: str | None) -> Iterator[None]:
        """Record what the block changes in the row that a POST edits."""
        row = None
        if request.method == "POST" and object_id is not None:
            row = self.get_object(request, unquote(object_id))
        if row is None or not self.has_change_permission(request, row):
            # An addition, or a page that Django refuses.
            yield
            return
        user, reason = acting_user(request), self.reason_of(request)
        with trail.changing(user, self.locked_row(row), reason=reason):
            yield

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        trail.created(acting_user(request), obj, reason=self.reason_of(request))
        return super().log_addition(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        # Django calls this just before it deletes: one row, or the selected ones.
        rows = trail.locked_to_delete(queryset)
        self.require_confirmed(request, rows)
        trail.deleted(acting_user(request), rows, reason=self.reason_of(request))
        return super().log_deletions(request, queryset)


@admin.register(Record)
class RecordAdmin(ReadOnlyAdmin):
    list_display = ("date", "username", "action", "kind", "number", "summary", "reason")
    list_filter = ("action",)
    list_display_links = ("date",)
    ordering = ("-id",)
    sortable_by = ()
    search_fields = ("number",)
    search_help_text = (
        "Number of the account, transfer or user, or of the user who did it, or the whole reason"
    )
    id_fields = ("number", "by")
    text_field = "reason"
    fields = ("date", "username", "by", "action", "kind", "number", "summary", "reason")

    @admin.display(description="Changes")
    def summary(self, record: Record) -> str:
        changes = (
            (name, *(json.dumps(value, ensure_ascii=False) for value in values))
            for name, values in record.changes.items()
        )
        return format_html_join(", ", "{}: {} → {}", changes)


def own_password(request: HttpRequest) -> HttpResponse:
    """Show Django's page on which staff change their own password, and record the change."""
    if request.method == "POST":
        return change_own_password(request)
    return admin.site.password_change(request)


@retried
def change_own_password(request: HttpRequest) -> HttpResponse:
    user = acting_user(request)
    with trail.changing(user, trail.locked_row(user)):
        return admin.site.password_change(request)
