"""The floor: what DRF and an access token cost before a server does anything.

A Django project in one file: one APIView with a constant response, behind simplejwt's own
authentication, which selects the user. It has no middleware and no log, and keeps its connections.
`python -m bench.speed.floor` creates the tables and prints a token of the only user.
"""

import os
from datetime import timedelta

import django
import environ
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.urls import path

if not settings.configured:
    settings.configure(
        SECRET_KEY=os.environ["SECRET_KEY"],
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="bench.speed.floor",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
        MIDDLEWARE=[],
        DATABASES={"default": {**environ.Env().db("DATABASE_URL"), "CONN_MAX_AGE": None}},
        LOGGING_CONFIG=None,
        USE_TZ=True,
        REST_FRAMEWORK={
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "DEFAULT_AUTHENTICATION_CLASSES": [
                "rest_framework_simplejwt.authentication.JWTAuthentication"
            ],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        },
        SIMPLE_JWT={"ACCESS_TOKEN_LIFETIME": timedelta(days=1)},
    )
    django.setup()

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class FloorView(APIView):
    def get(self, request: Request) -> Response:
        return Response({"id": 1, "currency": "USD", "balance": 1_000_000})


urlpatterns = [path("", FloorView.as_view())]
application = WSGIHandler()


def main() -> None:
    from django.contrib.auth.models import User
    from rest_framework_simplejwt.tokens import AccessToken

    call_command("migrate", verbosity=0)
    print(AccessToken.for_user(User.objects.create(username="alice")))


if __name__ == "__main__":
    main()
