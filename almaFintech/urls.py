"""All paths of the server."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import TemplateView

from accounts.urls import router as accounts_router
from almaFintech.api.pages import docs
from almaFintech.api.routers import Router
from almaFintech.api.views import no_icon, no_such_path
from audit.admin import own_password
from login.urls import router as login_router
from login.urls import urlpatterns as login_urls

router = Router()
router.registry.extend([*login_router.registry, *accounts_router.registry])

api = [*login_urls, *router.urls, *docs, re_path("", no_such_path)]

urlpatterns = [
    path("", TemplateView.as_view(template_name="almaFintech/home.html"), name="home"),
    path("favicon.ico", no_icon),
    path("api/", include(api)),
    path("admin/password_change/", admin.site.admin_view(own_password, cacheable=True)),
    path("admin/", admin.site.urls),
]

handler400 = "almaFintech.api.errors.bad_request"
handler500 = "almaFintech.api.errors.server_error"
