"""Every change by staff is recorded, through the API and the admin alike."""

import re
import threading

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import Account, Transfer
from almaFintech.tests.admin import ACCOUNTS, RECORDS, TRANSFERS, act, shown, user_form
from almaFintech.tests.sql import spelled_out
from audit import trail
from audit.models import Record
from conftest import PASSWORD, needs_row_locks
from login.models import Profile

NEW_PASSWORD = "an even longer, quieter river"


@pytest.fixture
def recorded(boss):
    """Return a function that returns the records since its last call, and checks their author."""
    seen = Record.objects.count()

    def recorded():
        nonlocal seen
        records = list(Record.objects.filter(seq__gt=seen).order_by("seq"))
        seen += len(records)
        for record in records:
            assert (record.by, record.username) == (boss.user.pk, "boss")
        return [(record.action, record.kind, record.number, record.changes) for record in records]

    return recorded


# --- Users -------------------------------------------------------------------------------

NEW_USER = {
    "username": [None, "carol"],
    "password": [None, "***"],
    "first_name": [None, ""],
    "last_name": [None, ""],
    "email": [None, ""],
    "is_staff": [None, False],
    "is_active": [None, True],
    "is_superuser": [None, False],
    "profile.accounts": [None, []],
}


def test_a_new_user_is_recorded(boss, staff, recorded):
    boss.post("/api/users/", {"username": "carol", "password": NEW_PASSWORD})
    user = User.objects.get(username="carol")
    assert recorded() == [("created", "user", user.pk, NEW_USER)]
    user.delete()

    passwords = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    staff.post(
        "/admin/auth/user/add/", {"username": "carol", "usable_password": "true"} | passwords
    )
    user = User.objects.get(username="carol")
    assert recorded() == [("created", "user", user.pk, NEW_USER)]


def test_an_edited_user_is_recorded(boss, alice, staff, recorded):
    key = alice.user.pk
    boss.patch(f"/api/users/{key}/", {"email": "a@example.org", "is_staff": True})
    assert recorded() == [
        ("changed", "user", key, {"email": ["", "a@example.org"], "is_staff": [False, True]})
    ]
    alice.user.refresh_from_db()

    form = user_form(alice.user, email="b@example.org", **{"profile-0-phone": "555"})
    assert staff.post(f"/admin/auth/user/{key}/change/", form).status_code == 302
    assert recorded() == [
        (
            "changed",
            "user",
            key,
            {
                "email": ["a@example.org", "b@example.org"],
                "is_staff": [True, False],
                "profile.phone": [None, "555"],
            },
        )
    ]


def test_a_password_is_never_shown(boss, alice, staff, recorded):
    key = alice.user.pk
    hidden = [("changed", "user", key, {"password": ["***", "***"]})]

    boss.patch(f"/api/users/{key}/", {"password": NEW_PASSWORD})
    assert recorded() == hidden

    passwords = {"password1": PASSWORD, "password2": PASSWORD}
    form = passwords | {"usable_password": "true"}
    assert staff.post(f"/admin/auth/user/{key}/password/", form).status_code == 302
    assert recorded() == hidden


def test_staff_change_their_own_password(boss, staff, recorded):
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    page = "/admin/password_change/"
    assert staff.post(page, form | {"old_password": "wrong"}).status_code == 200
    assert recorded() == []

    assert staff.post(page, form | {"old_password": PASSWORD}).status_code == 302

    assert recorded() == [("changed", "user", boss.user.pk, {"password": ["***", "***"]})]
    boss.user.refresh_from_db()
    assert boss.user.check_password(NEW_PASSWORD)
    # Strangers are redirected to the login, as from every page.
    assert Client().get(page).status_code == 302


def test_a_deleted_user_is_recorded(boss, alice, bob, staff, recorded):
    boss.delete(f"/api/users/{alice.user.pk}/")
    [(action, kind, number, changes)] = recorded()
    assert (action, kind, number) == ("deleted", "user", alice.user.pk)
    assert changes["username"] == ["alice", None]
    assert changes["password"] == ["***", None]
    assert changes["profile.accounts"] == [[alice.account.pk], None]

    staff.post(f"/admin/auth/user/{bob.user.pk}/delete/", {"post": "yes"})
    [(action, kind, number, changes)] = recorded()
    assert (action, kind, number) == ("deleted", "user", bob.user.pk)
    assert changes["username"] == ["bob", None]
    assert User.objects.count() == 1


# --- Profiles ----------------------------------------------------------------------------


def test_an_edited_profile_is_recorded(boss, alice, bob, staff, recorded):
    key = alice.user.pk
    accounts = [alice.account.pk, bob.account.pk]
    boss.patch(f"/api/profiles/{key}/", {"cuit": "20-1", "accounts": accounts})
    assert recorded() == [
        ("changed", "profile", key, {"cuit": [None, "20-1"], "accounts": [accounts[:1], accounts]})
    ]

    form = {"cuit": "20-2", "accounts": accounts[:1]}
    staff.post(f"/admin/login/profile/{alice.user.profile.pk}/change/", form)
    assert recorded() == [
        (
            "changed",
            "profile",
            key,
            {"cuit": ["20-1", "20-2"], "accounts": [accounts, accounts[:1]]},
        )
    ]


def test_adding_and_removing_an_account_is_recorded(boss, alice, bob, recorded):
    path, one = f"/api/profiles/{alice.user.pk}/", {"account_id": bob.account.pk}
    own, both = [alice.account.pk], [alice.account.pk, bob.account.pk]
    for _ in range(2):
        assert boss.post(f"{path}add_account/", one).status_code == 200
    for _ in range(2):
        assert boss.post(f"{path}remove_account/", one).status_code == 200

    # The second time nothing changes.
    assert recorded() == [
        ("changed", "profile", alice.user.pk, {"accounts": [own, both]}),
        ("changed", "profile", alice.user.pk, {"accounts": [both, own]}),
    ]


# --- Accounts ----------------------------------------------------------------------------


def test_an_account_is_recorded_from_its_opening_to_its_closing(boss, staff, recorded):
    key = boss.post("/api/accounts/", {"currency": "USD", "balance": 5}).json()["id"]
    boss.patch(f"/api/accounts/{key}/", {"balance": 7, "reason": "found"})
    assert [record.reason for record in Record.objects.order_by("pk")] == ["", "found"]
    boss.put(f"/api/accounts/{key}/", {"currency": "ARS"})
    boss.put(f"/api/accounts/{key}/", {"currency": "ARS"})
    boss.delete(f"/api/accounts/{key}/")

    assert recorded() == [
        ("created", "account", key, {"currency": [None, "USD"], "balance": [None, 5]}),
        ("changed", "account", key, {"balance": [5, 7]}),
        ("changed", "account", key, {"currency": ["USD", "ARS"]}),
        ("deleted", "account", key, {"currency": ["ARS", None], "balance": [7, None]}),
    ]


def test_an_account_in_the_admin_is_recorded(staff, recorded):
    staff.post(f"{ACCOUNTS}add/", {"currency": "USD", "balance": 5})
    key = Account.objects.get().pk
    page = f"{ACCOUNTS}{key}/"
    edit = {"currency": "USD", "balance": 7, "initial-balance": 5}
    assert staff.post(f"{page}change/", edit).status_code == 200
    staff.post(f"{page}change/", edit | {"reason": "a mistake"})
    assert Record.objects.latest("pk").reason == "a mistake"
    close = {"post": "yes", "shown": f"{key}:USD:7"}
    staff.post(f"{page}delete/", close)
    staff.post(f"{page}delete/", close | {"reason": "lost"})
    assert Record.objects.latest("pk").reason == "lost"

    assert recorded() == [
        ("created", "account", key, {"currency": [None, "USD"], "balance": [None, 5]}),
        ("changed", "account", key, {"balance": [5, 7]}),
        ("deleted", "account", key, {"currency": ["USD", None], "balance": [7, None]}),
    ]


def test_accounts_deleted_together_are_recorded(staff, alice, bob, recorded):
    keys = [alice.account.pk, bob.account.pk]

    confirmed = {"post": "yes", "reason": "x", "shown": shown(alice.account, bob.account)}
    act(staff, ACCOUNTS, "delete_selected", alice.account, bob.account, **confirmed)

    assert Account.objects.count() == 0
    assert [(action, number) for action, _, number, _ in sorted(recorded())] == [
        ("deleted", key) for key in keys
    ]


# --- Transfers ---------------------------------------------------------------------------


def test_cancellations_are_recorded(boss, alice, bob, staff, recorded):
    keys = [alice.send(bob.account, 10).json()["id"] for _ in range(3)]
    boss.cancel(keys[0])
    act(staff, TRANSFERS, "cancel_selected", *Transfer.objects.filter(pk__in=keys[1:]))

    assert recorded() == [
        ("cancelled", "transfer", key, {"cancelled": [False, True]}) for key in keys
    ]


def booked_record(transfer):
    return (
        "created",
        "transfer",
        transfer.pk,
        {
            "origin": [None, transfer.origin_id],
            "destination": [None, transfer.destination_id],
            "balance": [None, 10],
            "currency": [None, "USD"],
            "reference": [None, ""],
        },
    )


def test_a_transfer_in_the_admin_is_recorded_once(alice, bob, staff, recorded):
    form = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 10}
    for _ in range(2):
        response = staff.post(f"{TRANSFERS}add/", form | {"idempotency_key": "twice"})
        assert response.status_code == 302

    assert recorded() == [booked_record(Transfer.objects.get())]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "twice"}])
def test_transfers_of_staff_through_the_api_are_recorded_once(boss, alice, bob, recorded, headers):
    one = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 10}
    for path, body, count in (
        ("/api/transfers/", one, 1),
        ("/api/transfers/batch/", {"transfers": [one] * 3}, 3),
    ):
        for _ in range(2 if headers else 1):
            key = {name: value + str(count) for name, value in headers.items()}
            assert boss.request("POST", path, body, **key).status_code == 201
        made = Transfer.objects.order_by("-pk")[:count]
        assert recorded() == [booked_record(transfer) for transfer in reversed(made)]


def test_transfers_of_users_are_in_the_ledger_alone(alice, bob, recorded):
    transfer = alice.send(bob.account, 10).json()["id"]
    assert bob.cancel(transfer).status_code == 204
    one = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 10}
    assert alice.post("/api/transfers/batch/", {"transfers": [one]}).status_code == 201

    assert recorded() == []


# --- All or nothing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/api/users/{user}/", {"username": "bob"}),
        ("PATCH", "/api/profiles/{user}/", {"accounts": [10**9]}),
        ("POST", "/api/profiles/{user}/add_account/", {"account_id": 10**9}),
        ("PATCH", "/api/accounts/{account}/", {"currency": "ARS"}),
        ("DELETE", "/api/transfers/{transfer}/", None),
    ],
)
def test_a_refusal_leaves_no_record(boss, alice, bob, recorded, method, path, body):
    transfer = alice.send(bob.account, 1).json()["id"]
    bob.send(alice.account, 1)
    keys = {"user": alice.user.pk, "account": alice.account.pk, "transfer": transfer}

    response = boss.request(method, path.format(**keys), body)

    assert response.status_code == 400
    assert recorded() == []


def writes_records(sql):
    return sql.startswith("INSERT INTO") and "audit_record" in sql


@pytest.fixture
def no_records():
    """Make the database refuse new records, and nothing else."""

    def fail(execute, sql, params, many, context):
        if writes_records(sql):
            raise OperationalError("disk full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        yield


def test_a_change_that_cannot_be_recorded_is_not_made(boss, alice, bob, staff, no_records):
    transfer = alice.send(bob.account, 10).json()["id"]
    before = rows()

    sent = {"origin": alice.account.pk, "destination": bob.account.pk, "balance": 10}
    user, account = f"/api/users/{alice.user.pk}/", f"/api/accounts/{bob.account.pk}/"
    profile = f"/api/profiles/{alice.user.pk}/"
    for method, path, body in (
        ("POST", "/api/users/", {"username": "carol", "password": NEW_PASSWORD}),
        ("PATCH", user, {"is_staff": True}),
        ("DELETE", user, None),
        ("PATCH", profile, {"cuit": "20-1"}),
        ("POST", f"{profile}add_account/", {"account_id": bob.account.pk}),
        ("POST", f"{profile}remove_account/", {"account_id": alice.account.pk}),
        ("POST", "/api/accounts/", {"currency": "USD"}),
        ("PATCH", account, {"balance": 99}),
        ("DELETE", account, None),
        ("DELETE", f"/api/transfers/{transfer}/", None),
        ("POST", "/api/transfers/", sent),
        ("POST", "/api/transfers/batch/", {"transfers": [sent]}),
    ):
        assert boss.request(method, path, body).status_code == 503, path
        assert rows() == before, path

    cancel = {"action": "cancel_selected", "_selected_action": [transfer]}
    for path, form in (
        (f"{ACCOUNTS}add/", {"currency": "USD", "balance": 5}),
        (
            f"{ACCOUNTS}{bob.account.pk}/delete/",
            {"post": "yes", "reason": "x", "shown": shown(bob.account)},
        ),
        (f"/admin/auth/user/{alice.user.pk}/change/", user_form(alice.user, is_staff="on")),
        (TRANSFERS, cancel),
        (f"{TRANSFERS}add/", sent),
    ):
        assert staff.post(path, form).status_code == 503, path
        assert rows() == before, path


def rows():
    return [
        list(rows.order_by("pk"))
        for rows in (
            User.objects.exclude(username="boss").values(),
            Profile.objects.values("cuit", "accounts"),
            Account.objects.values("pk", "balance"),
            Transfer.objects.values("pk", "cancelled"),
        )
    ]


@pytest.mark.django_db(transaction=True)
def test_an_edit_that_a_deadlock_rolled_back_is_recorded_once(boss, alice, recorded):
    """The edit is retried from the start; otherwise it would find nothing left to change."""
    failures = [OperationalError(1213, "Deadlock found")]

    def fail_once(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if failures and writes_records(sql):
            raise failures.pop()
        return result

    path = f"/api/accounts/{alice.account.pk}/"

    with connection.execute_wrapper(fail_once):
        response = boss.patch(path, {"balance": 7})

    assert failures == []

    assert (response.status_code, response.json()["balance"], alice.balance) == (200, 7, 7)
    assert recorded() == [("changed", "account", alice.account.pk, {"balance": [1_000_000, 7]})]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/accounts/", 201),
        ("POST", "/api/users/", 201),
        ("DELETE", "/api/users/{user}/", 204),
        ("DELETE", "/api/accounts/{account}/", 204),
    ],
)
def test_a_change_that_a_deadlock_rolled_back_is_retried(
    boss, alice, recorded, monkeypatch, method, path, status
):
    commit, failures = connection.commit, [OperationalError(1213, "Deadlock found")]

    def fail_once():
        if failures:
            connection.rollback()
            raise failures.pop()
        commit()

    monkeypatch.setattr(connection, "commit", fail_once)
    path = path.format(user=alice.user.pk, account=alice.account.pk)
    body = {"username": "carol", "password": "a quiet river", "currency": "USD"}

    assert boss.request(method, path, body).status_code == status

    assert failures == []
    assert len(recorded()) == 1


@pytest.fixture
def before_lock(monkeypatch):
    """Return a function that runs `work` after a row was found and before it is locked."""

    def happen(work):
        locked_row = trail.locked_row

        def after(row, **options):
            with monkeypatch.context() as unpatched:
                unpatched.setattr(trail, "locked_row", locked_row)
                work()
            monkeypatch.setattr(trail, "locked_row", locked_row)
            return locked_row(row, **options)

        monkeypatch.setattr(trail, "locked_row", after)

    return happen


def test_a_deletion_is_recorded_with_the_state_under_the_lock(
    boss, alice, bob, recorded, before_lock
):
    before_lock(lambda: alice.send(bob.account, 400_000))

    assert boss.delete(f"/api/accounts/{alice.account.pk}/").status_code == 204

    [(action, _, _, changes)] = recorded()
    assert (action, changes["balance"]) == ("deleted", [600_000, None])


@pytest.mark.parametrize("path", ["/api/accounts/{account}/", "/api/users/{user}/"])
def test_a_deleted_row_is_not_deleted_again(boss, alice, recorded, before_lock, path):
    path = path.format(user=alice.user.pk, account=alice.account.pk)
    before_lock(lambda: boss.delete(path))

    assert boss.delete(path).status_code == 404

    assert recorded() == []


def test_an_edit_to_the_balance_it_had_before_the_lock_is_an_edit(boss, alice, bob, before_lock):
    before_lock(lambda: alice.send(bob.account, 400_000))

    response = boss.patch(f"/api/accounts/{alice.account.pk}/", {"balance": 1_000_000})

    assert (response.status_code, response.json()["balance"]) == (200, 1_000_000)
    assert alice.balance == 1_000_000


@needs_row_locks
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("statement", "balance"),
    [
        # The edit has found the account, but not locked it: the transfer is booked first.
        (re.compile("SELECT .*accounts_account"), 999_990),
        # The edit has locked the account: the transfer waits.
        (re.compile("SELECT .*accounts_account.* UPDATE"), 1_000_000),
    ],
)
def test_a_change_by_another_user_meanwhile_is_not_recorded(
    boss, alice, bob, recorded, statement, balance
):
    ready, sent = threading.Event(), threading.Event()

    def send():
        ready.wait(10)
        try:
            assert alice.send(bob.account, 10).status_code == 201
        finally:
            sent.set()
            connection.close()

    def let_it_send(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if statement.match(spelled_out(sql)) and not ready.is_set():
            ready.set()
            # Long enough for a transfer that waits for nothing.
            sent.wait(1)
        return result

    thread = threading.Thread(target=send)
    thread.start()
    with connection.execute_wrapper(let_it_send):
        response = boss.put(f"/api/accounts/{alice.account.pk}/", {"currency": "USD"})
    thread.join()

    assert ready.is_set()
    assert (response.status_code, response.json()["balance"]) == (200, balance)
    assert (recorded(), alice.balance) == ([], 999_990)


# --- Reading them --------------------------------------------------------------------------


def test_a_record_outlives_its_object_and_its_author(boss, alice):
    other = alice
    User.objects.filter(pk=other.user.pk).update(is_staff=True)
    other.user.refresh_from_db()
    other.post("/api/accounts/", {"currency": "USD"})

    boss.delete(f"/api/users/{other.user.pk}/")

    assert Record.objects.filter(by=other.user.pk, username="alice", action="created").exists()


def test_staff_read_the_records_and_nobody_edits_them(boss, alice, staff):
    boss.patch(f"/api/users/{alice.user.pk}/", {"first_name": "<b>Al</b>"})
    [record] = Record.objects.all()
    page = f"{RECORDS}{record.pk}/change/"

    listed = staff.get(RECORDS).content.decode()
    assert "first_name: &quot;&quot; → &quot;&lt;b&gt;Al&lt;/b&gt;&quot;" in listed
    assert 'name="action"' not in listed
    assert "boss" in staff.get(page).content.decode()
    for search, found in ((alice.user.pk, True), (boss.user.pk, True), (10**6, False)):
        assert ("first_name" in staff.get(f"{RECORDS}?q={search}").content.decode()) is found

    act(staff, RECORDS, "delete_selected", record, post="yes")
    for path in (page, f"{RECORDS}add/", f"{RECORDS}{record.pk}/delete/"):
        assert staff.post(path, {"username": "x", "post": "yes"}).status_code == 403
    assert Record.objects.get().username == "boss"
