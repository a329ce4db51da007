"""The pages agree with the code: settings, endpoints, filters, links and named tests."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from almaFintech.settings import BASE_DIR, ENVIRONMENT

PAGES = sorted([*BASE_DIR.glob("*.md"), *(BASE_DIR / "docs").glob("*.md")])
API = (BASE_DIR / "docs" / "api.md").read_text()
# The parameters of every list besides its filters.
PAGING = {"cursor", "limit", "ordering"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def document() -> dict[str, Any]:
    return yaml.safe_load((BASE_DIR / "openapi.yaml").read_text())["paths"]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def anchors(page: Path) -> set[str]:
    """Return the fragments that link to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page

        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked), target


@each_page
def test_the_named_tests_exist(page):
    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", page.read_text()):
        assert f"\ndef {name}(" in (BASE_DIR / file).read_text(), f"{file}::{name}"


@each_page
def test_the_named_files_exist(page: Path) -> None:
    rooms = "accounts|almaFintech|audit|bench|crashtest|docs|login|requirements|scripts"
    for path in re.findall(rf"`((?:{rooms})/[\w/.]*\.\w+)`", page.read_text()):
        assert (BASE_DIR / path).exists(), path


@each_page
def test_the_named_programs_exist(page):
    for module in re.findall(r"python -m ([\w.]*\w)", page.read_text()):
        assert find_spec(module), module


def test_every_promise_names_its_test():
    text = (BASE_DIR / "docs" / "promises.md").read_text()
    promises = re.split(r"^(?=\*\*.*\*\*$)", text, flags=re.MULTILINE)[1:]

    for promise in promises:
        assert re.search(r"^`[\w/]+\.py::\w+`", promise, re.MULTILINE), promise


def test_the_index_of_decisions_is_complete():
    text = (BASE_DIR / "docs" / "decisions.md").read_text()
    index, *entries = re.split(r"^## ", text, flags=re.MULTILINE)
    decisions = {}
    for entry in entries:
        title, _, state = entry.split("\n")[:3]
        date = re.match(r"\*(\d{4}-\d\d-\d\d)", state)
        assert date, title
        decisions[title] = (date[1], "Overturned by" in state)

    listed = re.findall(r"^- (\S+) \[(.*)\]\([^)]*\)(.*)$", index, re.MULTILINE)
    assert {title: (date, bool(state)) for date, title, state in listed} == decisions


def test_every_setting_is_described_with_its_default():
    text = (BASE_DIR / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)?", text, re.MULTILINE))

    assert list(rows) == list(ENVIRONMENT)
    for name, (_, default) in ENVIRONMENT.items():
        shown = "" if default in ("", []) else str(default)
        assert rows[name] == (shown.lower() if isinstance(default, bool) else shown), name


def test_the_endpoints_are_those_of_the_server():
    rows = re.findall(r"^\| `([a-z_{}][a-z_/{}]*)` \| ([A-Z][A-Zor, ]+) \|", API, re.MULTILINE)
    shown = {path: set(re.findall(r"[A-Z]+", methods)) for path, methods in rows}

    assert shown == {
        path.removeprefix("/api/"): {method.upper() for method in operations}
        for path, operations in document().items()
        if path != "/api/"
    }


def test_the_filters_are_those_of_the_server():
    [section] = re.findall(r"## Filtering and ordering\n(.*?)\n## ", API, re.DOTALL)
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    paths = document()

    for lists, filters, orderings in rows:
        for path in quoted(lists):
            parameters = {
                parameter["name"]: parameter["schema"]
                for parameter in paths[f"/api/{path}"]["get"]["parameters"]
                if parameter["in"] == "query"
            }
            assert set(quoted(filters)) == set(parameters) - PAGING, path
            names = {name.removeprefix("-") for name in parameters["ordering"]["enum"]}
            assert {name.removeprefix("-") for name in quoted(orderings)} == names, path
            assert quoted(orderings)[0] == parameters["ordering"].get("default"), path
