"""Requests that are repeated with their Idempotency-Key."""

import json
import threading
from datetime import timedelta
from io import StringIO
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts import bookings, ledger
from accounts.idempotency import fingerprint_of, understood
from accounts.models import Account, Entry, IdempotencyKey, Transfer
from accounts.tests.concurrency import run_concurrently
from accounts.tests.metrics import refusals
from conftest import PASSWORD, needs_row_locks
from login.serializers import UserSerializer

PATH = "/api/transfers/"


def body_of(alice, bob, balance: int = 300_000) -> dict:
    return {"origin": alice.account.pk, "destination": bob.account.pk, "balance": balance}


def test_a_repeated_request_is_carried_out_once(alice, bob):
    body = body_of(alice, bob)

    first = alice.post(PATH, body, idempotency_key="k1")
    again = alice.post(PATH, body, idempotency_key="k1")

    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert Transfer.objects.count() == 1


def test_another_key_is_another_request(alice, bob):
    alice.post(PATH, body_of(alice, bob), idempotency_key="k1")
    alice.post(PATH, body_of(alice, bob), idempotency_key="K1")

    assert bob.balance == 600_000


def test_the_same_json_may_be_written_differently(alice, bob):
    first = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")
    spelt = '{ "balance":300000, "destination":%d, "origin":%d }'

    again = alice.post(PATH, spelt % (bob.account.pk, alice.account.pk), idempotency_key="k1")

    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("spelling", ["3e5", "300000.0", '"300000"', '"0300000"'])
def test_an_amount_may_be_written_differently(alice, bob, spelling):
    first = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")
    body = json.dumps(body_of(alice, bob)).replace("300000", spelling)

    again = alice.post(PATH, body, idempotency_key="k1")

    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert bob.balance == 300_000


def test_a_form_is_the_same_request_as_json(alice, bob):
    first = alice.post(PATH, body_of(alice, bob) | {"unread": 1}, idempotency_key="k1")

    again = alice.post(PATH, urlencode(body_of(alice, bob)), idempotency_key="k1", **FORM)

    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert bob.balance == 300_000


def test_a_batch_may_be_written_differently(alice, bob):
    path = "/api/transfers/batch/"
    first = alice.post(path, {"transfers": [body_of(alice, bob)]}, idempotency_key="k1")
    as_text = {name: str(value) for name, value in body_of(alice, bob).items()}

    again = alice.post(path, {"transfers": [as_text]}, idempotency_key="k1")
    other = alice.post(path, {"transfers": [as_text] * 2}, idempotency_key="k1")

    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert other.json()["code"] == "idempotency_key_reused"
    assert bob.balance == 300_000


@pytest.mark.parametrize("body", ["[]", "5", '{"balance": {"a": []}}', '{"origin": null}'])
def test_a_body_that_no_field_can_read_is_another_request(alice, bob, body):
    alice.post(PATH, body_of(alice, bob), idempotency_key="k1")

    assert alice.post(PATH, body, idempotency_key="k1").status_code == 422
    assert alice.post(PATH, body, idempotency_key="k2").status_code == 400


def test_an_account_is_opened_once(boss):
    body = {"currency": "USD", "balance": 5, "reason": "opened at the counter"}

    first = boss.post("/api/accounts/", body, idempotency_key="k1")
    boss.patch(first["Location"], {"balance": 6})
    again = boss.post("/api/accounts/", body | {"balance": "5"}, idempotency_key="k1")
    other = boss.post("/api/accounts/", body | {"reason": "no"}, idempotency_key="k1")

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first["Location"] == f"/api/accounts/{first.json()['id']}/"
    for name in "Location", "ETag":
        assert first[name] == again[name]
    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert Account.objects.count() == 1


def test_a_user_is_created_once(boss):
    body = {"username": "carol", "password": PASSWORD}

    first = boss.post("/api/users/", body, idempotency_key="k1")
    again = boss.post("/api/users/", body, idempotency_key="k1")
    # The password is not compared, because that would store a quick hash of it.
    same = boss.post("/api/users/", body | {"password": "another long river"}, idempotency_key="k1")
    other = boss.post("/api/users/", body | {"is_staff": True}, idempotency_key="k1")
    without = boss.post("/api/users/", body)

    statuses = [response.status_code for response in (first, again, same, other, without)]
    assert statuses == [201, 201, 201, 422, 400]
    assert first["Location"] == f"/api/users/{first.json()['id']}/"
    for replay in again, same:
        assert (replay.content, replay["Location"]) == (first.content, first["Location"])
        assert replay["Idempotent-Replayed"] == "true"
    carol = User.objects.get(username="carol")
    assert carol.check_password(PASSWORD)
    assert not carol.is_staff


def test_a_password_is_not_in_the_fingerprint():
    prints = {
        json.dumps(understood(UserSerializer(data={"username": "carol", "password": password})))
        for password in ("a", "b")
    }

    assert prints == {'{"username": "carol"}'}


def test_a_replay_has_the_location_of_its_transfer(alice, bob):
    first = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")

    again = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")

    assert again["Location"] == first["Location"] == f"{PATH}{first.json()['id']}/"


def test_a_key_on_an_edit_is_ignored(alice, boss):
    path = f"/api/accounts/{alice.account.pk}/"

    for balance in 1, 2:
        edited = boss.post(path, {"currency": "USD", "balance": balance}, idempotency_key="k1")
        assert edited.status_code == 200
        assert "Idempotent-Replayed" not in edited
    assert alice.balance == 2
    assert IdempotencyKey.objects.count() == 0


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_twenty_concurrent_requests_create_one_user(boss):
    body = {"currency": "USD", "balance": 5}
    user = {"username": "carol", "password": PASSWORD}

    accounts = [lambda: boss.post("/api/accounts/", body, idempotency_key="k1")] * 10
    users = [lambda: boss.post("/api/users/", user, idempotency_key="k2")] * 10

    assert run_concurrently(*accounts, *users) == [201] * 20
    assert Account.objects.count() == 1
    assert User.objects.filter(username="carol").count() == 1


def test_a_replayed_response_does_not_change(alice, bob, boss):
    first = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")
    bob.cancel(first.json()["id"])
    boss.delete(f"/api/accounts/{bob.account.pk}/")
    alice.user.profile.accounts.clear()

    again = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")

    assert again.content == first.content
    assert again.json()["cancelled"] is False
    assert alice.balance == 1_000_000


@pytest.mark.parametrize("path", [PATH, "/api/transfers/batch/"])
def test_a_key_cannot_be_reused_for_another_request(alice, bob, path):
    alice.post(PATH, body_of(alice, bob), idempotency_key="k1")

    response = alice.post(path, body_of(alice, bob, 1), idempotency_key="k1")

    assert response.status_code == 422
    assert response.json()["code"] == "idempotency_key_reused"
    assert (alice.balance, bob.balance) == (700_000, 300_000)


def test_a_key_cannot_be_reused_at_another_path(alice, bob):
    transfer = body_of(alice, bob)
    # Each path reads only its own fields.
    body = {**transfer, "transfers": [transfer]}
    first = alice.post(PATH, body, idempotency_key="k1")

    response = alice.post(f"{PATH}batch/", body, idempotency_key="k1")

    assert first.status_code == 201
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert alice.post(f"{PATH}batch/", body, idempotency_key="k2").status_code == 201


def test_the_same_data_at_two_paths_makes_two_requests():
    """No two paths read the same fields today, but a new one may."""
    asked = {("POST", PATH), ("POST", f"{PATH}batch/"), ("PUT", PATH)}

    assert len({fingerprint_of(method, path, {"balance": 5}) for method, path in asked}) == 3


def test_a_key_belongs_to_its_user(alice, bob):
    alice.post(PATH, body_of(alice, bob), idempotency_key="k1")

    response = bob.post(PATH, body_of(bob, alice, 1), idempotency_key="k1")

    assert response.status_code == 201
    assert (alice.balance, bob.balance) == (700_001, 299_999)


def test_a_refused_request_leaves_its_key_free(alice, bob):
    body = body_of(alice, bob, 1_000_001)
    refused = alice.post(PATH, body, idempotency_key="k1")
    malformed = alice.post(PATH, {}, idempotency_key="k1")
    foreign = bob.post(PATH, body_of(alice, bob), idempotency_key="k1")
    assert [r.status_code for r in (refused, malformed, foreign)] == [400, 400, 403]
    assert IdempotencyKey.objects.count() == 0
    alice.account.balance += 1
    alice.account.save()

    response = alice.post(PATH, body, idempotency_key="k1")

    assert response.status_code == 201
    assert "Idempotent-Replayed" not in response
    assert (alice.balance, bob.balance) == (0, 1_000_001)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é", "a\x7f", "\t"])
def test_a_key_is_visible_ascii(alice, bob, key):
    response = alice.post(PATH, body_of(alice, bob), idempotency_key=key)

    assert response.status_code == 400
    assert response.json()["code"] == "idempotency_key_malformed"
    assert alice.balance == 1_000_000


@pytest.mark.parametrize("key", ["!", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~" * 255])
def test_any_visible_ascii_is_a_key(alice, bob, key):
    assert alice.post(PATH, body_of(alice, bob), idempotency_key=key).status_code == 201
    again = alice.post(PATH, body_of(alice, bob), idempotency_key=key)

    assert again["Idempotent-Replayed"] == "true"
    assert bob.balance == 300_000


def test_a_batch_is_repeated_as_a_whole(alice, bob):
    batch = {"transfers": [body_of(alice, bob, 1), body_of(alice, bob, 2)]}

    first = alice.post("/api/transfers/batch/", batch, idempotency_key="k1")
    again = alice.post("/api/transfers/batch/", batch, idempotency_key="k1")

    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert again["Idempotent-Replayed"] == "true"
    assert bob.balance == 3


def test_keys_expire(alice, bob, settings):
    for key in ("old", "young"):
        alice.post(PATH, body_of(alice, bob, 1), idempotency_key=key)
    expired = timezone.now() - timedelta(days=settings.IDEMPOTENCY_KEY_DAYS, seconds=1)
    IdempotencyKey.objects.filter(key="old").update(created=expired)
    out = StringIO()

    call_command("expire_idempotency_keys", stdout=out)

    assert out.getvalue() == "1 expired.\n"
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["young"]
    alice.post(PATH, body_of(alice, bob, 1), idempotency_key="old")
    assert bob.balance == 3


def test_the_keys_of_a_deleted_user_are_deleted(alice, bob):
    alice.post(PATH, body_of(alice, bob, 1), idempotency_key="k1")
    user = alice.user.pk
    alice.user.delete()

    assert IdempotencyKey.objects.count() == 0
    assert Entry.objects.filter(by=user).count() == 2


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_twenty_concurrent_requests_move_the_money_once(alice, bob):
    body = body_of(alice, bob)
    responses = []

    def request():
        responses.append(alice.post(PATH, body, idempotency_key="k1"))
        return responses[-1]

    assert run_concurrently(*[request] * 20) == [201] * 20
    assert len({response.content for response in responses}) == 1
    assert sum("Idempotent-Replayed" in response for response in responses) == 19
    assert (alice.balance, bob.balance) == (700_000, 300_000)
    assert Transfer.objects.count() == 1


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_keys_race_with_cancellations(alice, bob):
    body = body_of(alice, bob)
    for key in "abcde":
        transfer = alice.post(PATH, body, idempotency_key=key).json()["id"]

        statuses = run_concurrently(
            *[lambda key=key: alice.post(PATH, body, idempotency_key=key)] * 4,
            *[lambda transfer=transfer: bob.cancel(transfer)] * 4,
        )

        assert statuses[:4] == [201] * 4
        assert sorted(statuses[4:]) == [204, 400, 400, 400]
        assert (alice.balance, bob.balance) == (1_000_000, 0)
    assert Transfer.objects.count() == 5


@needs_row_locks
@pytest.mark.usefixtures("verified")
def test_a_request_waits_for_its_key_and_then_gives_up(alice, bob, monkeypatch):
    entered, leave = threading.Event(), threading.Event()
    write = ledger.Posting.write

    def write_slowly(posting):
        entered.set()
        leave.wait(timeout=30)
        write(posting)

    monkeypatch.setattr(ledger.Posting, "write", write_slowly)
    responses = []

    def slow_request():
        responses.append(alice.post(PATH, body_of(alice, bob), idempotency_key="k1"))
        connection.close()

    slow = threading.Thread(target=slow_request)
    slow.start()
    assert entered.wait(timeout=10)
    # In one process the second would wait for the group of the first; this one is another's.
    monkeypatch.setattr(bookings, "committer", bookings.Committer())
    counted = refusals("post", "idempotency_key_in_flight")
    impatient, patient = {
        "postgresql": ("SET lock_timeout = '300ms'", "RESET lock_timeout"),
        "mysql": (
            "SET SESSION innodb_lock_wait_timeout = 1",
            "SET SESSION innodb_lock_wait_timeout = DEFAULT",
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(impatient)
    try:
        response = alice.post(PATH, body_of(alice, bob), idempotency_key="k1")
    finally:
        leave.set()
        slow.join(timeout=10)
        # The next test uses the same connection.
        with connection.cursor() as cursor:
            cursor.execute(patient)
        connection.close()

    assert response.status_code == 409
    assert response.json()["code"] == "idempotency_key_in_flight"
    # The ledger has refused nothing.
    assert refusals("post", "idempotency_key_in_flight") == counted
    assert responses[0].status_code == 201
    assert bob.balance == 300_000
