from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate, post_save


class LoginConfig(AppConfig):
    name = "login"

    def ready(self) -> None:
        from login.development import create_development_user
        from login.models import create_profile

        # Users come from the API, the admin, createsuperuser and plain ORM code; their save is
        # the one thing these have in common.
        post_save.connect(create_profile, sender=settings.AUTH_USER_MODEL)
        post_migrate.connect(create_development_user, sender=self)
