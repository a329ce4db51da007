"""The records in the admin, where everybody reads them and nobody edits them."""

import json

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join

from almaFintech.admin import ReadOnlyAdmin
from almaFintech.api.people import acting_user
from almaFintech.db.transactions import retried
from audit import trail
from audit.models import Record


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
    """Django's page on which staff change their own password, with a record of it."""

    def page() -> HttpResponse:
        return admin.site.password_change(request)

    if request.method != "POST":
        return page()

    def change() -> HttpResponse:
        user = acting_user(request)
        with trail.changing(user, trail.locked_row(user)):
            return page()

    return retried(change)()
