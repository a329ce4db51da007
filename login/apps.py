from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate, post_save


class LoginConfig(AppConfig):
    name = "login"

    def ready(self) -> None:
        from django.contrib.auth.models import User

        import audit
        from login.audited import accounts_of, lock_with_user, profile_of
        from login.development import create_development_user
        from login.models import Profile, create_profile

        # The API, the admin, createsuperuser and plain ORM code create users; all of them save
        # the user.
        post_save.connect(create_profile, sender=settings.AUTH_USER_MODEL)
        post_migrate.connect(create_development_user, sender=self)

        audit.register(
            User,
            *("username", "password", "first_name", "last_name", "email"),
            *("is_staff", "is_active", "is_superuser"),
            more=profile_of,
        )
        audit.register(
            Profile,
            *("cuit", "phone", "company"),
            number="user_id",
            more=accounts_of,
            lock=lock_with_user,
        )
