"""The documents name tests; these exist."""

import re

import pytest
from django.conf import settings

DOCUMENTS = sorted(path.name for path in (settings.BASE_DIR / "docs").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_named_tests_exist(document):
    text = (settings.BASE_DIR / "docs" / document).read_text()

    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", text):
        assert f"\ndef {name}(" in (settings.BASE_DIR / file).read_text(), f"{file}::{name}"


def test_every_promise_names_its_test():
    text = (settings.BASE_DIR / "docs" / "promises.md").read_text()
    promises = re.findall(r"^\*\*.*\*\*$", text, re.MULTILINE)

    assert len(promises) > 20
    assert len(promises) == len(re.findall(r"^`[\w/]+\.py::\w+`$", text, re.MULTILINE))
