"""What the OpenAPI document says of users, profiles and tokens beside what is derived."""

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import (
    OpenApiExample,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework import serializers

from accounts.serializers import AccountSerializer
from almaFintech.api.openapi import operation
from login.errors import OF_TOKENS, LoginFailed
from login.rates import TooManyFailedLogins, TooManyLogins
from login.serializers import (
    AccountIdSerializer,
    OwnNamesSerializer,
    OwnPasswordSerializer,
    ProfileSerializer,
    UserSerializer,
)
from login.staff import LastStaff

TOO_MANY = (TooManyFailedLogins(30), TooManyLogins(30))
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"  # noqa: S105  # signs nothing
USER = {
    "id": 2,
    "username": "alice",
    "first_name": "Alice",
    "last_name": "Rivers",
    "email": "alice@wallet.example",
    "is_staff": False,
    "is_active": True,
}
PROFILE = {
    "user_id": 2,
    "cuit": "20-12345678-9",
    "phone": "+54 11 5555 0100",
    "company": "Alma",
    "accounts": [1],
}
ME = {
    "user": USER,
    "profile": PROFILE,
    "accounts": [{"id": 1, "currency": "USD", "balance": 3_750_000}],
}


class Scheme(SimpleJWTScheme):
    target_class = "login.authentication.Authentication"


class CredentialsSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(help_text="The user's name, in its exact spelling.")
    password = serializers.CharField(
        trim_whitespace=False, help_text="The password; spaces around it are part of it."
    )


SECONDS = 300
EXPIRES_IN = "Seconds until the access token expires."


class TokenPairSerializer(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the header `Authorization: Bearer <access>`.")
    refresh = serializers.CharField(help_text="For a new access token.")
    expires_in = serializers.IntegerField(help_text=EXPIRES_IN)


class RefreshTokenSerializer(serializers.Serializer[Any]):
    refresh = serializers.CharField(help_text="A refresh token, as a login answered it.")


class RefreshedSerializer(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="The new access token.")
    refresh = serializers.CharField(
        required=False, help_text="Replaces the one sent, where refresh tokens rotate."
    )
    expires_in = serializers.IntegerField(help_text=EXPIRES_IN)


TOKENS = {"access": TOKEN, "refresh": TOKEN, "expires_in": SECONDS}


class LoggedOutSerializer(serializers.Serializer[Any]):
    """Nothing: the session has ended."""


class MeSerializer(serializers.Serializer[Any]):
    user = UserSerializer(help_text="The user.")
    profile = ProfileSerializer(help_text="The profile of the user.")
    accounts = AccountSerializer(many=True, help_text="The accounts of the profile.")


class Login(OpenApiViewExtension):
    target_class = "rest_framework_simplejwt.views.TokenObtainPairView"
    match_subclasses = True

    def view_replacement(self) -> type:
        @extend_schema_view(
            post=operation(
                "login",
                "Log in",
                description="An access and a refresh token for a username and password.",
                errors=(LoginFailed, *TOO_MANY),
                request=CredentialsSerializer,
                responses=TokenPairSerializer,
                examples=[
                    OpenApiExample(
                        "Credentials",
                        value={"username": "admin", "password": "admin"},
                        request_only=True,
                    ),
                    OpenApiExample("Two tokens", value=TOKENS, response_only=True),
                ],
            )
        )
        class View(self.target_class):  # type: ignore[name-defined]
            pass

        return View


class Refresh(OpenApiViewExtension):
    target_class = "rest_framework_simplejwt.views.TokenRefreshView"
    match_subclasses = True

    def view_replacement(self) -> type:
        @extend_schema_view(
            post=operation(
                "refreshToken",
                "Get a new access token",
                description="A new access token for a refresh token.",
                errors=(*OF_TOKENS, TooManyFailedLogins(30)),
                request=RefreshTokenSerializer,
                responses=RefreshedSerializer,
                examples=[
                    OpenApiExample("A refresh", value={"refresh": TOKEN}, request_only=True),
                    OpenApiExample(
                        "A new token",
                        value={"access": TOKEN, "expires_in": SECONDS},
                        response_only=True,
                    ),
                ],
            )
        )
        class View(self.target_class):  # type: ignore[name-defined]
            pass

        return View


class Logout(OpenApiViewExtension):
    target_class = "rest_framework_simplejwt.views.TokenBlacklistView"
    match_subclasses = True

    def view_replacement(self) -> type:
        @extend_schema_view(
            post=operation(
                "logout",
                "Log out",
                description="End the session of a refresh token: all tokens that were made from "
                "the same login, the access tokens included.",
                errors=OF_TOKENS,
                request=RefreshTokenSerializer,
                responses=LoggedOutSerializer,
                examples=[
                    OpenApiExample("A token", value={"refresh": TOKEN}, request_only=True),
                    OpenApiExample("Nothing", value={}, response_only=True),
                ],
            )
        )
        class View(self.target_class):  # type: ignore[name-defined]
            pass

        return View


class Me(OpenApiViewExtension):
    target_class = "login.views.MeView"

    def view_replacement(self) -> type:
        @extend_schema_view(
            get=operation(
                "getMe",
                "Get the own user, profile and accounts",
                tags=["login"],
                responses=MeSerializer,
                examples=[OpenApiExample("Alice", value=ME)],
            ),
            patch=operation(
                "editMe",
                "Edit your own names and email address",
                tags=["login"],
                description="Change what is sent. Fields that only staff may change are ignored.",
                request=OwnNamesSerializer,
                responses=MeSerializer,
                examples=[
                    OpenApiExample("A name", value={"first_name": "Alice"}, request_only=True),
                    OpenApiExample("Alice", value=ME, response_only=True),
                ],
            ),
        )
        class View(self.target_class):  # type: ignore[name-defined]
            pass

        return View


class OwnPassword(OpenApiViewExtension):
    target_class = "login.views.OwnPasswordView"

    def view_replacement(self) -> type:
        @extend_schema_view(
            post=operation(
                "changeMyPassword",
                "Change your own password",
                tags=["login"],
                description="All your tokens end, and the answer brings new ones. Wrong old "
                "passwords are limited like failed logins.",
                errors=TOO_MANY,
                request=OwnPasswordSerializer,
                responses={200: TokenPairSerializer},
                examples=[
                    OpenApiExample(
                        "Two passwords",
                        value={
                            "old_password": "a long and quiet river",
                            "new_password": "another quiet river",
                        },
                        request_only=True,
                    ),
                    OpenApiExample("New tokens", value=TOKENS, response_only=True),
                ],
            )
        )
        class View(self.target_class):  # type: ignore[name-defined]
            pass

        return View


extend_schema_serializer(
    examples=[
        OpenApiExample("A user", value=USER, response_only=True),
        OpenApiExample(
            "A new user",
            value={
                "username": "alice",
                "password": "a long and quiet river",
                "first_name": "Alice",
            },
            request_only=True,
        ),
    ]
)(UserSerializer)
extend_schema_serializer(
    examples=[
        OpenApiExample("A profile", value=PROFILE, response_only=True),
        OpenApiExample(
            "What is to be kept",
            value={key: PROFILE[key] for key in ("cuit", "phone", "company", "accounts")},
            request_only=True,
        ),
    ]
)(ProfileSerializer)
extend_schema_serializer(
    examples=[OpenApiExample("An account", value={"account_id": 1}, request_only=True)]
)(AccountIdSerializer)


class UserEditSerializer(UserSerializer):
    """A user to edit, who keeps a password that is left out."""

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        fields["password"].required = False
        return fields


document_users = extend_schema_view(
    list=operation(
        summary="List users", description="All users, by id unless `ordering` says otherwise."
    ),
    create=operation(
        summary="Create a user",
        description="Create a user, who gets an empty profile. With an `Idempotency-Key` the "
        "request may be repeated. Requests that differ in the password alone are the same request "
        "to the key, because no quick hash of a password is stored.",
    ),
    retrieve=operation(
        summary="Get a user", description="One user; the password never comes back."
    ),
    update=operation(
        summary="Edit a user",
        description="Edit a user. What is left out keeps its value, the password too, but the "
        "`username` must be there. A new password ends the tokens of the user.",
        request=UserEditSerializer,
        responses=UserSerializer,
        errors=[LastStaff],
    ),
    partial_update=operation(
        summary="Edit some fields of a user",
        description="Edit those fields of a user that are sent. A new password ends the tokens "
        "of the user.",
        errors=[LastStaff],
    ),
    destroy=operation(
        summary="Delete a user",
        description="Delete a user, with the profile and the tokens. The accounts stay, and so "
        "does the number of the user where it stands in transfers and entries.",
        errors=[LastStaff],
    ),
)

document_profiles = extend_schema_view(
    list=operation(
        summary="List profiles",
        description="The profile of every user, by the id of the user.",
        responses=ProfileSerializer(many=True),
    ),
    retrieve=operation(summary="Get a profile", description="The profile of one user."),
    update=operation(
        summary="Edit a profile",
        description="Edit the profile of a user. What is left out keeps its value; `accounts` "
        "replaces the whole list.",
    ),
    partial_update=operation(
        summary="Edit some fields of a profile",
        description="Edit those fields of a profile that are sent; `accounts` replaces the whole "
        "list.",
    ),
    add_account=operation(
        "addProfileAccount", "Give access to an account", responses=ProfileSerializer
    ),
    remove_account=operation(
        "removeProfileAccount", "Take access to an account away", responses=ProfileSerializer
    ),
)
