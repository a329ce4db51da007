"""Query parameters of users."""

from rest_framework import serializers

from almaFintech.api.queries import ListQuery, exact_text


class UserQuery(ListQuery):
    orderings = {"id": ("id",), "username": ("username",)}

    username = exact_text(150, "The whole name. For example `alice`.")
    email = exact_text(254, "The whole address. For example `alice@wallet.example`.")
    is_staff = serializers.BooleanField(
        required=False, help_text="Whether they are staff. For example `false`."
    )
    is_active = serializers.BooleanField(
        required=False, help_text="Whether they may log in. For example `true`."
    )
