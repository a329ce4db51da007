"""The audited models. Each app registers its own when it is ready; this app knows none of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.db.models import Model
from django.shortcuts import get_object_or_404

from almaFintech.db.querysets import locked

M = TypeVar("M", bound=Model)
State = Mapping[str, Any]


@dataclass(frozen=True)
class Audited:
    """Settings for recording the rows of one model; see `register`."""

    fields: Sequence[str]
    number: str
    more: Callable[[Any], State]
    lock: Callable[[Any], Any]
    lock_before_deletion: Callable[[Sequence[int]], object]


_audited: dict[type[Model], Audited] = {}


def lock_row(row: M) -> M:
    """Lock a row until the transaction ends, and return it as it is now. Raises Http404."""
    rows = locked(row._meta.model._base_manager.all())
    return cast(M, get_object_or_404(rows, pk=row.pk))


def register(
    model: type[M],
    *fields: str,
    number: str = "pk",
    more: Callable[[M], State] = lambda row: {},
    lock: Callable[[M], M] = lock_row,
    lock_before_deletion: Callable[[Sequence[int]], object] = lambda ids: None,
) -> None:
    """Let `audit.trail` record what staff does to the rows of a model.

    fields: columns that a record shows; a foreign key by its column, such as "origin_id".
    number: attribute with the number by which records name a row.
    more: returns further values for the record.
    lock: locks a row and returns it as it is now, or raises Http404.
    lock_before_deletion: locks the rows that must be locked before rows with these keys are
        locked to be deleted.
    """
    _audited[model] = Audited(fields, number, more, lock, lock_before_deletion)


def audited(row: Model) -> Audited:
    """Return the settings for recording a row. Raises KeyError if no app registered its model."""
    return _audited[row._meta.model]
