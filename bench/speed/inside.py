"""The part of the benchmark that runs with the server's own code and settings, in a new process.

`python -P inside.py COMMAND [ARG ...]` runs in any tree of the server that PYTHONPATH names, and
prints JSON. The log goes to stderr.
"""

import json
import random
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count, cycle, repeat
from pathlib import Path
from typing import Any, TypeAlias

Environ: TypeAlias = dict[str, Any]

BALANCE = 10**12
AT_A_TIME = 1000
PAGE = 100
WARM_UP = 20


def set_up() -> None:
    import django

    django.setup()


def world(people: int, password: str) -> dict[str, Any]:
    """Create the tables, `people` users with an account each, a user with all of them, and staff.

    Returns their tokens, the id of the user with all accounts, and the ids of the accounts.
    """
    set_up()
    from django.contrib.auth.hashers import Argon2PasswordHasher, get_hasher, make_password
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import transaction

    from accounts import ledger
    from accounts.models import Account
    from login.models import Profile
    from login.tokens import tokens_for

    call_command("migrate", verbosity=0)
    hashers: list[Any] = [get_hasher(), Argon2PasswordHasher]
    hashed = make_password(password)
    boss, rich, *users = User.objects.bulk_create(
        User(username=name, password=hashed, is_staff=name == "boss")
        for name in ("boss", "rich", *(f"user{number}" for number in range(people)))
    )
    accounts = ledger.open_accounts(Account(currency="USD", balance=BALANCE) for _ in users)
    _, all_accounts, *own = Profile.objects.bulk_create(
        Profile(user=user) for user in (boss, rich, *users)
    )
    link = Profile.accounts.through
    link.objects.bulk_create(
        link(profile=profile, account=account)
        for profiles in (own, [all_accounts] * people)
        for profile, account in zip(profiles, accounts, strict=True)
    )
    with transaction.atomic():
        boss_token, rich_token, *tokens = [
            str(tokens_for(user)["access"]) for user in (boss, rich, *users)
        ]
    # The first page of transfers is full from the start.
    _post([account.pk for account in accounts], 2 * PAGE)
    return {
        "boss": boss_token,
        "rich": rich_token,
        "author": rich.pk,
        # KiB of memory for each password hash: of this server, and as Django configures it.
        "hash_kib": [hasher.memory_cost for hasher in hashers],
        "tokens": tokens,
        "accounts": [account.pk for account in accounts],
    }


def transfers(number: int, username: str) -> list[int]:
    """Book transfers between random accounts of a user in USD, and return their ids."""
    set_up()
    from accounts.models import Account

    own = Account.objects.filter(profile__user__username=username, currency="USD")
    return _post(list(own.values_list("pk", flat=True)), number)


def _post(accounts: Sequence[int], number: int) -> list[int]:
    from accounts import ledger
    from accounts.models import Transfer

    booked: list[int] = []
    while len(booked) < number:
        pairs = [random.sample(accounts, 2) for _ in range(min(AT_A_TIME, number - len(booked)))]
        new = ledger.post(Transfer(origin_id=a, destination_id=b, balance=1) for a, b in pairs)
        booked += [transfer.pk for transfer in new]
    return booked


def reader(staff: str, merchant: str) -> dict[str, Any]:
    """Return tokens of two users, the merchant's first account, and a moment in its history."""
    set_up()
    from django.contrib.auth.models import User

    from accounts.models import Account, Entry
    from login.tokens import tokens_for

    account = Account.objects.filter(profile__user__username=merchant).earliest("pk")
    dates = Entry.objects.filter(account=account).order_by("seq").values_list("date", flat=True)
    tokens = {
        name: str(tokens_for(User.objects.get(username=username))["access"])
        for name, username in (("staff", staff), ("merchant", merchant))
    }
    moment = dates[len(dates) // 2].strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**tokens, "account": account.pk, "moment": moment}


def cpu(ids: dict[str, Any], requests: int, names: Sequence[str]) -> dict[str, float]:
    """Return the milliseconds of CPU of the named hot requests in this process.

    ids: what `world` returned.
    """
    # Unlike django.setup(), this makes the settings those of a process that serves HTTP.
    from almaFintech.wsgi import application

    cancelled = transfers(requests + WARM_UP, "rich") if "delete" in names else []
    accounts, tokens = ids["accounts"], ids["tokens"]

    def item(index: int) -> dict[str, int]:
        origin, destination = accounts[index], accounts[(index + 1) % len(accounts)]
        return {"origin": origin, "destination": destination, "balance": 1}

    def post(*, keyed: bool) -> Iterator[Environ]:
        for index in cycle(range(len(accounts))):
            key = {"Idempotency-Key": secrets.token_hex(16)} if keyed else {}
            yield environ("POST", "/api/transfers/", tokens[index], item(index), **key)

    get = environ("GET", f"/api/accounts/{accounts[0]}/", tokens[0])
    page = environ("GET", f"/api/transfers/?limit={PAGE}", ids["boss"])
    cancel = (environ("DELETE", f"/api/transfers/{id}/", ids["rich"]) for id in cancelled)
    items = {"transfers": [item(index) for index in range(len(accounts))]}
    batch = (environ("POST", "/api/transfers/batch/", ids["rich"], items) for _ in count())
    plans = {
        "get": (200, requests, repeat(get)),
        "page": (200, requests, repeat(page)),
        "post-without-key": (201, requests, post(keyed=False)),
        "post": (201, requests, post(keyed=True)),
        "delete": (204, requests, cancel),
        "batch": (201, max(2, requests // 100), batch),
    }
    return {name: measured(application, *plans[name]) for name in names}


def floor_cpu(token: str, requests: int) -> dict[str, float]:
    """Return the milliseconds of CPU of a request to the floor."""
    from bench.speed.floor import application

    return {"floor": measured(application, 200, requests, repeat(environ("GET", "/", token)))}


def environ(method: str, path: str, token: str, body: Any = None, **headers: str) -> Environ:
    """Return a request as a WSGI server passes it to the application."""
    from django.test import RequestFactory

    request = RequestFactory().generic(
        method,
        path,
        b"" if body is None else json.dumps(body).encode(),
        "application/json",
        headers={"Host": "127.0.0.1", "Authorization": f"Bearer {token}", **headers},
    )
    return request.environ


def measured(application: Any, status: int, number: int, environs: Iterator[Environ]) -> float:
    """Return the milliseconds of CPU of one request, after some that warm it up."""
    # The requests are made before, so that only their processing is measured.
    warm_up = [next(environs).copy() for _ in range(min(WARM_UP, number))]
    timed = [next(environs).copy() for _ in range(number)]
    for each in warm_up:
        call(application, each, status)
    began = time.process_time()
    for each in timed:
        call(application, each, status)
    return (time.process_time() - began) / number * 1000


def call(application: Any, environ: Environ, expected: int) -> None:
    """Make a request as a WSGI server does. Raises RuntimeError if the status is another one."""
    statuses: list[str] = []
    response = application(environ, lambda status, headers, *_: statuses.append(status))
    body = b"".join(response)
    response.close()
    if not statuses[0].startswith(f"{expected} "):
        raise RuntimeError(f"{environ['PATH_INFO']}: {statuses[0]}: {body[:200]!r}")


def main(command: str, *arguments: str) -> Any:
    if command == "world":
        return world(int(arguments[0]), arguments[1])
    if command == "transfers":
        return transfers(int(arguments[0]), arguments[1])
    if command == "reader":
        return reader(*arguments)
    if command == "cpu":
        ids = json.loads(Path(arguments[0]).read_text())
        return cpu(ids, int(arguments[1]), arguments[2:])
    if command == "floor-cpu":
        return floor_cpu(arguments[0], int(arguments[1]))
    raise SystemExit(f"no such command: {command}")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
