"""What staff has done."""

from django.contrib.auth.models import User
from django.db import models


class Record(models.Model):
    """One action of one member of staff on one object.

    It refers to nothing: the record outlives the user who did it and the object it was done to.

    Attributes:
        date: when.
        by: number of the user who did it.
        username: the user's name then.
        action: what was done.
        kind: of what the object is one, such as "account".
        number: primary key of the object; of a profile, that of its user.
        changes: field -> [from, to]. A password is only ever "***".
        reason: why, in the words of whoever did it; "" where none was given.
    """

    class Action(models.TextChoices):
        CREATED = "created"
        CHANGED = "changed"
        DELETED = "deleted"
        CANCELLED = "cancelled"

    id = models.BigAutoField(primary_key=True)
    date = models.DateTimeField(auto_now_add=True)
    by = models.BigIntegerField(db_index=True)
    username = models.CharField(max_length=User._meta.get_field("username").max_length)
    action = models.CharField(max_length=9, choices=Action)
    kind = models.CharField(max_length=20)
    number = models.BigIntegerField()
    changes = models.JSONField()
    reason = models.CharField(max_length=140, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["kind", "number"], name="record_object")]

    def __str__(self) -> str:
        return f"{self.username} {self.action} {self.kind} {self.number}"
