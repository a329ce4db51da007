"""Delete refresh tokens and ended sessions that have expired; run it once a day."""

from typing import Any

from django.core.management import call_command

from almaFintech.db.commands import DatabaseCommand
from login.models import EndedSession

AT_A_TIME = 10_000


class Command(DatabaseCommand):
    help = "Delete refresh tokens and ended sessions that have expired."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("flushexpiredtokens")
        expired = EndedSession.objects.expired().order_by("expires_at")
        # In batches, so that the server never waits long.
        while sids := list(expired.values_list("pk", flat=True)[:AT_A_TIME]):
            EndedSession.objects.filter(pk__in=sids).delete()
