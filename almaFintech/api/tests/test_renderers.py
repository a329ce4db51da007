"""JSON, which is the same as DRF's to the byte."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import renderers

from accounts.rules import Kind
from almaFintech.api.renderers import JSONRenderer
from conftest import Person

MOMENT = datetime(2026, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)


def rendered(data: Any, media_type: str = "application/json") -> list[bytes]:
    classes = JSONRenderer, renderers.JSONRenderer
    return [renderer().render(data, media_type, {}) for renderer in classes]


@pytest.mark.parametrize(
    "data",
    [
        *(None, [], {}, "", 0, True, "text", [None, {"a": [1, {"b": None}]}]),
        *("\x7f", "\x00\x1f\b\t\n\f\r", '"\\/', "é", "\u2028", "😀", "</script>"),
        *(2**63 - 1, 2**64, -(2**63), 10**40),
        *(MOMENT, MOMENT.replace(microsecond=0), MOMENT.replace(microsecond=5, tzinfo=None)),
        *(MOMENT.astimezone(timezone(timedelta(hours=-3))), date(2026, 5, 1)),
        *(Decimal("1.50"), UUID(int=7), timedelta(seconds=90), (1, 2), {1: 2}),
        *(gettext_lazy("Account"), SafeString("<b>"), Kind.TRANSFER),
    ],
)  # fmt: skip
def test_a_value_is_rendered_as_by_the_base_class(data):
    ours, theirs = rendered(data)

    assert ours == theirs


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.datetimes(timezones=st.just(UTC)),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
)


@given(JSON)
def test_any_value_is_rendered_as_by_the_base_class(data):
    ours, theirs = rendered(data)

    assert ours == theirs


def test_an_indented_response_is_left_to_the_base_class():
    ours, theirs = rendered({"a": [1]}, "application/json; indent=2")

    assert ours == theirs == b'{\n  "a": [\n    1\n  ]\n}'


def test_a_lone_surrogate_is_escaped():
    ours, theirs = rendered("\ud800")

    assert ours == theirs == b'"\\ud800"'


def test_the_api_uses_it(alice: Person, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any) -> bytes:
        raise AssertionError

    monkeypatch.setattr(renderers.JSONRenderer, "render", fail)

    assert alice.get("/api/transfers/").status_code == 200
