"""`manage.py start`: migrate the database, say where things are, and serve for development."""

import os
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV
from whitenoise.runserver_nostatic.management.commands.runserver import Command as Runserver

from almaFintech.commands import DatabaseCommand
from login.development import DEVELOPMENT_PASSWORD, DEVELOPMENT_USER, is_development_user_present

MOST_PORT = 65_535


class Command(DatabaseCommand, Runserver):
    help = "Migrate the database, say where things are, and serve for development."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("This server is for development. With DEBUG off: make serve.")
        super().handle(*args, **options)

    def run(self, **options: Any) -> None:
        # Otherwise the child of the autoreloader fails, and the parent waits for an edit.
        if int(self.port) > MOST_PORT:
            raise CommandError(f"The port must be {MOST_PORT} or less, and not {self.port}.")
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
