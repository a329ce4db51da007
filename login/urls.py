from django.urls import path

from almaFintech.api.routers import Router
from login.views import (
    LoginView,
    LogoutView,
    MeView,
    OwnPasswordView,
    ProfileViewSet,
    RefreshView,
    UserViewSet,
)

router = Router()
router.register("users", UserViewSet, "user")
router.register("profiles", ProfileViewSet, "profile")

urlpatterns = [
    path("me/", MeView.as_view(), name="me"),
    path("me/password/", OwnPasswordView.as_view(), name="own-password"),
    path("login/", LoginView.as_view(), name="login"),
    path("login/refresh/", RefreshView.as_view(), name="refresh"),
    path("login/logout/", LogoutView.as_view(), name="logout"),
]
