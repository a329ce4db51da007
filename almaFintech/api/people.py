"""Access to the user of a request."""

from typing import cast

from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.request import Request


def acting_user(request: Request | HttpRequest) -> User:
    """Return the user of a request that has passed the permissions."""
    return cast(User, request.user)
