"""Headers that restrict browsers."""

import re

import pytest

from almaFintech.middleware.headers import POLICIES, policy_of
from almaFintech.tests.servers import PRODUCTION, python

ORIGIN = "https://shop.example"


def directives(policy):
    return dict(part.split(" ", 1) for part in policy.split("; "))


def test_api_responses_have_the_strictest_policy(alice, anyone):
    for response in (
        alice.get("/api/accounts/"),
        anyone.get("/api/accounts/"),
        anyone.get("/api/nowhere/"),
        anyone.post("/api/login/", {}),
    ):
        policy = response["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"


def test_the_admin_runs_only_the_scripts_of_this_server(staff, client):
    for response in client.get("/admin/login/"), staff.get("/admin/"):
        policy = directives(response["Content-Security-Policy"])
        assert policy["default-src"] == policy["base-uri"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"


@pytest.mark.server
@pytest.mark.parametrize("path", [*POLICIES, "/admin/", "/static/x.js", "/nowhere"])
def test_no_policy_allows_inline_scripts_or_other_origins(path):
    policy = policy_of(path)

    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy
    assert directives(policy)["default-src"] == directives(policy)["frame-ancestors"] == "'none'"
    # Scripts must be files of this server.
    assert directives(policy).get("script-src", "'self'") == "'self'"


def test_no_admin_page_needs_inline_scripts_or_styles(staff, alice, bob):
    """The policy would break a page with inline scripts, styles or handlers."""
    alice.send(bob.account, 1)
    account = f"/admin/accounts/account/{alice.account.pk}/"
    for page in (
        "/admin/",
        "/admin/accounts/account/",
        f"{account}change/",
        f"{account}delete/",
        f"{account}history/",
        "/admin/accounts/transfer/",
        "/admin/accounts/transfer/add/",
        f"/admin/auth/user/{alice.user.pk}/change/",
        f"/admin/auth/user/{alice.user.pk}/password/",
        "/admin/login/profile/",
        "/admin/audit/record/",
        "/admin/password_change/",
    ):
        response = staff.get(page)
        assert response.status_code == 200
        html = response.content.decode()
        scripts = re.findall(r"<script(?![^>]*(?: src=|application/json))[^>]*>", html)
        assert (page, scripts) == (page, [])
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)


def test_every_response_of_production_has_the_headers():
    requests = """
from django.test import Client
client = Client(headers={"host": "wallet.example"})
for path in "/admin/login/", "/api/", "/api/nowhere/", "/static/admin/css/base.css":
    response = client.get(path, secure=True)
    print(*(response.headers.get(name) for name in (
        "Strict-Transport-Security", "X-Content-Type-Options", "Referrer-Policy",
        "Cross-Origin-Opener-Policy")), "|", "camera=()" in response["Permissions-Policy"],
        "'none'" in response["Content-Security-Policy"])
"""
    code = f"from almaFintech.wsgi import application; {requests}"

    result = python("-c", code, **PRODUCTION)

    line = "max-age=31536000 nosniff same-origin same-origin | True True\n"
    assert result.stdout == line * 4


def test_no_page_can_be_framed(client, anyone):
    for response in client.get("/admin/login/"), anyone.get("/api/"):
        assert response["X-Frame-Options"] == "DENY"


def test_scripts_cannot_read_cookies():
    names = ("SESSION_COOKIE", "CSRF_COOKIE")
    code = """
from almaFintech import settings as s; import django.conf.global_settings as g
for name in %r:
    print(*(getattr(s, f"{name}_{flag}", getattr(g, f"{name}_{flag}")) for flag in
        ("SECURE", "HTTPONLY", "SAMESITE")))
"""
    assert python("-c", code % (names,), **PRODUCTION).stdout == "True True Lax\n" * 2


def test_debug_error_pages_keep_their_styles(client, settings):
    settings.DEBUG = True

    assert "Content-Security-Policy" not in client.get("/nowhere").headers
    assert "Content-Security-Policy" in client.get("/admin/login/").headers
    assert "Content-Security-Policy" in client.get("/api/nowhere/").headers


# --- CORS --------------------------------------------------------------------------------


def ask(anyone, path="/api/accounts/"):
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    return anyone.options(path, headers=preflight), anyone.get(path, headers={"Origin": ORIGIN})


def test_other_origins_are_refused(db, anyone):
    for response in ask(anyone):
        assert not [name for name in response.headers if name.startswith("Access-Control")]


def test_a_listed_origin_may_call_only_the_api(db, anyone, settings):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]

    for response in ask(anyone):
        assert response["Access-Control-Allow-Origin"] == ORIGIN
        assert "Location" in response.get("Access-Control-Expose-Headers", "Location")
        # Without this header browsers send no cookies, so scripts cannot use the admin's session.
        assert "Access-Control-Allow-Credentials" not in response.headers
    for response in ask(anyone, "/admin/login/"):
        assert "Access-Control-Allow-Origin" not in response.headers


def test_a_listed_origin_can_read_refusals(db, anyone, settings):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    settings.MAX_BODY_BYTES = 10

    response = anyone.post("/api/login/", {"username": "x" * 20}, headers={"Origin": ORIGIN})

    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (413, ORIGIN)
