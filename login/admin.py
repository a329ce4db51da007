"""Users and profiles in the admin."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from almaFintech.admin import NumberSelectMultiple, NumbersField, WalletAdmin
from login import staff
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


class SearchesNames(WalletAdmin):
    """Pages whose search looks for every word of a text in several columns."""

    # No column holds more, and of a thousand words the database makes no query.
    longest_search = 254

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if len(search_term) > self.longest_search:
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)


class ProfileInline(ChoosesAccounts, admin.StackedInline):
    model = Profile
    can_delete = False


@admin.register(User)
class UserAdmin(SearchesNames, DjangoUserAdmin):
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

    def get_object(self, request: HttpRequest, *args: Any) -> Any:
        page = request.resolver_match.url_name if request.resolver_match else ""
        if request.method == "POST" and page == "auth_user_change":
            row = super(WalletAdmin, self).get_object(request, *args)
            staff.lock_with_staff([row.pk] if row else [])
        return super().get_object(request, *args)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and not (obj.is_staff and obj.is_active):
            staff.refuse_to_lose_all([obj.pk])
        super().save_model(request, obj, form, change)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        # Both the page that deletes one and the action that deletes many begin here.
        ids = [user.pk for user in queryset]
        staff.lock_with_staff(ids)
        staff.refuse_to_lose_all(ids)
        return super().log_deletions(request, queryset)

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
class ProfileAdmin(ChoosesAccounts, SearchesNames):
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
