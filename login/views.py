"""The endpoints of users, profiles and tokens. Their docstrings are the API's documentation."""

from contextlib import nullcontext
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from rest_framework import mixins, serializers, views, viewsets
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import CreatedOnce
from accounts.models import Account
from accounts.serializers import AccountSerializer
from almaFintech.api.people import acting_user
from almaFintech.api.queries import ListQuery, QueryMixin
from almaFintech.db.transactions import retried
from almaFintech.refusals import Conflict
from audit import trail
from audit.views import AuditedModelViewSet, AuditedViewSet
from login import staff
from login.backends import has_password
from login.models import Profile, ProfileQuerySet
from login.queries import UserQuery
from login.rates import LOGIN, Attempt
from login.schema import document_profiles, document_users
from login.serializers import (
    AccountIdSerializer,
    OwnNamesSerializer,
    OwnPasswordSerializer,
    ProfileSerializer,
    UserSerializer,
    tokens_for,
)


@document_users
class UserViewSet(QueryMixin, CreatedOnce, AuditedModelViewSet):
    """Users, for staff. Passwords are write only; leaving one out of an edit keeps it."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    lookup_field = "id"
    queries = {"list": UserQuery}
    permission_classes = (IsAdminUser,)

    def locked_object(self, *, to_delete: bool = False) -> User:
        staff.lock_with_staff([self.get_object().pk])
        user: User = super().locked_object(to_delete=to_delete)
        return user

    def perform_destroy(self, instance: Any) -> None:
        staff.refuse_to_lose_all([instance.pk])
        super().perform_destroy(instance)


@document_profiles
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

    # Users that came in by bulk_create() or a fixture have no profile until it is asked for,
    # so both the list and the look-up start from the users.

    def list(self, request: Request) -> Response:
        users: Any = self.paginate_queryset(User.objects.all())  # type: ignore[arg-type]
        profiles = self.get_queryset().of(users)
        return self.get_paginated_response(self.get_serializer(profiles, many=True).data)

    def get_object(self) -> Profile:
        return Profile.objects.of_user(get_object_or_404(User, pk=self.kwargs["user_id"]))

    @action(methods=["post"], detail=True, serializer_class=AccountIdSerializer)
    @retried
    def add_account(self, request: Request, user_id: str) -> Response:
        """Give the user access to an account; an account that is there already stays."""
        profile = self.locked_object()
        account = self.account_of(request)
        with trail.changing(acting_user(request), profile):
            profile.accounts.add(account)
        return Response(ProfileSerializer(profile).data)

    @action(methods=["post"], detail=True, serializer_class=AccountIdSerializer)
    @retried
    def remove_account(self, request: Request, user_id: str) -> Response:
        """Take the access to an account away; an account that is not there is no error."""
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
    """Records what the block changes in the locked row of `user`, of members of staff alone."""
    return trail.changing(user, user) if user.is_staff else nullcontext()


class MeView(QueryMixin, views.APIView):
    """Who the token belongs to: the user, the profile, and the accounts of the profile."""

    def get(self, request: Request) -> Response:
        return self.answer(acting_user(request))

    def patch(self, request: Request) -> Response:
        """Edit your own names and email address; everything else stays as staff has set it."""
        return self.answer(retried(self.edit)(request))

    def edit(self, request: Request) -> User:
        user = trail.locked_row(acting_user(request))
        serializer = OwnNamesSerializer(user, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        with recorded_of_staff(user):
            return serializer.save()

    def answer(self, user: User) -> Response:
        profile = Profile.objects.of_user(user)
        accounts = Account.objects.filter(profile=profile).order_by("id")
        return Response(
            {
                "user": UserSerializer(user).data,
                "profile": ProfileSerializer(profile).data,
                "accounts": AccountSerializer(accounts, many=True).data,
            }
        )


class OwnPasswordView(views.APIView):
    """Change your own password. All your tokens end, and the answer brings new ones."""

    def post(self, request: Request) -> Response:
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
        # Not under the lock, since it takes long.
        password = make_password(serializer.validated_data["new_password"])
        return Response(tokens_for(retried(self.change)(user, password)))

    def change(self, user: User, password: str) -> User:
        row = trail.locked_row(user)
        if row.password != user.password:
            # Somebody else has changed it since it was checked.
            raise Conflict()
        with recorded_of_staff(row):
            User.objects.filter(pk=row.pk).update(password=password)
        row.password = password
        return row
