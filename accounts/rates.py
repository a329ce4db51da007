"""Rate limit on refused transfers, which reveal facts about other accounts."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.models import User

from accounts.rules import AccountMissing, BalanceOverflow, CurrencyMismatch
from almaFintech.api.rates import Count, Rate, TooMany

# The refusals that depend on the account at the other end.
REVEALING = (AccountMissing, CurrencyMismatch, BalanceOverflow)


class TooManyRefused(TooMany):
    default_detail = "Too many refused transfers."


@contextmanager
def limited_refusals(user: User) -> Iterator[None]:
    """Limit the refusals that `user` gets for the transfers booked inside.

    Staff sees all accounts and is not limited. Once `REFUSED_TRANSFERS_RATE` is used up,
    raises TooManyRefused before anything is looked up. It also replaces a refusal by which
    concurrent requests would exceed the rate.
    """
    rate = Rate.parse(settings.REFUSED_TRANSFERS_RATE)
    if rate is None or user.is_staff:
        yield
        return
    count = Count(rate, "refused transfers", str(user.pk))
    if count.is_full():
        raise TooManyRefused(count.wait())
    try:
        yield
    except REVEALING as refusal:
        if not count.add():
            raise TooManyRefused(count.wait()) from refusal
        raise
