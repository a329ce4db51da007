"""Delete the idempotency keys that are older than IDEMPOTENCY_KEY_DAYS; run it once a day."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.models import IdempotencyKey
from almaFintech.db.commands import DatabaseCommand

AT_A_TIME = 10_000


class Command(DatabaseCommand):
    help = "Delete the idempotency keys that are older than IDEMPOTENCY_KEY_DAYS."

    def handle(self, *args: Any, **options: Any) -> None:
        oldest = timezone.now() - timedelta(days=settings.IDEMPOTENCY_KEY_DAYS)
        expired = IdempotencyKey.objects.filter(created__lt=oldest).order_by("created")
        total = 0
        # In batches, so that the server never waits long.
        while ids := list(expired.values_list("pk", flat=True)[:AT_A_TIME]):
            total += IdempotencyKey.objects.filter(pk__in=ids).delete()[0]
        self.stdout.write(f"{total} expired.")
