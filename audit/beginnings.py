"""Initial signatures, under "none yet", of the counts that `verify_ledger` checks.

If an empty table passed without a signature, an attacker could empty one to hide its rows. If
"none yet" were signed again, an attacker could empty a table and migrate. It is therefore signed
only in an unused database: one without a row of the models in `history`.
"""

from typing import Any

from django.apps import apps as installed
from django.db.models import Model, QuerySet

from almaFintech.db import chains
from audit.models import End, Record

# The models whose rows show that the database is in use. Each app adds its own when it is ready.
history: list[type[Model]] = [Record]


def sign_none_yet(counter: Any, apps: Any) -> None:
    """Insert the only row of a counter, signed as 0, into an unused database.

    counter: a model with a `NAME` and a `seal`. apps: the models that exist at this point.
    """
    try:
        for model in (counter, *history):
            apps.get_model(model._meta.label)
    except LookupError:
        # The migrations were run backwards, or only some of them have run.
        return
    if any(QuerySet(model).exists() for model in history):
        return
    row = counter(seal=chains.keys()[0].count(counter.NAME, 0))
    QuerySet(counter).bulk_create([row], ignore_conflicts=True)


def sign_records(apps: Any = installed, **kwargs: Any) -> None:
    """Sign that there are no records yet. Called only after migrations."""
    sign_none_yet(End, apps)
