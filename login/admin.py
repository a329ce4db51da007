"""Users and profiles in the admin."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from almaFintech.admin import NumberSelectMultiple, NumbersField
from audit.admin import AuditedAdmin
from login import staff
from login.models import Profile

# `is_staff` is the only permission, so groups would have no effect. A page that lists refresh
# tokens would give its readers the sessions of all users.
admin.site.unregister([Group, User, OutstandingToken, BlacklistedToken])


class ChoosesAccounts(BaseModelAdmin):
    """Pages that search for the accounts of a profile instead of listing all accounts."""

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> ModelMultipleChoiceField | None:
        kwargs["widget"] = NumberSelectMultiple(db_field, self.admin_site)
        kwargs["form_class"] = NumbersField
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class ProfileInline(ChoosesAccounts, admin.StackedInline):
    model = Profile
    can_delete = False


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin):
    list_display = ("username", "email", "first_name", "last_name", "is_staff", "is_active")
    list_filter = ("is_staff", "is_active")
    filter_horizontal = ()
    ordering = ("id",)
    sortable_by = ("username",)
    search_help_text = "Part of the username, the name or the email address"
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    inlines = (ProfileInline,)

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> Any:
        # The profile of a new user is made together with the user.
        return self.inlines if obj else ()

    def locked_row(self, row: User) -> User:
        staff.lock_with_staff([row.pk])
        user: User = super().locked_row(row)
        return user

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and not (obj.is_staff and obj.is_active):
            staff.refuse_to_lose_all([obj.pk])
        super().save_model(request, obj, form, change)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        # The page that deletes one user and the action that deletes many both begin here.
        ids = [user.pk for user in queryset]
        staff.lock_with_staff(ids)
        staff.refuse_to_lose_all(ids)
        return super().log_deletions(request, queryset)

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        view = super().user_change_password

        def change() -> HttpResponse:
            with self.recorded_change(request, id):
                return view(request, id, form_url)

        return self.run_view(request, change, refused=request.path)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # No page deletes a profile alone, but it is deleted with its user.
        to_delete, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, forbidden - {Profile._meta.verbose_name}, protected


@admin.register(Profile)
class ProfileAdmin(ChoosesAccounts, AuditedAdmin):
    list_display = ("user", "cuit", "phone", "company")
    ordering = ("user_id",)
    sortable_by = ("user",)
    search_fields = ("user__username", "cuit", "company")
    search_help_text = "Part of the username, the CUIT or the company"
    fields = ("user", "cuit", "phone", "company", "accounts")
    readonly_fields = ("user",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
