"""Serializers whose fields are built once.

DRF builds the fields of each instance anew, which takes longer than reading a body with them. The
instances of a class can share them, because a field keeps nothing of what it reads.
"""

from functools import cache
from typing import Any

from rest_framework import serializers
from rest_framework.utils.serializer_helpers import BindingDict


# Without a docstring, which the OpenAPI document would show for all subclasses. The fields belong
# to a serializer without data: neither they nor `get_fields()` may use the instance or the context.
class SharedFields(serializers.Serializer[Any]):
    @property
    def fields(self) -> BindingDict:  # type: ignore[override]
        return fields_of(type(self), self.partial)


@cache
def fields_of(kind: type[SharedFields], partial: bool) -> BindingDict:
    """Return the fields of a class of serializers, for edits in part if `partial`."""
    owner = kind(partial=partial)
    fields = BindingDict(owner)
    for name, field in owner.get_fields().items():
        fields[name] = field
    return fields
