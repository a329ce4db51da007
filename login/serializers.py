"""The JSON of users and profiles, of logins and tokens."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.generics import get_object_or_404
from rest_framework.relations import PrimaryKeyRelatedField

from accounts.fields import WholeNumberField
from accounts.models import Account
from accounts.serializers import AccountSerializer
from almaFintech.api.serializers import SharedFields
from login import staff
from login.models import Profile

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


def shown(name: str, value: Any) -> OpenApiExample:
    """Return an example of a response."""
    return OpenApiExample(name, value, response_only=True)


def sent(name: str, value: Any) -> OpenApiExample:
    """Return an example of a request."""
    return OpenApiExample(name, value, request_only=True)


class UsernameField(serializers.CharField):
    """A name in the form that Django stores, so that names that look alike are the same."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        # Checked before as well: normalizing a name takes time quadratic in its length.
        if self.max_length is not None and len(text) > self.max_length:
            message = self.error_messages["max_length"].format(max_length=self.max_length)
            raise serializers.ValidationError(message, code="max_length")
        return User.normalize_username(text)


NAMES = {
    "first_name": {"help_text": "Given name."},
    "last_name": {"help_text": "Family name."},
    "email": {"help_text": "E-mail address; nothing is sent to it."},
}


def password_field(help_text: str, *, required: bool = True) -> serializers.CharField:
    return serializers.CharField(
        write_only=True,
        required=required,
        max_length=128,
        trim_whitespace=False,
        style={"input_type": "password"},
        help_text=help_text,
    )


def check_new_password(field: str, password: str, user: User) -> None:
    try:
        validate_password(password, user=user)
    except DjangoValidationError as error:
        raise serializers.ValidationError({field: error.messages}) from error


@extend_schema_serializer(
    examples=[
        shown("A user", USER),
        sent(
            "A new user",
            {"username": "alice", "password": "a long and quiet river", "first_name": "Alice"},
        ),
    ]
)
class UserSerializer(serializers.ModelSerializer[User]):
    password = password_field("Write only: no response shows it.")

    class Meta:
        model = User
        fields = (
            "id",
            "username",
            "password",
            "first_name",
            "last_name",
            "email",
            "is_staff",
            "is_active",
        )
        extra_kwargs = {"id": {"help_text": "Number of the user."}, **NAMES}

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        for name in ("is_staff", "is_active"):
            # DRF reads a flag that a form leaves out as a box that was not ticked.
            fields[name].default_empty_html = empty
        return fields

    def build_standard_field(self, field_name: str, model_field: Any) -> tuple[Any, Any]:
        field_class, options = super().build_standard_field(field_name, model_field)
        return (UsernameField if field_name == User.USERNAME_FIELD else field_class), options

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "password" in attrs:
            names = (User.USERNAME_FIELD, "first_name", "last_name", "email")
            known = {name: attrs.get(name, getattr(self.instance, name, "")) for name in names}
            check_new_password("password", attrs["password"], User(**known))
        return attrs

    def create(self, validated_data: dict[str, Any]) -> User:
        return User.objects.create_user(**validated_data)

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        if "password" in validated_data:
            validated_data["password"] = make_password(validated_data["password"])
        if not all(validated_data.get(name, True) for name in ("is_staff", "is_active")):
            staff.refuse_to_lose_all([instance.pk])
        # Writes only what was sent: a user who was deactivated or deleted meanwhile stays so.
        User.objects.filter(pk=instance.pk).update(**validated_data)
        return get_object_or_404(User, pk=instance.pk)


class UserEditSerializer(UserSerializer):
    """An edit of a user. Without a password, the user keeps the old one."""

    password = password_field("The new password.", required=False)


@extend_schema_serializer(examples=[sent("A name", {"first_name": "Alice"})])
class OwnNamesSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
        extra_kwargs = NAMES

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        User.objects.filter(pk=instance.pk).update(**validated_data)
        return get_object_or_404(User, pk=instance.pk)


@extend_schema_serializer(
    examples=[
        sent(
            "Two passwords",
            {"old_password": "a long and quiet river", "new_password": "another quiet river"},
        )
    ]
)
class OwnPasswordSerializer(serializers.Serializer[User]):
    """Two passwords of the `user` in the context."""

    old_password = password_field("Your present password.")
    new_password = password_field("The password that replaces it.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_new_password("new_password", attrs["new_password"], self.context["user"])
        return attrs


def account_id_field(**options: Any) -> PrimaryKeyRelatedField[Account]:
    accounts = Account.objects.all()
    return PrimaryKeyRelatedField(queryset=accounts, pk_field=WholeNumberField(), **options)


class AccountIdsField(serializers.ManyRelatedField):
    """The ids of accounts, which are looked up in one query."""

    max_length = 1000
    default_error_messages = {
        "max_length": "Ensure this field has no more than {max_length} elements.",
        "does_not_exist": PrimaryKeyRelatedField.default_error_messages["does_not_exist"],
    }

    def get_value(self, dictionary: Any) -> Any:
        # The base class reads a list that a form leaves out as an empty one.
        return super().get_value(dictionary) if self.field_name in dictionary else empty

    def to_internal_value(self, data: Any) -> Iterable[Account]:
        # The base class accepts all iterables, and so the keys of a JSON object.
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        number = WholeNumberField()
        ids = dict.fromkeys(number.run_validation(each) for each in data)
        found = Account.objects.in_bulk(ids)
        if unknown := ids.keys() - found.keys():
            message = self.error_messages["does_not_exist"]
            raise serializers.ValidationError(
                [message.format(pk_value=id) for id in sorted(unknown)], code="does_not_exist"
            )
        return found.values()


@extend_schema_serializer(
    examples=[
        shown("A profile", PROFILE),
        sent("An edit", {name: PROFILE[name] for name in ("cuit", "phone", "company", "accounts")}),
    ]
)
class ProfileSerializer(serializers.ModelSerializer[Profile]):
    accounts = AccountIdsField(
        child_relation=account_id_field(),
        required=False,
        help_text="Ids of the accounts that the user sees and sends from.",
    )

    class Meta:
        model = Profile
        fields = ("user_id", "cuit", "phone", "company", "accounts")
        read_only_fields = ("user_id",)
        extra_kwargs = {
            "user_id": {"help_text": "Id of the user whom the profile describes."},
            "cuit": {"help_text": "Tax identification code."},
            "phone": {"help_text": "Telephone number."},
            "company": {"help_text": "Company the user works for."},
        }


@extend_schema_serializer(examples=[sent("An account", {"account_id": 1})])
class AccountIdSerializer(serializers.Serializer[Any]):
    account_id = account_id_field(help_text="Id of the account.")


@extend_schema_serializer(
    examples=[
        shown(
            "Alice",
            {
                "user": USER,
                "profile": PROFILE,
                "accounts": [{"id": 1, "currency": "USD", "balance": 3_750_000}],
            },
        )
    ]
)
class MeSerializer(SharedFields):
    user = UserSerializer(help_text="The user.")
    profile = ProfileSerializer(help_text="The profile of the user.")
    accounts = AccountSerializer(many=True, help_text="The accounts of the profile.")


@extend_schema_serializer(
    examples=[sent("Credentials", {"username": "admin", "password": "admin"})]
)
class CredentialsSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(help_text="The user's name, in its exact spelling.")
    password = serializers.CharField(
        trim_whitespace=False, help_text="The password; spaces around it are part of it."
    )


@extend_schema_serializer(examples=[sent("A refresh token", {"refresh": TOKEN})])
class RefreshTokenSerializer(serializers.Serializer[Any]):
    refresh = serializers.CharField(help_text="A refresh token, as a login returned it.")


@extend_schema_serializer(
    examples=[shown("Tokens", {"access": TOKEN, "refresh": TOKEN, "expires_in": 300})]
)
class TokenPairSerializer(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the header `Authorization: Bearer <access>`.")
    refresh = serializers.CharField(help_text="For a new access token.")
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires.")


@extend_schema_serializer(examples=[shown("A token", {"access": TOKEN, "expires_in": 300})])
class RefreshedSerializer(TokenPairSerializer):
    refresh = serializers.CharField(
        required=False, help_text="Replaces the one sent, where refresh tokens rotate."
    )


@extend_schema_serializer(examples=[shown("Nothing", {})])
class LoggedOutSerializer(serializers.Serializer[Any]):
    """An empty object: the session has ended."""
