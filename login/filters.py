"""By what users are found."""

from django.contrib.auth.models import User
from django_filters import rest_framework as filters
from rest_framework import serializers

from almaFintech.filters import ApiFilter, text


class UserFilter(filters.FilterSet):
    username = ApiFilter(read_by=text(150), example="alice")
    email = ApiFilter(read_by=text(254), example="alice@wallet.example")
    is_staff = ApiFilter(read_by=serializers.BooleanField(), example=False)
    is_active = ApiFilter(read_by=serializers.BooleanField(), example=True)

    class Meta:
        model = User
        fields = ()
