"""By what users are found."""

from django.contrib.auth.models import User
from django_filters import rest_framework as filters
from rest_framework import serializers

from almaFintech.filters import ApiFilter


class UserFilter(filters.FilterSet):
    username = ApiFilter(read_by=serializers.CharField(max_length=150, trim_whitespace=False))
    email = ApiFilter(read_by=serializers.CharField(max_length=254, trim_whitespace=False))
    is_staff = ApiFilter(read_by=serializers.BooleanField())
    is_active = ApiFilter(read_by=serializers.BooleanField())

    class Meta:
        model = User
        fields = ()
