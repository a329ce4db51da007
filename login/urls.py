from django.urls import path
from rest_framework_simplejwt import views

from almaFintech.api.routers import Router
from login.views import MeView, OwnPasswordView, ProfileViewSet, UserViewSet

router = Router()
router.register("users", UserViewSet, "user")
router.register("profiles", ProfileViewSet, "profile")

urlpatterns = [
    path("me/", MeView.as_view(), name="me"),
    path("me/password/", OwnPasswordView.as_view(), name="own-password"),
    path("login/", views.TokenObtainPairView.as_view(), name="login"),
    path("login/refresh/", views.TokenRefreshView.as_view(), name="refresh"),
    path("login/logout/", views.TokenBlacklistView.as_view(), name="logout"),
]
