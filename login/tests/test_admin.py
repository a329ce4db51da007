"""Access to the admin, and its pages of users and profiles."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework_simplejwt.tokens import RefreshToken

from accounts.models import Account
from almaFintech.tests.admin import MAX, PROFILES, USERS, act, form, messages, user_form
from conftest import Person
from login.models import Profile

NEW_PASSWORD = "an even longer, quieter river"
PAGES = [
    "/admin/",
    "/admin/accounts/account/",
    "/admin/accounts/account/add/",
    "/admin/accounts/transfer/",
    "/admin/accounts/transfer/add/",
    "/admin/autocomplete/?app_label=accounts&model_name=transfer&field_name=origin",
    "/admin/password_change/",
    USERS,
    f"{USERS}add/",
    PROFILES,
]


def names_in(response):
    return [str(row) for row in response.context["cl"].result_list]


# --- Access -------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_staff_can_open_every_page(staff, boss, page):
    assert not boss.user.is_superuser
    assert not boss.user.get_user_permissions()
    assert staff.get(page).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_others_cannot_open_any_page(alice, page):
    superuser = Person.join("root", is_superuser=True)
    former = Person.join("former", is_staff=True, is_active=False)
    for user in (None, alice.user, superuser.user, former.user):
        client = Client()
        if user:
            client.force_login(user)
        response = client.get(page)
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")


def test_others_cannot_write(alice, bob):
    client = Client()
    client.force_login(alice.user)
    transfer = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 1}

    assert client.post("/admin/accounts/transfer/add/", transfer).status_code == 302
    assert client.post("/admin/accounts/account/add/", {"currency": "USD"}).status_code == 302
    assert client.post(f"{USERS}{alice.user.pk}/change/", {"is_staff": "on"}).status_code == 302
    assert (alice.balance, bob.balance, Account.objects.count()) == (1_000_000, 0, 2)
    assert not User.objects.filter(is_staff=True).exists()


def test_staff_logs_in_with_a_password(boss, alice):
    def log_in(person):
        client = Client()
        data = {"username": person.user.username, "password": "a long and quiet river"}
        client.post("/admin/login/", data)
        return client.get("/admin/").status_code

    assert log_in(boss) == 200
    assert log_in(alice) == 302


def test_tokens_and_groups_have_no_pages(staff, alice):
    token = str(RefreshToken.for_user(alice.user))
    group = Group.objects.create(name="auditors")

    for path in ("token_blacklist/", "token_blacklist/outstandingtoken/", "auth/group/"):
        assert staff.get(f"/admin/{path}").status_code == 404
    for path in ("", "auth/", f"auth/user/{alice.user.pk}/change/"):
        page = staff.get(f"/admin/{path}").content.decode()
        assert token not in page
        assert "outstandingtoken" not in page
        assert group.name not in page


# --- Users -------------------------------------------------------------------------------


def test_a_user_is_added_in_two_steps(staff):
    page = staff.get(f"{USERS}add/").content.decode()
    assert "profile-0" not in page

    data = {
        "username": "carol",
        "usable_password": "true",
        "password1": NEW_PASSWORD,
        "password2": NEW_PASSWORD,
    }
    response = staff.post(f"{USERS}add/", data, follow=True)

    carol = User.objects.get(username="carol")
    assert response.request["PATH_INFO"] == f"{USERS}{carol.pk}/change/"
    assert NEW_PASSWORD not in carol.password
    assert carol.check_password(NEW_PASSWORD)
    assert (carol.is_staff, carol.is_superuser) == (False, False)
    assert Profile.objects.filter(user=carol).count() == 1


def test_a_username_that_is_taken_is_refused(staff, alice):
    data = {
        "username": "alice",
        "usable_password": "true",
        "password1": NEW_PASSWORD,
        "password2": NEW_PASSWORD,
    }
    response = staff.post(f"{USERS}add/", data)

    assert response.status_code == 200
    assert [*form(response).errors] == ["username"]
    assert User.objects.filter(username__iexact="alice").count() == 1
    assert not User.objects.get(username="alice").check_password(NEW_PASSWORD)


def test_a_username_taken_at_the_same_moment_is_refused(staff, alice, bob, monkeypatch):
    # The form finds the name free; only the database detects the conflict.
    monkeypatch.setattr(User, "validate_unique", lambda self, exclude=None: None)
    path = f"{USERS}{bob.user.pk}/change/"
    response = staff.post(path, user_form(bob.user, username="alice"), follow=True)

    assert messages(response) == ["Another request changed the same data at the same time."]
    assert sorted(User.objects.values_list("username", flat=True)) == ["alice", "bob", "boss"]


def test_a_user_is_edited_with_the_profile(staff, alice, bob):
    path = f"{USERS}{alice.user.pk}/change/"
    page = staff.get(path).content.decode()
    names = set(re.findall(r'name="([^"]+)"', page))
    assert {"username", "is_staff", "profile-0-cuit", "profile-0-accounts"} <= names
    # `is_staff` is the only permission, and no page suggests another.
    assert not names & {"groups", "user_permissions", "is_superuser"}

    data = user_form(
        alice.user,
        first_name="Alice",
        is_staff="on",
        **{"profile-0-cuit": "20-12345678-3", "profile-0-accounts": [bob.account.pk]},
    )
    response = staff.post(path, data)

    assert response.status_code == 302
    alice.user.refresh_from_db()
    assert (alice.user.first_name, alice.user.is_staff) == ("Alice", True)
    profile = Profile.objects.get(user=alice.user)
    assert profile.cuit == "20-12345678-3"
    assert [*profile.accounts.all()] == [bob.account]
    assert alice.user.check_password("a long and quiet river")


def test_the_page_of_a_user_adds_a_missing_profile(staff):
    [carol] = User.objects.bulk_create([User(username="carol")])
    path = f"{USERS}{carol.pk}/change/"
    assert staff.get(path).status_code == 200

    data = {
        "username": "carol",
        "profile-TOTAL_FORMS": 1,
        "profile-INITIAL_FORMS": 0,
        "profile-0-user": carol.pk,
        "profile-0-company": "Rossi Hnos.",
    }
    assert staff.post(path, data).status_code == 302
    assert Profile.objects.get(user=carol).company == "Rossi Hnos."


def test_a_new_password_is_stored_hashed(staff, alice):
    path = f"{USERS}{alice.user.pk}/password/"
    data = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}

    assert staff.post(path, data).status_code == 302
    alice.user.refresh_from_db()
    assert NEW_PASSWORD not in alice.user.password
    assert alice.user.check_password(NEW_PASSWORD)


def test_the_page_of_a_user_neither_shows_nor_accepts_a_hash(staff, alice):
    before = User.objects.get(pk=alice.user.pk).password
    path = f"{USERS}{alice.user.pk}/change/"

    assert before not in staff.get(path).content.decode()
    staff.post(path, user_form(alice.user, password="a plain text"))
    assert User.objects.get(pk=alice.user.pk).password == before


def test_a_user_is_deleted_with_the_profile(staff, alice):
    RefreshToken.for_user(alice.user)
    path = f"{USERS}{alice.user.pk}/delete/"

    assert "Are you sure" in staff.get(path).content.decode()
    assert staff.post(path, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="alice").exists()
    assert not Profile.objects.filter(pk=alice.user.profile.pk).exists()
    assert alice.balance == 1_000_000, "the account stays"


def test_users_are_deleted_in_bulk(staff, alice, bob):
    response = act(staff, USERS, "delete_selected", alice.user, bob.user, post="yes")

    assert messages(response) == ["Successfully deleted 2 users."]
    assert [*User.objects.values_list("username", flat=True)] == ["boss"]
    assert [*Profile.objects.values_list("user__username", flat=True)] == ["boss"]


@pytest.mark.parametrize("number", ["abc", "\0", str(MAX), "9" * 30])
def test_no_user_is_deleted_when_a_selected_one_is_missing(staff, alice, number):
    response = act(staff, USERS, "delete_selected", alice.user, number, post="yes")

    assert messages(response) == [
        "Some of the selected rows are no longer in the list: select again. Nothing was changed."
    ]
    assert User.objects.filter(username="alice").exists()


@pytest.mark.parametrize("path", [USERS, PROFILES])
def test_a_search_for_a_nul_finds_nobody(staff, alice, path):
    assert names_in(staff.get(f"{path}?q=%00")) == []


@pytest.mark.parametrize("path", [USERS, PROFILES])
def test_a_search_for_thousands_of_words_finds_nobody(staff, alice, path):
    assert names_in(staff.get(f"{path}?q={'a+' * 100}")) == ["alice"]
    response = staff.get(f"{path}?q={'a+' * 4000}")

    assert (response.status_code, names_in(response)) == (200, [])


# --- Profiles ----------------------------------------------------------------------------


def test_a_profile_is_edited(staff, alice, bob):
    path = f"{PROFILES}{alice.user.profile.pk}/change/"
    data = {"cuit": "20-1", "phone": "1", "company": "A", "accounts": [bob.account.pk]}

    assert staff.post(path, {**data, "user": bob.user.pk}).status_code == 302
    profile = Profile.objects.get(pk=alice.user.profile.pk)
    assert (profile.cuit, profile.phone, profile.company) == ("20-1", "1", "A")
    assert (profile.user, [*profile.accounts.all()]) == (alice.user, [bob.account])


def test_a_profile_is_neither_added_nor_deleted(staff, alice):
    profile = alice.user.profile

    assert staff.get(f"{PROFILES}add/").status_code == 403
    assert staff.post(f"{PROFILES}{profile.pk}/delete/", {"post": "yes"}).status_code == 403
    act(staff, PROFILES, "delete_selected", profile, post="yes")
    assert Profile.objects.filter(pk=profile.pk).exists()


@pytest.mark.parametrize("page", ["user", "profile"])
def test_the_page_of_a_profile_does_not_list_all_accounts(staff, alice, bob, page):
    ids = {"user": (USERS, alice.user.pk), "profile": (PROFILES, alice.user.profile.pk)}
    path, pk = ids[page]
    html = staff.get(f"{path}{pk}/change/").content.decode()
    [select] = re.findall(r'<select name="(?:profile-0-)?accounts".*?</select>', html, re.S)

    assert re.findall(r'<option value="(\d+)"', select) == [str(alice.account.pk)]


@pytest.mark.parametrize("number", ["abc", "\0", "", "-1", "1.5", str(MAX), "9" * 30, "9" * 5000])
def test_a_missing_account_is_an_error_of_the_form(staff, alice, number):
    profile, accounts = alice.user.profile, [alice.account.pk, number]
    user_page, profile_page = f"{USERS}{alice.user.pk}/change/", f"{PROFILES}{profile.pk}/change/"
    data = user_form(alice.user, **{"profile-0-accounts": accounts, "profile-0-cuit": "20-1"})
    with_inline = staff.post(user_page, data)
    alone = staff.post(profile_page, {"accounts": accounts, "cuit": "20-1"})

    [inline] = with_inline.context["inline_admin_formsets"]
    for response, errors in (
        (with_inline, inline.formset.forms[0].errors),
        (alone, form(alone).errors),
    ):
        assert (response.status_code, [*errors]) == (200, ["accounts"])
        # The existing account is still selected.
        assert f'<option value="{alice.account.pk}" selected>' in response.content.decode()
    profile.refresh_from_db()
    assert (profile.cuit, [*profile.accounts.all()]) == (None, [alice.account])


@pytest.mark.parametrize("page", ["user", "profile"])
def test_a_profile_may_be_left_without_accounts(staff, alice, page):
    pages = {
        "user": (f"{USERS}{alice.user.pk}", user_form(alice.user, **{"profile-0-accounts": []})),
        "profile": (f"{PROFILES}{alice.user.profile.pk}", {"cuit": ""}),
    }
    path, data = pages[page]

    assert staff.post(f"{path}/change/", data).status_code == 302
    assert not alice.user.profile.accounts.exists()


# --- Lists -------------------------------------------------------------------------------


def test_search_and_filters(staff, alice, bob):
    Profile.objects.filter(user=bob.user).update(company="Rossi Hnos.")
    User.objects.filter(pk=bob.user.pk).update(email="bob@example.com", is_active=False)

    assert names_in(staff.get(f"{USERS}?q=ALI")) == ["alice"]
    assert names_in(staff.get(f"{USERS}?q=example.com")) == ["bob"]
    assert names_in(staff.get(f"{USERS}?is_staff__exact=1")) == ["boss"]
    assert names_in(staff.get(f"{USERS}?is_active__exact=0")) == ["bob"]
    assert names_in(staff.get(f"{PROFILES}?q=rossi")) == ["bob"]
    assert names_in(staff.get(f"{PROFILES}?q=alice")) == ["alice"]


@pytest.mark.parametrize("path", [USERS, PROFILES])
@pytest.mark.parametrize(
    "query", ["q=%00", "q=%25", "username=%00", "cuit=%00", "is_staff__exact=x"]
)
def test_a_nonsensical_query_is_not_a_server_error(staff, path, query):
    # Django returns 400 for a query by a field that is not a filter.
    assert staff.get(f"{path}?{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize("path", [USERS, PROFILES])
def test_the_queries_of_a_list_do_not_grow_with_its_rows(staff, path):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(path).status_code == 200
        return [query["sql"] for query in captured]

    Person.join("first")
    few = queries()
    for number in range(5):
        Person.join(f"user{number}")
    many = queries()

    assert len(many) == len(few)
    assert [sql for sql in many if "COUNT(" in sql]
    assert not [sql for sql in many if "COUNT(" in sql and "LIMIT" not in sql]
