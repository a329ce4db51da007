"""The OpenAPI document is complete, its examples are real, and its pages need no other server."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import jsonschema_rs
import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from almaFintech.api.pages import docs, document
from almaFintech.api.queries import QueryMixin
from almaFintech.api.views import no_such_path

METHODS = ("get", "post", "put", "patch", "delete")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def resolved(described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in described:
        return described
    _, *steps = described["$ref"].split("/")
    found = document()
    for step in steps:
        found = found[step]
    return found


def served() -> Iterator[tuple[str, str, Any]]:
    """Yield every method, path and view below `/api/`, except those of the documentation."""
    [api] = [
        each
        for each in get_resolver().url_patterns
        if isinstance(each, URLResolver) and str(each.pattern) == "api/"
    ]
    for pattern in api.url_patterns:
        assert isinstance(pattern, URLPattern)
        view: Any = pattern.callback
        if pattern in docs or view is no_such_path:
            continue
        route = str(pattern.pattern)
        if not isinstance(pattern.pattern, RoutePattern):
            route = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route).strip("^$")
        allowed = getattr(view, "actions", None) or view.view_class.http_method_names
        for method in METHODS:
            if method in allowed and (getattr(view, "actions", None) or hasattr(view.cls, method)):
                yield method, f"/api/{route}", view


def test_every_method_of_every_path_is_described():
    described = {(method, path) for method, path, _ in operations()}

    assert described == {(method, path) for method, path, _ in served()}
    assert len(described) > 30


def test_every_operation_has_a_name_and_a_description():
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(names) == len(set(names))
    for _, _, operation in operations():
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", operation["operationId"])
        assert operation["summary"]
        assert operation["description"]
        [tag] = operation["tags"]
        assert tag in {each["name"] for each in document()["tags"]}


def test_every_read_documents_the_parameters_of_its_view():
    """Except `format`, which most documents leave out because it has only one value."""
    views = {route: view for method, route, view in served() if method == "get"}
    compared = 0

    for method, path, operation in operations():
        view = views[path] if method == "get" else None
        if view and issubclass(view.cls, QueryMixin):
            instance = view.cls(**view.initkwargs)
            instance.action = getattr(view, "actions", {}).get("get", "")
            described = {
                each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"
            }
            assert described | {"format"} == {*instance.query_class()().fields, "format"}, path
            assert "400" in operation["responses"], path
            compared += 1

    assert compared > 10


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the description of each body in the document."""
    for method, path, operation in operations():
        places = {status: resolved(answer) for status, answer in operation["responses"].items()}
        places["request"] = operation.get("requestBody", {})
        for place, described in places.items():
            for media in described.get("content", {}).values():
                yield f"{method} {path} {place}", media


def test_every_body_has_an_example_that_fits_its_schema():
    components = {"components": document()["components"]}
    seen = 0

    for place, media in bodies():
        assert media.get("examples"), place
        for example in media["examples"].values():
            jsonschema_rs.validate({**media["schema"], **components}, example["value"])
            seen += 1

    assert seen > 300


def test_a_transfer_whose_accounts_were_deleted_fits_its_schema(alice, bob, boss):
    transfer = alice.send(bob.account, 5).json()
    for person in alice, bob:
        boss.delete(f"/api/accounts/{person.account.pk}/")
    components = {"components": document()["components"]}
    schemas = components["components"]["schemas"]

    shown = boss.get(f"/api/transfers/{transfer['id']}/").json()

    assert (shown["origin"], shown["destination"]) == (None, None)
    jsonschema_rs.validate({**schemas["Transfer"], **components}, shown)
    # A request must name the accounts nevertheless.
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate({**schemas["TransferRequest"], **components}, shown)


def test_the_examples_of_errors_name_every_code():
    shown = {
        example["value"]["code"]
        for _, media in bodies()
        for example in media["examples"].values()
        if isinstance(example["value"], dict) and "code" in example["value"]
    }
    codes = set(document()["components"]["schemas"]["Error"]["properties"]["code"]["enum"])

    # No documented request gets these: they are for other methods and for Python callers.
    assert codes - shown == {
        "balance_changed",
        "method_not_allowed",
        "side_door",
        "transfer_missing",
        "invalid_amount",
    }


@pytest.mark.parametrize(
    ("operation", "status", "header"),
    [
        ("listTransfers", "200", "Link"),
        ("listAccountTransfers", "200", "Link"),
        ("getAccountStatement", "200", "Link"),
        ("createTransfer", "201", "Idempotent-Replayed"),
        ("createTransferBatch", "201", "Idempotent-Replayed"),
        ("createTransfer", "201", "Location"),
        ("createAccount", "201", "Location"),
        ("createUser", "201", "Location"),
        ("login", "401", "WWW-Authenticate"),
        ("listAccounts", "401", "WWW-Authenticate"),
        ("login", "429", "Retry-After"),
        ("cancelTransfer", "503", "Retry-After"),
    ],
)
def test_headers_are_described(operation, status, header):
    [found] = [each for *_, each in operations() if each["operationId"] == operation]

    assert header in resolved(found["responses"][status])["headers"]


def examples_of(parameter: dict[str, Any]) -> list[Any]:
    """Return the typed examples of a parameter; those of optional ones are in the description."""
    if parameter.get("required"):
        return [parameter["example"]]
    _, _, shown = parameter["description"].partition("For example ")
    found = re.findall("`(.+?)`", shown)
    assert found, parameter["name"]
    typed: dict[str, Callable[[str], Any]] = {"integer": int, "boolean": json.loads}
    return [typed.get(parameter["schema"].get("type"), str)(example) for example in found]


def test_optional_parameters_are_not_filled_in():
    """Swagger UI fills in the examples of parameters, and then no list would find any rows."""
    seen = 0

    for *_, operation in operations():
        for parameter in operation.get("parameters", ()):
            if not parameter.get("required"):
                assert not {"example", "examples"} & {*parameter, *parameter["schema"]}
                seen += 1

    assert seen > 50


def test_every_list_finds_rows_with_its_defaults(boss, alice, bob):
    """Swagger UI fills in the defaults."""
    alice.send(bob.account, 1)
    tried = 0

    for method, path, operation in operations():
        if method == "get" and "Link" in operation["responses"]["200"].get("headers", ()):
            query = {
                each["name"]: each["schema"]["default"]
                for each in operation["parameters"]
                if "default" in each["schema"]
            }
            answer = boss.get(f"{path.format(id=alice.account.pk)}?{urlencode(query)}")
            assert answer.status_code == 200, path
            assert answer.json(), path
            tried += 1

    assert tried == 7


def test_every_field_is_described():
    seen = 0

    for name, schema in document()["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert re.fullmatch(r"(?s)[A-Z0-9].*\.", described.get("description", "")), (
                name,
                field,
            )
            seen += 1

    assert seen > 80
    schemas = document()["components"]["schemas"]
    assert "micro units" in schemas["Transfer"]["properties"]["balance"]["description"]


def test_every_parameter_and_every_header_is_described():
    for _, path, operation in operations():
        for parameter in operation.get("parameters", ()):
            assert len(parameter["description"]) > 10, (path, parameter["name"])
        for answer in operation["responses"].values():
            for name, header in resolved(answer).get("headers", {}).items():
                assert header["description"], (path, name)


def test_every_operation_has_its_own_description():
    texts = [operation["description"] for *_, operation in operations()]
    of_views = {view.cls.__doc__ for _, path, view in served() if getattr(view, "actions", None)}

    assert len(texts) == len(set(texts))
    assert not {text for text in texts if text in of_views}


def test_the_document_names_its_license_and_explains_large_numbers():
    info = document()["info"]

    assert info["license"]["name"] == "MIT"
    assert info["contact"]["name"] == "almaFintech"
    assert "BigInt" in info["description"]


def test_the_token_of_swagger_ui_survives_a_reload(anyone):
    script = anyone.get("/api/docs/?script=").content.decode()

    assert '"persistAuthorization": true' in script


def test_every_parameter_has_examples_that_fit_its_schema():
    components = {"components": document()["components"]}
    seen = set()

    for _, path, operation in operations():
        for parameter in operation.get("parameters", ()):
            for example in examples_of(parameter):
                jsonschema_rs.validate({**parameter["schema"], **components}, example)
            seen.add((path, parameter["name"]))

    assert len(seen) > 50


def test_every_example_of_a_query_is_accepted(boss, alice, bob):
    transfer = alice.send(bob.account, 1).json()["id"]
    paths = {"/api/transfers/{id}/": transfer, "/api/users/{id}/": alice.user.pk}
    asked = 0

    for method, path, operation in operations():
        there = path.format(id=paths.get(path, alice.account.pk), user_id=alice.user.pk)
        for parameter in operation.get("parameters", ()):
            if method == "get" and parameter["in"] == "query":
                for example in examples_of(parameter):
                    text = str(example).lower() if isinstance(example, bool) else example
                    answer = boss.get(f"{there}?{urlencode({parameter['name']: text})}")
                    assert answer.status_code == 200, (path, parameter["name"])
                    asked += 1

    assert asked > 40


def test_the_example_of_a_link_works(boss, alice):
    shown = {
        path: operation["responses"]["200"]["headers"]["Link"]["example"]
        for method, path, operation in operations()
        if method == "get" and "Link" in operation["responses"]["200"].get("headers", ())
    }

    assert len(shown) == 7
    for path, link in shown.items():
        start = re.escape(path.replace("{id}", "1"))
        match = re.fullmatch(rf'<http://localhost:8000{start}(\?cursor=[\w%]+)>; rel="next"', link)
        assert match, link
        assert boss.get(path.format(id=alice.account.pk) + match[1]).status_code == 200, link


def test_every_post_that_creates_takes_an_idempotency_key():
    takers = {
        operation["operationId"]
        for *_, operation in operations()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
    }

    assert takers == {"createTransfer", "createTransferBatch", "createAccount", "createUser"}


def test_the_document_is_served_to_anybody(anyone):
    response = anyone.get("/api/schema/", headers={"Accept": "application/json"})

    assert response.status_code == 200
    assert response.json()["openapi"] == "3.1.0"
    assert response.json()["paths"].keys() == document()["paths"].keys()
    assert anyone.get("/api/schema/")["Content-Type"].startswith("application/vnd.oai.openapi")


@pytest.mark.parametrize("path", ["schema", "docs", "redoc"])
def test_the_errors_of_the_documentation_are_json(anyone, path):
    answers = [
        anyone.post(f"/api/{path}/"),
        anyone.get(f"/api/{path}/", headers={"Authorization": "Bearer garbage"}),
        anyone.get(f"/api/{path}/?format=xml"),
        anyone.get(f"/api/{path}/", headers={"Accept": "image/png"}),
    ]

    assert [answer.status_code for answer in answers] == [405, 401, 400, 406]
    assert {answer["Content-Type"] for answer in answers} == {"application/json"}
    codes = [answer.json().get("code") for answer in answers]
    assert codes == ["method_not_allowed", "token_not_valid", None, "not_acceptable"]
    assert list(answers[2].json()) == ["format"]


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_a_page_loads_nothing_from_elsewhere_and_has_nothing_inline(anyone, page):
    response = anyone.get(f"/api/{page}/")

    html = response.content.decode()
    loaded = re.findall(r'(?:src|href|spec-url)="([^"]*)"', html)
    assert response.status_code == 200
    assert len(loaded) > 1
    for address in loaded:
        assert re.match(r"/(static|api)/", address), address
        file = anyone.get(address.replace("&amp;", "&"))
        assert file.status_code == 200, address
        assert list(file), address
    assert not re.search(r"<style|style=|<script(?![^>]* src=)", html)
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "script-src 'self';" in response["Content-Security-Policy"]
