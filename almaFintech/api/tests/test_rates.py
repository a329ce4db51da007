"""The notation of rates, also as in Django REST framework."""

import pytest

from almaFintech.api.rates import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *(("10/s", (10, 1)), ("10/sec", (10, 1)), ("1/second", (1, 1))),
        *(("10/m", (10, 60)), ("10/min", (10, 60)), ("2/minute", (2, 60))),
        *(("5/h", (5, 3600)), ("5/hour", (5, 3600)), ("3/d", (3, 86400)), ("3/day", (3, 86400))),
        ("", None),
    ],
)
def test_a_rate_may_spell_out_its_period(text, rate):
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["many", "0/m", "10", "10/", "10/month", "10/mi", "-1/m", "10/m "])
def test_a_malformed_rate_is_refused(text):
    with pytest.raises(ValueError, match="is not a rate such as 10/m"):
        Rate.parse(text)
