"""`manage.py start`: migrate the database, say where things are, and serve for development."""

import os
from typing import Any

from django.core.management import call_command
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV
from whitenoise.runserver_nostatic.management.commands.runserver import Command as Runserver

from almaFintech.commands import DatabaseCommand
from login.development import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER, is_development_user_present


class Command(DatabaseCommand, Runserver):
    help = "Migrate the database, say where things are, and serve for development."

    def run(self, **options: Any) -> None:
        # In the process of the server itself: another one would double the time to start. The
        # autoreloader runs all of this again in a child, which has nothing left to do here.
        if DJANGO_AUTORELOAD_ENV not in os.environ:
            call_command("migrate", verbosity=0)
            self.welcome()
        super().run(**options)

    def welcome(self) -> None:
        site = f"{self.protocol}://{self.addr}:{self.port}"
        user = f"{DEVELOPMENT_USER} / {DEVELOPMENT_PASSWORD}"
        known = f" (development user: {user})" if is_development_user_present() else ""
        self.stdout.write(f"API    {site}/api/")
        self.stdout.write(f"Admin  {site}/admin/")
        self.stdout.write(f"Login  POST {site}/api/login/{known}")
