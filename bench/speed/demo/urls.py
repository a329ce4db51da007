"""The demo's API: accounts, transfers and the login."""

from typing import Any

from django.db.models import QuerySet
from django.urls import include, path
from rest_framework.mixins import CreateModelMixin, ListModelMixin
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.routers import DefaultRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import GenericViewSet, ModelViewSet
from rest_framework_simplejwt.views import TokenObtainPairView

from bench.speed.demo.models import Account, Transfer


class AccountSerializer(ModelSerializer[Account]):
    class Meta:
        model = Account
        fields = ("id", "currency", "balance")


class TransferSerializer(ModelSerializer[Transfer]):
    class Meta:
        model = Transfer
        fields = ("id", "date", "origin", "destination", "balance", "cancelled")
        read_only_fields = ("cancelled",)


class ReadsOrStaff(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return request.method in SAFE_METHODS or request.user.is_staff


class AccountViewSet(ModelViewSet[Account]):
    serializer_class = AccountSerializer
    permission_classes = [IsAuthenticated, ReadsOrStaff]

    def get_queryset(self) -> QuerySet[Account]:
        user: Any = self.request.user
        return Account.objects.all() if user.is_staff else user.profile.accounts.all()


class TransferViewSet(ListModelMixin, CreateModelMixin, GenericViewSet[Transfer]):
    serializer_class = TransferSerializer
    permission_classes = [IsAuthenticated]

    def get_queryset(self) -> QuerySet[Transfer]:
        user: Any = self.request.user
        if user.is_staff:
            return Transfer.objects.all()
        return Transfer.objects.filter(origin__in=user.profile.accounts.all())


router = DefaultRouter()
router.register("accounts", AccountViewSet, "account")
router.register("transfers", TransferViewSet, "transfer")
urlpatterns = [
    path("api/", include(router.urls)),
    path("api/login/", TokenObtainPairView.as_view()),
]
