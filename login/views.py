"""The endpoints of users, profiles and tokens. Their docstrings are the API's documentation."""

from typing import Any

from django.contrib.auth.models import User
from rest_framework import mixins, views, viewsets
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import CreatedOnce
from accounts.models import Account
from accounts.permissions import acting_user
from accounts.serializers import AccountSerializer
from almaFintech.filters import QueryMixin
from almaFintech.transactions import retried
from audit import trail
from audit.views import AuditedModelViewSet, AuditedViewSet
from login.filters import UserFilter
from login.models import Profile, ProfileQuerySet
from login.schema import document_profiles, document_users
from login.serializers import AccountIdSerializer, ProfileSerializer, UserSerializer


@document_users
class UserViewSet(QueryMixin, CreatedOnce, AuditedModelViewSet):
    """Users, for staff. Passwords are write only; leaving one out of an edit keeps it."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    lookup_field = "id"
    filterset_class = UserFilter
    orderings = {"id": ("id",), "username": ("username",)}
    permission_classes = (IsAdminUser,)


@document_profiles
class ProfileViewSet(
    QueryMixin,
    AuditedViewSet,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet[Profile],
):
    """Profiles, for staff, by the id of their user. Every user has exactly one."""

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

    def find_object(self) -> Profile:
        return Profile.objects.of_user(get_object_or_404(User, pk=self.kwargs["user_id"]))

    @action(methods=["post"], detail=True, serializer_class=AccountIdSerializer)
    @retried
    def add_account(self, request: Request, user_id: str) -> Response:
        """Give the user access to an account; an account that is there already stays."""
        profile = self.get_object()
        account = self.account_of(request)
        with trail.changing(request.user, profile):
            profile.accounts.add(account)
        return Response(ProfileSerializer(profile).data)

    @action(methods=["post"], detail=True, serializer_class=AccountIdSerializer)
    @retried
    def remove_account(self, request: Request, user_id: str) -> Response:
        """Take the access to an account away; an account that is not there is no error."""
        profile = self.get_object()
        account = self.account_of(request)
        with trail.changing(request.user, profile):
            profile.accounts.remove(account)
        return Response(ProfileSerializer(profile).data)

    def account_of(self, request: Request) -> int:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data["account_id"]


class MeView(QueryMixin, views.APIView):
    """Who the token belongs to: the user, the profile, and the accounts of the profile."""

    parameters = {"": ()}

    def get(self, request: Request) -> Response:
        user = acting_user(request)
        profile = Profile.objects.of_user(user)
        accounts = Account.objects.filter(profile=profile).order_by("id")
        return Response(
            {
                "user": UserSerializer(user).data,
                "profile": ProfileSerializer(profile).data,
                "accounts": AccountSerializer(accounts, many=True).data,
            }
        )
