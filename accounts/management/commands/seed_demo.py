"""Fill the database with a believable world, through the ledger: for a demonstration, a load
test, or a look at many rows.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from faker import Faker
from tqdm import tqdm

from accounts import ledger
from accounts.models import Account, Transfer
from almaFintech.db import clock
from almaFintech.db.commands import DatabaseCommand
from almaFintech.db.transactions import retried
from login.models import Profile

AT_A_TIME = 1000
DEMO_PASSWORD = "demo"  # noqa: S105
# How common each is, and what a usual opening balance is worth in it.
CURRENCIES = {"ARS": (5, 900_000), "USD": (4, 1_000), "EUR": (3, 900), "BRL": (2, 5_000)}
REFERENCES = (
    *("", "", "", "rent", "groceries", "dinner", "a book", "school", "holidays", "gift"),
    *("electricity", "water", "internet", "gym", "taxi", "concert tickets", "thank you!"),
)
CANCELLED_SHARE = 0.03
# How long ago the accounts were opened; the transfers are spread over the time since.
PAST = timedelta(days=120)
# Into how many moments, each of which is a transaction; more transfers share them.
MOMENTS = 500


class Command(DatabaseCommand):
    help = (
        "Add users, accounts and transfers that look like real ones. The same --seed gives the "
        f"same world. In development everybody's password is {DEMO_PASSWORD!r}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--users", type=int, default=50)
        parser.add_argument("--accounts", type=int, default=100)
        parser.add_argument("--transfers", type=int, default=1000)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--force", action="store_true", help="also where DEBUG is off")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.DEBUG or options["force"]):
            raise CommandError("This is a production server. With --force it is filled anyway.")
        for name in "users", "accounts", "transfers":
            if options[name] < 0:
                raise CommandError(f"--{name} must be 0 or more.")
        self.random = random.Random(options["seed"])  # noqa: S311  # a game, not a secret
        self.faker = Faker(["es_AR", "en_US", "pt_BR"])
        self.faker.seed_instance(options["seed"])

        self.now = timezone.now()
        # All that can be refused is refused before anything is written.
        unopened = self.make_accounts(options["accounts"])
        if options["transfers"] and not of_shared_currencies(unopened):
            raise CommandError("Transfers need two accounts of one currency: raise --accounts.")
        users = self.make_users(options["users"])
        accounts = self.open_accounts(unopened, users)
        start = time.perf_counter()
        self.send(options["transfers"], accounts)
        rate = options["transfers"] / (time.perf_counter() - start)
        self.stdout.write(
            f"{len(users)} users, {len(accounts)} accounts, {options['transfers']} transfers "
            f"({rate:.0f} a second)."
        )
        if users and settings.DEBUG:
            self.stdout.write(f"Log in as {users[0].username} / {DEMO_PASSWORD}.")

    def make_users(self, number: int) -> list[User]:
        # In production nobody can log in as somebody made up.
        password = make_password(DEMO_PASSWORD if settings.DEBUG else None)
        users = []
        for serial in range(number):
            first, last = self.faker.first_name(), self.faker.last_name()
            name = f"demo-{self.faker.slug(first)}-{serial}"
            users.append(
                User(
                    username=name,
                    first_name=first,
                    last_name=last,
                    email=f"{name}@wallet.example",
                    password=password,
                    date_joined=self.now - PAST,
                )
            )
        if User.objects.filter(username__in=[user.username for user in users]).exists():
            raise CommandError("The world of this seed is here already: take another --seed.")
        users = User.objects.bulk_create(users, batch_size=AT_A_TIME)
        profiles = [
            Profile(
                user=user,
                cuit=f"20-{self.random.randrange(10**7, 10**8)}-{self.random.randrange(10)}",
                phone=self.faker.numerify("+54 11 #### ####"),
                company=self.faker.company()[:32],
            )
            for user in users
        ]
        Profile.objects.bulk_create(profiles, batch_size=AT_A_TIME)
        return users

    def make_accounts(self, number: int) -> list[Account]:
        weights = [weight for weight, _ in CURRENCIES.values()]
        accounts = []
        for currency in self.random.choices(list(CURRENCIES), weights, k=number):
            _, usual = CURRENCIES[currency]
            units = round(self.random.lognormvariate(0, 1) * usual, 2)
            accounts.append(Account(currency=currency, balance=int(units * 100) * 10_000))
        return accounts

    def open_accounts(self, opened: list[Account], users: list[User]) -> dict[Account, User | None]:
        """Open accounts, give each to a user, and return them with their owners."""
        with clock.set_to(self.now - PAST):
            for batch in self.batches(opened, "accounts"):
                retried(ledger.open_accounts)(batch, reason="demo")
        if not users:
            return dict.fromkeys(opened)
        # Everybody gets one before anybody gets another.
        owners: dict[Account, User | None] = {
            account: users[index] if index < len(users) else self.random.choice(users)
            for index, account in enumerate(opened)
        }
        access = Profile.accounts.through
        profiles = dict(Profile.objects.filter(user__in=users).values_list("user_id", "pk"))
        access.objects.bulk_create(
            [
                access(profile_id=profiles[owner.pk], account_id=account.pk)
                for account, owner in owners.items()
                if owner
            ],
            batch_size=AT_A_TIME,
        )
        return owners

    def send(self, number: int, owners: dict[Account, User | None]) -> None:
        """Book transfers that can be paid, and give a few back, from the oldest to the newest."""
        kin = of_shared_currencies(owners)
        senders = [account for accounts in kin.values() for account in accounts]
        owner_of: dict[int | None, User | None] = {
            account.pk: owner for account, owner in owners.items()
        }
        balances: dict[int | None, int] = {account.pk: account.balance for account in senders}
        at_a_time = max(1, min(AT_A_TIME, number // MOMENTS))
        moments = self.moments(-(-number // at_a_time))
        for size in self.batches(range(number), "transfers", at_a_time):
            date = next(moments)
            batch: list[Transfer] = []
            while len(batch) < len(size):
                origin = self.random.choice(senders)
                destination = self.random.choice(kin[origin.currency])
                # A whole number of cents, up to a third of what there is.
                amount = int(balances[origin.pk] * self.random.random() / 3) // 10_000 * 10_000
                if origin is destination or not amount:
                    continue
                balances[origin.pk] -= amount
                balances[destination.pk] += amount
                batch.append(
                    Transfer(
                        origin=origin,
                        destination=destination,
                        balance=amount,
                        reference=self.random.choice(REFERENCES),
                        created_by=owners[origin],
                    )
                )
            with clock.set_to(date):
                retried(ledger.post)(batch)
            regretted = []
            for transfer in batch:
                sender, receiver = transfer.origin_id, transfer.destination_id
                if (
                    self.random.random() < CANCELLED_SHARE
                    and balances[receiver] >= transfer.balance
                ):
                    balances[receiver] -= transfer.balance
                    balances[sender] += transfer.balance
                    regretted.append(transfer)
            # By whom it was received, and in this order, in which each can be paid.
            with clock.set_to(date):
                for owner, sent in groupby(regretted, lambda item: owner_of[item.destination_id]):
                    retried(ledger.cancel)(list(sent), by=owner)

    def moments(self, number: int) -> Iterator[datetime]:
        """Dates in ascending order, over all of the past."""
        for index in range(number):
            yield self.now - PAST + PAST * ((index + self.random.random()) / number)

    def batches(self, items: Any, unit: str, at_a_time: int = AT_A_TIME) -> Any:
        """Pieces of `items`, with a bar that shows how far it has come where somebody looks."""
        with tqdm(total=len(items), unit=f" {unit}", disable=None) as bar:
            for start in range(0, len(items), at_a_time):
                piece = items[start : start + at_a_time]
                yield piece
                bar.update(len(piece))


def of_shared_currencies(accounts: Iterable[Account]) -> dict[str, list[Account]]:
    """The accounts that have another one to send to, by currency."""
    by_currency = defaultdict(list)
    for account in accounts:
        by_currency[account.currency].append(account)
    return {code: shared for code, shared in by_currency.items() if len(shared) > 1}
