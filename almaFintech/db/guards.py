"""Models and querysets that refuse the ways around the code that writes them."""

from typing import Any, NoReturn, TypeVar, cast

from django.db import models

from almaFintech.refusals import Refusal

M = TypeVar("M", bound=models.Model)


class SideDoor(Refusal):
    """A way around the ledger that Django offers and this project refuses."""

    default_code = "side_door"
    default_detail = "Money moves through the ledger alone"


class KeptQuerySet(models.QuerySet[M]):
    """Rows of a `Kept` model: they are read here, and written past this queryset."""

    def refuse(self, *args: Any, **options: Any) -> NoReturn:
        raise SideDoor(cast(type[Kept], self.model).refusal)

    update = bulk_update = bulk_create = delete = refuse
    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class Kept(models.Model):
    """A row that one module writes, and that no way of Django's changes or deletes.

    Attributes:
        refusal: the sentence with which such attempts are refused.
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
    """Refuse what saves a row without `save()`, such as `loaddata`: the models here never do."""
    raise SideDoor("Fixtures skip the ledger: save() accounts and transfers.")
