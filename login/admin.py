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

from almaFintech.admin import NumberSelectMultiple, NumbersField, WalletAdmin
from login.models import Profile

# Being staff is the only right there is, so groups would promise what they do not do; and a
# page that lists refresh tokens would lend every user's session to whoever reads it.
admin.site.unregister([Group, User, OutstandingToken, BlacklistedToken])


class ChoosesAccounts(BaseModelAdmin):
    """Pages on which the accounts of a profile are chosen, not from a list of all."""

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
class UserAdmin(WalletAdmin, DjangoUserAdmin):
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
        # The profile of a user who is yet to be added is made together with the user.
        return self.inlines if obj else ()

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        view = super().user_change_password
        return self._answer(request, request.path, lambda: view(request, id, form_url))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # No page deletes a profile, but it does go with its user.
        to_delete, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, forbidden - {Profile._meta.verbose_name}, protected


@admin.register(Profile)
class ProfileAdmin(ChoosesAccounts, WalletAdmin):
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
