"""By what users are found."""

from django.contrib.auth.models import User
from django_filters import rest_framework as filters
from rest_framework import serializers

from almaFintech.api.queries import ApiFilter, text


class UserFilter(filters.FilterSet):
    username = ApiFilter(read_by=text(150, help_text="The whole name."), example="alice")
    email = ApiFilter(
        read_by=text(254, help_text="The whole address."), example="alice@wallet.example"
    )
    is_staff = ApiFilter(
        read_by=serializers.BooleanField(help_text="Whether they are staff."), example=False
    )
    is_active = ApiFilter(
        read_by=serializers.BooleanField(help_text="Whether they may log in."), example=True
    )

    class Meta:
        model = User
        fields = ()
