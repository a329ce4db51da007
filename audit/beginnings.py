"""The signed beginnings of what `verify_ledger` follows.

Were an empty register or trail good without a signature, somebody could empty one and be done.
"""

from typing import Any

from django.apps import apps as installed
from django.db.models import QuerySet

from accounts.models import Account, Entry, Register
from almaFintech.db import chains
from audit.models import End, Record


def begin(apps: Any = installed, **kwargs: Any) -> None:
    """Sign "none yet" where nothing has happened yet; after migrations, and nowhere else."""
    try:
        for model in Register, End:
            apps.get_model(model._meta.label)
    except LookupError:
        # Some way back in the migrations.
        return
    if any(QuerySet(model).exists() for model in (Account, Entry, Record)):
        return
    key = chains.keys()[0]
    rows: list[Any] = [
        Register(seal=key.count(Register.NAME, 0)),
        End(seal=key.count(End.NAME, 0)),
    ]
    for row in rows:
        QuerySet(type(row)).bulk_create([row], ignore_conflicts=True)
