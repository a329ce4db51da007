"""The signatures under "none yet", with which the counts that `verify_ledger` checks begin.

If an empty table passed without a signature, somebody could empty one to hide what was in it. So
could somebody who empties a table and migrates, if "none yet" were signed again. It is therefore
signed while nothing has happened anywhere: as long as there is no row of `history`.
"""

from typing import Any

from django.apps import apps as installed
from django.db.models import Model, QuerySet

from almaFintech.db import chains
from audit.models import End, Record

# The models whose rows show that something has happened. Each app adds its own when it is ready.
history: list[type[Model]] = [Record]


def sign_none_yet(counter: Any, apps: Any) -> None:
    """Insert the one row of a counter, signed as 0, where nothing has happened yet.

    counter: a model with a `NAME` and a `seal`. apps: the models that there are now.
    """
    try:
        for model in (counter, *history):
            apps.get_model(model._meta.label)
    except LookupError:
        # The migrations were run backwards, or not all of them yet.
        return
    if any(QuerySet(model).exists() for model in history):
        return
    row = counter(seal=chains.keys()[0].count(counter.NAME, 0))
    QuerySet(counter).bulk_create([row], ignore_conflicts=True)


def sign_records(apps: Any = installed, **kwargs: Any) -> None:
    """Sign that there are no records yet; after migrations, and nowhere else."""
    sign_none_yet(End, apps)
