"""The part of the benchmark that runs with the server's own code and settings, in a new process.

`python -P inside.py COMMAND [ARG ...]` runs in any tree of the server that PYTHONPATH names, and
prints JSON. The log goes to stderr.
"""

import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

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
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import transaction

    from accounts import ledger
    from accounts.models import Account
    from login.models import Profile
    from login.tokens import tokens_for

    call_command("migrate", verbosity=0)
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
        "tokens": tokens,
        "accounts": [account.pk for account in accounts],
    }


def transfers(count: int) -> list[int]:
    """Book transfers between random accounts, and return their ids."""
    set_up()
    from accounts.models import Account

    return _post(list(Account.objects.values_list("pk", flat=True)), count)


def _post(accounts: Sequence[int], count: int) -> list[int]:
    import random

    from accounts import ledger
    from accounts.models import Transfer

    booked: list[int] = []
    while len(booked) < count:
        pairs = [random.sample(accounts, 2) for _ in range(min(AT_A_TIME, count - len(booked)))]
        new = ledger.post(Transfer(origin_id=a, destination_id=b, balance=1) for a, b in pairs)
        booked += [transfer.pk for transfer in new]
    return booked


def cpu(people: int, requests: int) -> dict[str, float]:
    """Return the milliseconds of CPU of each hot request in this process.

    Like a worker of the server, it calls the WSGI application and keeps its connection.
    """
    from almaFintech.wsgi import application

    ids = _ids_and_tokens(people)
    batches = max(2, requests // 50)
    cancelled = transfers(requests + WARM_UP)
    accounts, tokens = ids["accounts"], ids["tokens"]

    def body(index: int) -> dict[str, int]:
        origin, destination = accounts[index % people], accounts[(index + 1) % people]
        return {"origin": origin, "destination": destination, "balance": 1}

    def post(*, keyed: bool) -> Iterator[dict[str, Any]]:
        for index in cycle(range(people)):
            key = {"Idempotency-Key": secrets.token_hex(16)} if keyed else {}
            yield request("POST", "/api/transfers/", tokens[index], body(index), **key)

    def batch() -> Iterator[dict[str, Any]]:
        items = {"transfers": [body(index) for index in range(AT_A_TIME)]}
        return iter(lambda: request("POST", "/api/transfers/batch/", ids["rich"], items), None)

    def get(path: str, token: str) -> Iterator[dict[str, Any]]:
        return iter(lambda: request("GET", path, token), None)

    plans: dict[str, tuple[int, int, Iterator[dict[str, Any]]]] = {
        "get": (200, requests, get(f"/api/accounts/{accounts[0]}/", tokens[0])),
        "page": (200, requests, get(f"/api/transfers/?limit={PAGE}", ids["boss"])),
        "post-without-key": (201, requests, post(keyed=False)),
        "post": (201, requests, post(keyed=True)),
        "delete": (
            204,
            requests,
            (request("DELETE", f"/api/transfers/{id}/", ids["rich"]) for id in cancelled),
        ),
        "batch": (201, batches, batch()),
    }
    return {
        name: measured(application, environs, status=status, count=count)
        for name, (status, count, environs) in plans.items()
    }


def _ids_and_tokens(people: int) -> dict[str, Any]:
    return world(people, secrets.token_urlsafe())


def floor_cpu(token: str, requests: int) -> dict[str, float]:
    """Return the milliseconds of CPU of a request to the floor."""
    from bench.speed.floor import application

    environs = iter(lambda: request("GET", "/", token), None)
    return {"floor": measured(application, environs, status=200, count=requests)}


def request(method: str, path: str, token: str, body: Any = None, **headers: str) -> dict[str, Any]:
    from django.test import RequestFactory

    made = RequestFactory().generic(
        method,
        path,
        b"" if body is None else json.dumps(body).encode(),
        "application/json",
        headers={"Host": "127.0.0.1", "Authorization": f"Bearer {token}", **headers},
    )
    return made.environ


def measured(
    application: Any, environs: Iterator[dict[str, Any]], *, status: int, count: int
) -> float:
    """Return the milliseconds of CPU of one request, after some that warm it up."""
    # The requests are made before, so that only their processing is measured.
    warm_up, timed = (
        [next(environs) for _ in range(number)] for number in (min(WARM_UP, count), count)
    )
    for environ in warm_up:
        call(application, environ, status)
    began = time.process_time()
    for environ in timed:
        call(application, environ, status)
    return (time.process_time() - began) / count * 1000


def call(application: Any, environ: dict[str, Any], expected: int) -> None:
    """Make a request as a WSGI server does. Raises RuntimeError if the status is another one."""
    statuses = []
    response = application(environ, lambda status, headers, *_: statuses.append(status))
    body = b"".join(response)
    response.close()
    if not statuses[0].startswith(f"{expected} "):
        raise RuntimeError(f"{environ['PATH_INFO']}: {statuses[0]}: {body[:200]!r}")


def main(command: str, *arguments: str) -> None:
    if command == "world":
        print(json.dumps(world(int(arguments[0]), arguments[1])))
    elif command == "transfers":
        print(json.dumps(transfers(int(arguments[0]))))
    elif command == "cpu":
        print(json.dumps(cpu(int(arguments[0]), int(arguments[1]))))
    elif command == "floor-cpu":
        print(json.dumps(floor_cpu(arguments[0], int(arguments[1]))))
    else:
        raise SystemExit(f"no such command: {command}")


if __name__ == "__main__":
    main(*sys.argv[1:])
