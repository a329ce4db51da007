"""HTTP of every response: caching, compression, methods, formats."""

import gzip
import re

import pytest

from accounts.models import Account
from conftest import PASSWORD

PATHS = {
    "": {"GET"},
    "login/": {"POST"},
    "login/refresh/": {"POST"},
    "login/logout/": {"POST"},
    "me/": {"GET", "PATCH"},
    "me/password/": {"POST"},
    "users/": {"GET", "POST"},
    "users/{user}/": {"GET", "POST", "PUT", "PATCH", "DELETE"},
    "profiles/": {"GET"},
    "profiles/{user}/": {"GET", "POST", "PUT", "PATCH"},
    "profiles/{user}/add_account/": {"POST"},
    "profiles/{user}/remove_account/": {"POST"},
    "accounts/": {"GET", "POST"},
    "accounts/{account}/": {"GET", "POST", "PUT", "PATCH", "DELETE"},
    "accounts/{account}/statement/": {"GET"},
    "accounts/{account}/transfers/": {"GET"},
    "accounts/biggest/": {"GET"},
    "transfers/": {"GET", "POST"},
    "transfers/batch/": {"POST"},
    "transfers/{transfer}/": {"GET", "DELETE"},
}
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
every_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture
def at(alice, bob, boss):
    """A function that sends a request to one of PATHS as boss."""
    transfer = alice.send(bob.account, 1).json()["id"]
    ids = {"user": alice.user.pk, "account": alice.account.pk, "transfer": transfer}

    def send(method, path, body=None, **headers):
        return boss.request(method, "/api/" + path.format(**ids), body, **headers)

    return send


@every_path
def test_other_methods_return_405_with_the_allowed_ones(at, path):
    allowed = PATHS[path] | {"OPTIONS"} | ({"HEAD"} if "GET" in PATHS[path] else set())

    for method in {*METHODS, "HEAD", "TRACE", "BREW"} - allowed:
        response = at(method, path, {})

        assert response.status_code == 405, method
        assert {*response["Allow"].split(", ")} == allowed, method
        if method != "HEAD":
            assert response.json()["code"] == "method_not_allowed"


@every_path
def test_options_lists_the_methods(at, path):
    response = at("OPTIONS", path)

    assert response.status_code == 200
    allowed = PATHS[path] | {"OPTIONS"} | ({"HEAD"} if "GET" in PATHS[path] else set())
    assert {*response["Allow"].split(", ")} == allowed


@pytest.mark.parametrize("path", [path for path, methods in PATHS.items() if "GET" in methods])
@pytest.mark.parametrize("query", ["", "?limit=1", "?limit=0", "?format=csv"])
def test_head_is_get_without_a_body(at, path, query):
    if "statement" in path:
        # Without `to`, the period would end at the time of each request.
        query = f"{query or '?'}&to=2999-01-01"
    get, head = at("GET", f"{path}{query}"), at("HEAD", f"{path}{query}")

    assert head.status_code == get.status_code
    # Each request has its own id.
    assert head.headers.pop("X-Request-ID") != get.headers.pop("X-Request-ID")
    assert head.headers.items() == get.headers.items()
    assert not getattr(head, "content", b"")


@every_path
def test_no_response_may_be_stored(at, anyone, path):
    answers = [at(method, path, {}) for method in ("GET", "OPTIONS", "PATCH", "POST")]
    answers += [at("GET", f"{path}?nothing=1"), anyone.get(f"/api/{path}")]
    answers += [anyone.get(f"/api/{path}x"), anyone.get(f"/api/{path or 'me/'}".rstrip("/"))]

    assert {answer["Cache-Control"] for answer in answers} == {"no-store"}


def test_no_error_may_be_stored(alice, anyone, monkeypatch):
    answers = [
        anyone.post("/api/login/", {"username": "alice", "password": PASSWORD}),
        anyone.post("/api/login/", {"username": "alice", "password": "wrong"}),
        anyone.get("/api/", headers={"Host": "evil example"}),
        anyone.get("/api/", headers={"Content-Type": "text/html; charset=utf-16"}),
    ]
    monkeypatch.setattr("accounts.views.AccountViewSet.get_queryset", None)
    answers.append(alice.get("/api/accounts/"))

    assert [answer.status_code for answer in answers] == [200, 401, 400, 415, 500]
    assert {answer["Cache-Control"] for answer in answers} == {"no-store"}
    assert {answer.json().get("code") for answer in answers[1:]} == {
        *["no_active_account", "bad_request", "unsupported_media_type", "server_error"]
    }


def test_pages_outside_the_api_set_their_own_caching(anyone, db):
    assert anyone.get("/admin/login/")["Cache-Control"] != "no-store"


def test_a_long_response_is_compressed_on_request(boss):
    Account.objects.bulk_create(Account(currency="USD") for _ in range(100))

    plain = boss.get("/api/accounts/")
    packed = boss.get("/api/accounts/", **{"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain
    assert packed["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in plain["Vary"]
    assert len(packed.content) == int(packed["Content-Length"]) < len(plain.content) / 2
    assert gzip.decompress(packed.content) == plain.content


def test_a_stream_is_compressed(alice):
    path = f"/api/accounts/{alice.account.pk}/statement/?to=2999-01-01&format=csv"

    plain = alice.get(path)
    packed = alice.get(path, **{"Accept-Encoding": "gzip"})

    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(b"".join(packed)) == b"".join(plain)


def test_tokens_are_not_compressed(alice, anyone):
    login = anyone.post(
        "/api/login/",
        {"username": "alice", "password": PASSWORD},
        headers={"Accept-Encoding": "gzip"},
    )
    refresh = anyone.post("/api/login/refresh/", login.json(), headers={"Accept-Encoding": "gzip"})

    for answer in (login, refresh):
        assert len(answer.content) > 200
        assert "Content-Encoding" not in answer


@every_path
@pytest.mark.parametrize("debug", [False, True])
def test_the_api_has_no_html_pages(at, path, debug, settings):
    settings.DEBUG = debug
    method = "GET" if "GET" in PATHS[path] else "POST"

    refused = at(method, path, {}, Accept="text/html")

    assert (refused.status_code, refused["Content-Type"]) == (406, "application/json")
    assert refused.json()["code"] == "not_acceptable"
    assert at(method, f"{path}?format=api", {}).status_code == 400
    # Clients that also accept anything else get JSON.
    assert at("OPTIONS", path, Accept="text/html, */*")["Content-Type"] == "application/json"


@every_path
@pytest.mark.parametrize("format", ["xml", "JSON", "CSV", "", "html", "json%00"])
def test_an_unknown_format_returns_400(at, path, format):
    offered = "json, csv" if "statement" in path else "json"

    for method in PATHS[path]:
        refused = at(method, f"{path}?format={format}", {})

        assert (refused.status_code, refused["Content-Type"]) == (400, "application/json")
        assert refused.json() == {"format": [f"Must be one of: {offered}."]}


@pytest.mark.parametrize("path", [path for path, methods in PATHS.items() if "GET" in methods])
def test_every_path_accepts_format_json(at, path):
    named, plain = at("GET", f"{path}?format=json"), at("GET", path)

    assert (named.status_code, named["Content-Type"]) == (200, "application/json")
    assert len(named.json()) == len(plain.json()) > 0


@pytest.mark.parametrize("query", ["?nothing=1", "?limit=1"])
def test_the_entry_points_have_no_parameters(at, query):
    response = at("GET", query)

    assert response.status_code == 400
    assert list(response.json().values()) == [["Unknown parameter."]]


def test_the_home_page_links_everything(client, boss):
    page = client.get("/")
    links = re.findall('href="(.*?)"', page.content.decode())

    assert (page.status_code, page["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert links == ["/api/docs/", "/api/redoc/", "/api/schema/", "/api/", "/admin/"]
    assert not re.search("<style|style=|<script| on[a-z]+=", page.content.decode())
    assert "script-src 'self';" in page["Content-Security-Policy"]
    assert [client.get(link, follow=True).status_code for link in links] == [200] * 5


def test_the_favicon_returns_204(client):
    assert client.get("/favicon.ico").status_code == 204


def test_the_api_lists_every_entry_point(anyone):
    names = {url: name for name, url in anyone.get("/api/").json().items()}

    assert names == {
        f"http://testserver/api/{path}/": name
        for name, path in {
            **{name: name for name in ("users", "profiles", "accounts", "transfers", "me")},
            **{name: name for name in ("login", "schema", "docs", "redoc")},
            "refresh": "login/refresh",
            "logout": "login/logout",
            "password": "me/password",
        }.items()
    }
