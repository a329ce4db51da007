"""The records of what staff did."""

import json
from datetime import UTC

from django.contrib.auth.models import User
from django.db import models

from almaFintech.db.chains import GENESIS
from almaFintech.db.guards import Kept, KeptQuerySet


class Record(Kept):
    """One action of one member of staff on one object.

    It has no foreign keys, so that it outlives both the user and the object.

    Attributes:
        seq: 1, 2, 3 ... over all records.
        date: when it was done.
        by: number of the user who did it.
        username: the user's name then.
        action: what was done.
        kind: the object's model, such as "account".
        number: the object's primary key; of a profile, that of its user.
        changes: field -> [from, to]. A password is only ever "***".
        reason: the reason that the user gave, or "".
        digest: link of the chain of all records, see `almaFintech.db.chains`.
    """

    refusal = "Records are kept for good, and written by `audit.trail`."

    class Action(models.TextChoices):
        CREATED = "created"
        CHANGED = "changed"
        DELETED = "deleted"
        CANCELLED = "cancelled"

    id = models.BigAutoField(primary_key=True)
    seq = models.BigIntegerField(unique=True)
    date = models.DateTimeField()
    by = models.BigIntegerField(db_index=True)
    username = models.CharField(max_length=User._meta.get_field("username").max_length)
    action = models.CharField(max_length=9, choices=Action)
    kind = models.CharField(max_length=20)
    number = models.BigIntegerField()
    changes = models.JSONField()
    reason = models.CharField(max_length=140, blank=True, default="")
    digest = models.BinaryField(max_length=32)

    objects = models.Manager.from_queryset(KeptQuerySet)()

    class Meta(Kept.Meta):
        ordering = ("-id",)
        indexes = [models.Index(fields=["kind", "number"], name="record_object")]

    def __str__(self) -> str:
        return f"{self.username} {self.action} {self.kind} {self.number}"

    def content(self) -> bytes:
        """Return the bytes that the digest of this record signs."""
        fields = [
            self.seq,
            self.date.astimezone(UTC).isoformat(timespec="microseconds"),
            self.by,
            self.username,
            self.action,
            self.kind,
            self.number,
            self.changes,
            self.reason,
        ]
        return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode("ascii")


class End(Kept):
    """The end of the chain of records. Its one row is locked to add to the chain.

    Attributes:
        seq, seal: number of the last record, and its seal.
    """

    ONLY = 1
    NAME = "records"
    refusal = "The chain of records is written by `audit.trail`."

    id = models.SmallIntegerField(primary_key=True, default=ONLY)
    seq = models.BigIntegerField(default=0)
    seal = models.BinaryField(max_length=32, default=GENESIS)

    objects = models.Manager.from_queryset(KeptQuerySet)()

    class Meta(Kept.Meta):
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="trail_has_one_end")]

    def __str__(self) -> str:
        return f"record {self.seq}"
