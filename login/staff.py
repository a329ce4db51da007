"""Protection of the last active member of staff: nobody else could appoint another one."""

from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db.models import Q

from almaFintech.db.querysets import locked
from almaFintech.refusals import Refusal

ACTIVE_STAFF = Q(is_staff=True, is_active=True)


class LastStaff(Refusal):
    default_code = "last_staff"
    default_detail = "The last active member of staff cannot be removed."


def lock_with_staff(ids: Iterable[int]) -> None:
    """Lock these users together with all active staff, in the order of their ids.

    Call it before any of them is locked alone, so that two members of staff who remove each other
    wait for each other instead of ending in a deadlock.
    """
    list(locked(User.objects.filter(ACTIVE_STAFF | Q(pk__in=list(ids)))).values_list("pk"))


def refuse_to_lose_all(leaving: Iterable[int]) -> None:
    """Raise LastStaff if no active staff would remain without these users.

    Call it after `lock_with_staff`, in the same transaction and before the change.
    """
    ids = list(leaving)
    staff = User.objects.filter(ACTIVE_STAFF)
    if staff.filter(pk__in=ids).exists() and not staff.exclude(pk__in=ids).exists():
        raise LastStaff()
