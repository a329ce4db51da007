"""Models and querysets that refuse to be written past the code that owns them."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

from django.db import models

from almaFintech.refusals import Refusal

M = TypeVar("M", bound=models.Model)


class SideDoor(Refusal):
    """A refused attempt to write past the ledger by one of Django's methods."""

    default_code = "side_door"
    default_detail = "Money moves through the ledger alone"


class Guard:
    """A queryset of rows that neither `update()` nor `bulk_update()` may change.

    Attributes:
        refusal: the message, which names the right call.
    """

    refusal: str

    def refuse(self, *args: Any, **options: Any) -> NoReturn:
        raise SideDoor(self.refusal)

    # Templates do not call it, and managers do not copy the names below.
    refuse.alters_data = True  # type: ignore[attr-defined]
    refuse.queryset_only = True  # type: ignore[attr-defined]

    update = bulk_update = refuse


class KeptQuerySet(Guard, models.QuerySet[M]):
    """Rows of a `Kept` model, for reading; the module that writes them bypasses this queryset."""

    @property
    def refusal(self) -> str:  # type: ignore[override]
        return cast(type[Kept], self.model).refusal

    bulk_create = delete = Guard.refuse


class Kept(models.Model):
    """A row that one module writes; Django's own methods refuse to change or delete it.

    Attributes:
        refusal: the message of these methods.
    """

    refusal: str

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **options: Any) -> NoReturn:
        raise SideDoor(self.refusal)

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        raise SideDoor(self.refusal)


def refuse_fixtures(sender: type[models.Model], **kwargs: Any) -> NoReturn:
    """Refuse rows that are saved without `save()`, as `loaddata` saves them."""
    raise SideDoor(
        "Fixtures write past save(), and these rows are written by their own code alone."
    )


def refuse_options(method: str, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Refuse the arguments of `bulk_create()` that ask for more than plain inserts."""
    asked = {option for option, value in options.items() if value} - {"batch_size"}
    if args or asked:
        raise SideDoor(
            f"{method} takes the objects alone: {', '.join(sorted(asked)) or args} skips the ledger"
        )
