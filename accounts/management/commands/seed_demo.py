"""Fill the database with believable demo data, through the ledger."""

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
# The weight of each currency, and a usual opening balance in its units.
CURRENCIES = {"ARS": (5, 900_000), "USD": (4, 1_000), "EUR": (3, 900), "BRL": (2, 5_000)}
REFERENCES = (
    *("", "", "", "rent", "groceries", "dinner", "a book", "school", "holidays", "gift"),
    *("electricity", "water", "internet", "gym", "taxi", "concert tickets", "thank you!"),
)
CANCELLED_SHARE = 0.03
# The accounts were opened this long ago; the transfers are spread over the time since.
PAST = timedelta(days=120)
# The number of moments in that time. Each is one transaction; more transfers share them.
MOMENTS = 500


class Command(DatabaseCommand):
    help = (
        "Add realistic users, accounts and transfers. The same --seed gives the same data. "
        f"In development the password of every user is {DEMO_PASSWORD!r}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--users", type=int, default=50)
        parser.add_argument("--accounts", type=int, default=100)
        parser.add_argument("--transfers", type=int, default=1000)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--force", action="store_true", help="run even with DEBUG off")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.DEBUG or options["force"]):
            raise CommandError("This is a production server: use --force to fill it anyway.")
        for name in "users", "accounts", "transfers":
            if options[name] < 0:
                raise CommandError(f"--{name} must be 0 or more.")
        self.random = random.Random(options["seed"])  # noqa: S311  # not a secret
        self.faker = Faker(["es_AR", "en_US", "pt_BR"])
        self.faker.seed_instance(options["seed"])

        self.now = timezone.now()
        # Check all options before anything is written.
        unopened = self.make_accounts(options["accounts"])
        if options["transfers"] and not shared_currencies(unopened):
            raise CommandError("Transfers need two accounts in one currency: raise --accounts.")
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
        # In production nobody can log in as a made-up user.
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
            raise CommandError("Demo data for this seed already exists: use another --seed.")
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
        # Every user gets one before any user gets a second one.
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
        """Book transfers that can be paid, and cancel a few, from the oldest to the newest."""
        by_currency = shared_currencies(owners)
        senders = [account for accounts in by_currency.values() for account in accounts]
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
                destination = self.random.choice(by_currency[origin.currency])
                # A whole number of cents, up to a third of the balance.
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
                chosen_transfers = self.transfers_to_cancel(batch, balances)
                # Cancelled by the receivers, in this order, for which the balances suffice.
                for owner, received in groupby(
                    chosen_transfers, lambda transfer: owner_of[transfer.destination_id]
                ):
                    retried(ledger.cancel)(list(received), by=owner)

    def transfers_to_cancel(
        self, batch: list[Transfer], balances: dict[int | None, int]
    ) -> Iterator[Transfer]:
        """Yield the transfers to cancel, and move their amounts back in `balances`."""
        for transfer in batch:
            sender, receiver = transfer.origin_id, transfer.destination_id
            chosen = self.random.random() < CANCELLED_SHARE
            if chosen and balances[receiver] >= transfer.balance:
                balances[receiver] -= transfer.balance
                balances[sender] += transfer.balance
                yield transfer

    def moments(self, number: int) -> Iterator[datetime]:
        """Yield dates in ascending order, spread over PAST."""
        for index in range(number):
            yield self.now - PAST + PAST * ((index + self.random.random()) / number)

    def batches(self, items: Any, unit: str, at_a_time: int = AT_A_TIME) -> Any:
        """Yield slices of `items`, with a progress bar on a terminal."""
        with tqdm(total=len(items), unit=f" {unit}", disable=None) as bar:
            for start in range(0, len(items), at_a_time):
                piece = items[start : start + at_a_time]
                yield piece
                bar.update(len(piece))


def shared_currencies(accounts: Iterable[Account]) -> dict[str, list[Account]]:
    """Return the accounts by currency, without the currencies that have only one account."""
    by_currency = defaultdict(list)
    for account in accounts:
        by_currency[account.currency].append(account)
    return {code: accounts for code, accounts in by_currency.items() if len(accounts) > 1}
