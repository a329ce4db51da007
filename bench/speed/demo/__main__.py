"""Create the tables, users with one account each, and print them as JSON."""

import json
import sys

from bench.speed.demo.wsgi import application  # noqa: F401  # sets Django up

# isort: split
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework_simplejwt.tokens import AccessToken

from bench.speed.demo.models import Account, Profile

BALANCE = 10**12


def main(people: int, password: str) -> None:
    call_command("migrate", verbosity=0)
    # The demo's own tables have no migrations, and refer to tables that have.
    call_command("migrate", run_syncdb=True, verbosity=0)
    hashed = make_password(password)
    users = User.objects.bulk_create(
        User(username=f"user{number}", password=hashed) for number in range(people)
    )
    accounts = Account.objects.bulk_create(Account(currency="USD", balance=BALANCE) for _ in users)
    profiles = Profile.objects.bulk_create(Profile(user=user) for user in users)
    Profile.accounts.through.objects.bulk_create(
        Profile.accounts.through(profile=profile, account=account)
        for profile, account in zip(profiles, accounts, strict=True)
    )
    tokens = [str(AccessToken.for_user(user)) for user in users]
    print(json.dumps({"tokens": tokens, "accounts": [account.pk for account in accounts]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
