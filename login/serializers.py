"""The JSON of users and profiles, of the login and of the refresh of tokens."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import transaction
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.fields import empty
from rest_framework.generics import get_object_or_404
from rest_framework.relations import PrimaryKeyRelatedField
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.serializers import (
    PasswordField,
    TokenBlacklistSerializer,
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.settings import api_settings as jwt_settings

from accounts.models import Account
from accounts.serializers import WholeNumberField
from almaFintech.db.transactions import retried
from login import staff
from login.errors import TokenExpired, UserNotFound
from login.models import Profile
from login.rates import REFRESH, Attempt
from login.sessions import user_of
from login.tokens import AccessToken, RefreshToken


class UsernameField(serializers.CharField):
    """A name in the form that Django stores, so that all that look alike are one."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        # Asked before as well as after: the time to normalize it grows with the square of its
        # length.
        if self.max_length is not None and len(text) > self.max_length:
            message = self.error_messages["max_length"].format(max_length=self.max_length)
            raise serializers.ValidationError(message, code="max_length")
        return User.normalize_username(text)


NAMES = {
    "first_name": {"help_text": "Given name."},
    "last_name": {"help_text": "Family name."},
    "email": {"help_text": "E-mail address; nothing is sent to it."},
}


def password_field(help_text: str) -> serializers.CharField:
    return serializers.CharField(
        write_only=True,
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


class UserSerializer(serializers.ModelSerializer[User]):
    password = password_field("Never comes back. An edit that leaves it out keeps it.")

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
        # An edit that says nothing of the password keeps it.
        fields["password"].required = self.instance is None
        for name in ("is_staff", "is_active"):
            # DRF takes a flag that a form leaves out for a box that was not ticked.
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
        # Only what was sent is written: whoever was deactivated or deleted meanwhile stays so.
        User.objects.filter(pk=instance.pk).update(**validated_data)
        return get_object_or_404(User, pk=instance.pk)


class OwnNamesSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
        extra_kwargs = NAMES

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        User.objects.filter(pk=instance.pk).update(**validated_data)
        return get_object_or_404(User, pk=instance.pk)


class OwnPasswordSerializer(serializers.Serializer[User]):
    """Two passwords; `user` in the context is whose they are."""

    old_password = password_field("Your present password.")
    new_password = password_field("The password that replaces it.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_new_password("new_password", attrs["new_password"], self.context["user"])
        return attrs


def account_id_field(**options: Any) -> PrimaryKeyRelatedField[Account]:
    accounts = Account.objects.all()
    return PrimaryKeyRelatedField(queryset=accounts, pk_field=WholeNumberField(), **options)


class AccountIdsField(serializers.ManyRelatedField):
    """The ids of accounts, which are looked up together and not one by one."""

    max_length = 1000
    default_error_messages = {
        "max_length": "Ensure this field has no more than {max_length} elements.",
        "does_not_exist": PrimaryKeyRelatedField.default_error_messages["does_not_exist"],
    }

    def get_value(self, dictionary: Any) -> Any:
        # The base class takes a list that a form leaves out for one that was emptied.
        return super().get_value(dictionary) if self.field_name in dictionary else empty

    def to_internal_value(self, data: Any) -> Iterable[Account]:
        # The base class takes whatever can be iterated, and so the keys of a JSON object.
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
            "user_id": {"help_text": "Id of the user whose profile it is."},
            "cuit": {"help_text": "Tax identification code."},
            "phone": {"help_text": "Telephone number."},
            "company": {"help_text": "Company the user works for."},
        }


class AccountIdSerializer(serializers.Serializer[Any]):
    account_id = account_id_field(help_text="Id of the account.")


def seconds_of_access() -> int:
    """For how long a new access token works."""
    return int(AccessToken.lifetime.total_seconds())


class LoginSerializer(TokenObtainPairSerializer):
    token_class = RefreshToken

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Spaces around a password are part of it, here as where it was set.
        self.fields["password"] = PasswordField(trim_whitespace=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {**super().validate(attrs), "expires_in": seconds_of_access()}


def tokens_for(user: User) -> dict[str, Any]:
    """What a login answers: a new session of `user`."""
    refresh = RefreshToken.for_user(user)
    return {
        "refresh": str(refresh),
        "access": str(refresh.access_token),
        "expires_in": seconds_of_access(),
    }


class RefreshSerializer(TokenRefreshSerializer):
    """Refresh for a user who may still log in; with rotation, once for each token."""

    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attempt = Attempt(REFRESH, self.context["request"])
        try:
            refresh = self.token_class(attrs["refresh"])
            # Only a token of ours tells whose it is.
            attempt.by(str(refresh[jwt_settings.USER_ID_CLAIM]))
            # The same questions that every request with an access token answers.
            user = user_of(refresh)
            data = retried(super().validate)(attrs)
        except (TokenError, AuthenticationFailed) as error:
            attempt.failed()
            if isinstance(error, ExpiredTokenError):
                raise TokenExpired() from error
            raise
        except User.DoesNotExist as error:
            # Deleted since it was looked up.
            attempt.failed()
            raise UserNotFound from error
        attempt.succeeded(user)
        return {**data, "expires_in": seconds_of_access()}


class LogoutSerializer(TokenBlacklistSerializer):
    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            refresh = self.token_class(attrs["refresh"])
        except ExpiredTokenError as error:
            raise TokenExpired() from error
        with transaction.atomic():
            refresh.blacklist()
            refresh.end_session()
        return {}
