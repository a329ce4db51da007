"""The endpoints of users, profiles and tokens. Their docstrings are the API's documentation."""

from contextlib import nullcontext
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from drf_spectacular.utils import extend_schema_view
from rest_framework import mixins, serializers, views, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import ExpiredTokenError, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.views import TokenViewBase

from accounts.idempotency import CreatedOnce
from accounts.models import Account
from almaFintech.api.openapi import operation
from almaFintech.api.people import acting_user
from almaFintech.api.queries import ListQuery, QueryMixin
from almaFintech.db.transactions import retried
from almaFintech.refusals import Conflict
from audit import trail
from audit.views import AuditedModelViewSet, AuditedViewSet
from login import staff
from login.backends import has_password
from login.errors import OF_REFRESH, LoginFailed, TokenExpired
from login.models import Profile, ProfileQuerySet
from login.queries import UserQuery
from login.rates import LOGIN, REFRESH, Attempt, TooManyFailedLogins, TooManyLogins
from login.serializers import (
    AccountIdSerializer,
    CredentialsSerializer,
    LoggedOutSerializer,
    MeSerializer,
    OwnNamesSerializer,
    OwnPasswordSerializer,
    ProfileSerializer,
    RefreshedSerializer,
    RefreshTokenSerializer,
    TokenPairSerializer,
    UserEditSerializer,
    UserSerializer,
)
from login.sessions import user_of
from login.tokens import RefreshToken, access_from, tokens_for


class Scheme(SimpleJWTScheme):
    """Our access tokens in the OpenAPI document."""

    target_class = "login.authentication.Authentication"


OF_LOGINS = (TooManyFailedLogins(30), TooManyLogins(30))


class LoginView(TokenViewBase):
    """Login with a username and a password."""

    serializer_class = CredentialsSerializer

    @operation("login", errors=(LoginFailed, *OF_LOGINS), responses=TokenPairSerializer)
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Log in.

        An access and a refresh token for a username and password.
        """
        credentials = self.get_serializer(data=request.data)
        credentials.is_valid(raise_exception=True)
        user = authenticate(request, **credentials.validated_data)
        if not isinstance(user, User):
            raise LoginFailed
        return Response(tokens_for(user))


class RefreshTokenView(TokenViewBase):
    """Base class of the views that take a refresh token."""

    serializer_class = RefreshTokenSerializer

    def raw_token(self) -> str:
        serializer = self.get_serializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data["refresh"]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ExpiredTokenError):
            exc = TokenExpired()
        elif isinstance(exc, TokenError):
            exc = InvalidToken(str(exc))
        return super().handle_exception(exc)


class RefreshView(RefreshTokenView):
    """Renewal of an access token."""

    @operation(
        "refreshToken",
        errors=(*OF_REFRESH, TooManyFailedLogins(30)),
        responses=RefreshedSerializer,
    )
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Get a new access token.

        A new access token for a refresh token. If refresh tokens rotate, the response also has a
        new refresh token, and the one sent has ended.
        """
        raw = self.raw_token()
        attempt = Attempt(REFRESH, request)
        try:
            # Outside the transaction of `renew`: a token that was used up may end its session.
            refresh = RefreshToken(raw)
            attempt.by(refresh[api_settings.USER_ID_CLAIM])
            user, tokens = self.renew(raw)
        except (TokenError, AuthenticationFailed):
            attempt.failed()
            raise
        attempt.succeeded(user)
        return Response(tokens)

    @retried
    def renew(self, raw: str) -> tuple[User, dict[str, Any]]:
        refresh = RefreshToken(raw)
        # The same checks as for every request with an access token.
        user = user_of(refresh)
        tokens = access_from(refresh)
        if api_settings.ROTATE_REFRESH_TOKENS:
            refresh.rotate()
            tokens["refresh"] = str(refresh)
        return user, tokens


class LogoutView(RefreshTokenView):
    """End of a session."""

    @operation("logout", errors=OF_REFRESH, responses=LoggedOutSerializer)
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Log out.

        End the session of a refresh token: all tokens that were made from the same login, the
        access tokens included.
        """
        self.end(RefreshToken(self.raw_token()))
        return Response({})

    @retried
    def end(self, refresh: RefreshToken) -> None:
        refresh.blacklist()
        refresh.end_session()


@extend_schema_view(
    list=operation(
        summary="List users", description="All users, ordered by id unless `ordering` is sent."
    ),
    create=operation(
        summary="Create a user",
        description="The user gets an empty profile. With an `Idempotency-Key` the request may be "
        "repeated. Requests that differ only in the password count as the same request, "
        "because no quick hash of a password is stored.",
    ),
    retrieve=operation(summary="Get a user", description="One user, without the password."),
    update=operation(
        summary="Edit a user",
        description="Omitted fields, including the password, keep their values, but the `username` "
        "is required. A new password ends the tokens of the user.",
        errors=[staff.LastStaff],
        responses=UserSerializer,
    ),
    partial_update=operation(
        summary="Edit some fields of a user",
        description="Omitted fields keep their values. A new password ends the tokens of the user.",
        errors=[staff.LastStaff],
    ),
    destroy=operation(
        summary="Delete a user",
        description="The profile and the tokens are deleted with the user. The accounts stay, and "
        "transfers and entries keep the number of the user.",
        errors=[staff.LastStaff],
    ),
)
class UserViewSet(QueryMixin, CreatedOnce, AuditedModelViewSet):
    """Users, for staff."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    lookup_field = "id"
    queries = {"list": UserQuery}
    permission_classes = (IsAdminUser,)

    def get_serializer_class(self) -> type[UserSerializer]:
        return UserEditSerializer if self.action == "update" else UserSerializer

    def locked_object(self, *, to_delete: bool = False) -> User:
        staff.lock_with_staff([self.get_object().pk])
        user: User = super().locked_object(to_delete=to_delete)
        return user

    def perform_destroy(self, instance: Any) -> None:
        staff.refuse_to_lose_all([instance.pk])
        super().perform_destroy(instance)


@extend_schema_view(
    retrieve=operation(summary="Get a profile", description="The profile of one user."),
    update=operation(
        summary="Edit a profile",
        description="Omitted fields keep their values; `accounts` replaces the whole list.",
    ),
    partial_update=operation(
        summary="Edit some fields of a profile",
        description="Edit the fields that are sent; `accounts` replaces the whole list.",
    ),
)
class ProfileViewSet(
    QueryMixin,
    AuditedViewSet,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet[Profile],
):
    """Profiles, for staff, by the id of their user. Every user has exactly one."""

    queries = {"list": ListQuery}
    serializer_class = ProfileSerializer
    lookup_field = "user_id"
    permission_classes = (IsAdminUser,)

    def get_queryset(self) -> ProfileQuerySet:
        return Profile.objects.prefetch_related("accounts")

    # Users that were created by bulk_create() or a fixture have no profile until it is read, so
    # both the list and the look-up start from the users.

    def list(self, request: Request) -> Response:
        """List profiles.

        The profile of every user, by the id of the user.
        """
        users: Any = self.paginate_queryset(User.objects.all())  # type: ignore[arg-type]
        profiles = self.get_queryset().of(users)
        return self.get_paginated_response(self.get_serializer(profiles, many=True).data)

    def get_object(self) -> Profile:
        return Profile.objects.of_user(get_object_or_404(User, pk=self.kwargs["user_id"]))

    @operation("addProfileAccount", responses=ProfileSerializer)
    @action(methods=["post"], detail=True, serializer_class=AccountIdSerializer)
    @retried
    def add_account(self, request: Request, user_id: str) -> Response:
        """Give access to an account.

        The user may see it and send from it. Adding an account twice is harmless.
        """
        profile = self.locked_object()
        account = self.account_of(request)
        with trail.changing(acting_user(request), profile):
            profile.accounts.add(account)
        return Response(ProfileSerializer(profile).data)

    @operation("removeProfileAccount", responses=ProfileSerializer)
    @action(methods=["post"], detail=True, serializer_class=AccountIdSerializer)
    @retried
    def remove_account(self, request: Request, user_id: str) -> Response:
        """Remove access to an account.

        Removing an account twice is harmless.
        """
        profile = self.locked_object()
        account = self.account_of(request)
        with trail.changing(acting_user(request), profile):
            profile.accounts.remove(account)
        return Response(ProfileSerializer(profile).data)

    def account_of(self, request: Request) -> int:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data["account_id"]


def recorded_of_staff(user: User) -> Any:
    """Record what the block changes in the locked row of `user`, if the user is staff."""
    return trail.changing(user, user) if user.is_staff else nullcontext()


class MeView(QueryMixin, views.APIView):
    """Your own user, profile and accounts."""

    @operation("getMe", tags=["login"], responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Get your own user, profile and accounts.

        The user of the token, the user's profile, and the accounts of that profile.
        """
        return self.respond(acting_user(request))

    @operation("editMe", tags=["login"], request=OwnNamesSerializer, responses=MeSerializer)
    def patch(self, request: Request) -> Response:
        """Edit your own names and email address.

        Edit the fields that are sent. Fields that only staff may change are ignored.
        """
        return self.respond(self.edit(request))

    @retried
    def edit(self, request: Request) -> User:
        user = trail.locked_row(acting_user(request))
        serializer = OwnNamesSerializer(user, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        with recorded_of_staff(user):
            return serializer.save()

    def respond(self, user: User) -> Response:
        profile = Profile.objects.of_user(user)
        accounts = Account.objects.filter(profile=profile).order_by("id")
        me = {"user": user, "profile": profile, "accounts": accounts}
        return Response(MeSerializer(me).data)


class OwnPasswordView(views.APIView):
    """Change of your own password."""

    @operation(
        "changeMyPassword",
        tags=["login"],
        errors=OF_LOGINS,
        request=OwnPasswordSerializer,
        responses={200: TokenPairSerializer},
    )
    def post(self, request: Request) -> Response:
        """Change your own password.

        All your tokens end, and the response has new ones. Wrong old passwords are limited like
        failed logins.
        """
        user = acting_user(request)
        serializer = OwnPasswordSerializer(data=request.data, context={"user": user})
        serializer.is_valid(raise_exception=True)
        # A stolen token must not become a way to guess the password.
        attempt = Attempt(LOGIN, request)
        attempt.by(user.get_username())
        if not has_password(user, serializer.validated_data["old_password"]):
            attempt.failed()
            message = serializers.ErrorDetail("This is not your password.", code="invalid")
            raise serializers.ValidationError({"old_password": [message]})
        attempt.succeeded(user)
        # Before the transaction, since it takes long.
        password = make_password(serializer.validated_data["new_password"])
        return Response(tokens_for(self.change(user, password)))

    @retried
    def change(self, user: User, password: str) -> User:
        row = trail.locked_row(user)
        if row.password != user.password:
            # Another request has changed it since it was checked.
            raise Conflict
        with recorded_of_staff(row):
            User.objects.filter(pk=row.pk).update(password=password)
        row.password = password
        return row
