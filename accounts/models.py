"""Accounts and the transfers between them.

The balance of an account and every field of a transfer change through `accounts.ledger` alone.
Django's other ways to write rows are routed there too, or refused.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.utils.functional import SimpleLazyObject

from accounts import ledger
from accounts.chain import content_of
from accounts.currencies import currencies_in_use, currency_choices, in_units
from accounts.rules import MAX_MICRO_UNITS, Kind
from almaFintech.db import chains
from almaFintech.db.chains import GENESIS
from almaFintech.db.guards import Guard, Kept, KeptQuerySet, refuse_options
from almaFintech.db.querysets import BranchedQuerySet

STATEMENT_COLUMNS = (
    "seq",
    "date",
    "kind",
    "transfer",
    "counterparty",
    "reference",
    "amount",
    "balance_after",
)

# Each account adds two branches to the statement for a page, and each branch takes time to build
# and to plan. For many accounts one condition on all transfers is quicker.
MOST_BRANCHED_ACCOUNTS = 8


def number_of(model: type[models.Model]) -> "models.ForeignKey[Any, Any]":
    """Return a foreign key that keeps its number when the row it refers to is deleted."""
    return models.ForeignKey(
        model,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        editable=False,
        related_name="+",
    )


def ends_of(accounts: Iterable[int]) -> list[dict[str, int]]:
    """Return both ends of transfers at each of `accounts`, as arguments of `filter()`."""
    return [{end: id} for id in accounts for end in ("origin", "destination")]


class AccountQuerySet(Guard, BranchedQuerySet["Account"]):
    refusal = "update() and bulk_update() skip the ledger: save() each account."

    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """Return the accounts that `user` may see: staff all, others those in their profile."""
        if getattr(user, "is_staff", False):
            return self
        return self.filter(profile__user=user.pk)

    def branches(self, ordering: Sequence[str]) -> Sequence[Self]:
        if ordering[0].lstrip("-") != "balance":
            return super().branches(ordering)
        # The index has the balances of each currency in order.
        return [self.filter(currency=code) for code in currencies_in_use(Account.objects.all())]

    def biggest(self) -> Self:
        """Return the accounts with the highest balance of their currency, several on a tie."""
        # The statement that reads the accounts also finds the balances: one that was the highest
        # a moment earlier may no longer be that of any account.
        tops = [
            {"currency": code, "balance": self._highest_balance(code)}
            for code in currencies_in_use(self)
        ]
        if not tops:
            return self.none()
        return self.in_ranges(Q(*(Q(**top) for top in tops), _connector=Q.OR), tops)

    def _highest_balance(self, currency: str) -> "models.QuerySet[Account, Any]":
        return self.filter(currency=currency).order_by("-balance").values("balance")[:1]

    def delete(self, *, by: User | None = None) -> tuple[int, dict[str, int]]:
        return ledger.close_accounts(self, by=by)

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(  # type: ignore[override]
        self, objs: Iterable["Account"], *args: Any, **options: Any
    ) -> list["Account"]:
        refuse_options("bulk_create()", args, options)
        return ledger.open_accounts(objs)


class Account(models.Model):
    """A balance in one currency.

    Attributes:
        id: number of the account.
        currency: ISO 4217 code; fixed once the account has transfers.
        balance: micro units of the currency (1 USD = 1_000_000), from 0 to 2**63 - 1.
    """

    id = models.BigAutoField(primary_key=True)
    currency = models.CharField(max_length=3, choices=currency_choices)
    balance = models.BigIntegerField(
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(MAX_MICRO_UNITS)],
        help_text="Micro units: 1 000 000 is one unit of the currency.",
    )

    # The end of the account's chain of entries. It is stored here and not looked up, because the
    # row is locked anyway, and a look-up beside a lock could read data from before the lock.
    # The seal, see `almaFintech.db.chains`, is stored nowhere else.
    last_seq = models.BigIntegerField(default=0, editable=False)
    last_date = models.DateTimeField(null=True, editable=False)
    seal = models.BinaryField(max_length=32, default=GENESIS)

    objects = models.Manager.from_queryset(AccountQuerySet)()

    class Meta:
        ordering = ("id",)
        base_manager_name = "objects"
        # The order of balances within a currency, and the biggest account of each.
        indexes = [
            models.Index(fields=["currency", "balance", "id"], name="account_currency_balance_id")
        ]
        constraints = [
            models.CheckConstraint(condition=Q(balance__gte=0), name="account_balance_not_negative")
        ]

    # The balance this object was read with: save() compares it to notice an edit, and a transfer
    # that was booked since. None while the balance was not read.
    balance_as_read: int | None = None

    def __str__(self) -> str:
        return f"{self.pk} ({self.currency})"

    def save(self, *args: Any, by: User | None = None, reason: str = "", **options: Any) -> None:
        """Open a new account, or edit this one through `ledger.edit_account`.

        `by` and `reason` go to the entries. Raises `rules.BalanceChanged` when the balance was
        edited here and has changed since it was read, and `rules.CurrencyFixed` when the account
        has transfers in the old currency.
        """
        if self._state.adding:
            ledger.open_accounts([self], by=by, reason=reason)
        else:
            ledger.edit_account(self, options.get("update_fields"), by=by, reason=reason)

    def delete(
        self, *args: Any, by: User | None = None, reason: str = "", **options: Any
    ) -> tuple[int, dict[str, int]]:
        """Close the account; `by` and `reason` go to its last entry."""
        return ledger.close_accounts([self], by=by, reason=reason)

    @classmethod
    def from_db(cls, *args: Any, **options: Any) -> Self:
        account = super().from_db(*args, **options)
        account.balance_as_read = account.__dict__.get("balance")
        return account

    def refresh_from_db(  # type: ignore[override]
        self, using: str | None = None, fields: Iterable[str] | None = None, **kwargs: Any
    ) -> None:
        super().refresh_from_db(using, fields, **kwargs)
        # Django also comes here for a deferred field, and then an edit is still to be saved.
        if fields is None or "balance" in fields:
            self.balance_as_read = self.__dict__.get("balance")


class TransferQuerySet(Guard, BranchedQuerySet["Transfer"]):
    refusal = "A booked transfer cannot change: delete() cancels it."

    def touching(self, accounts: Iterable[int]) -> Self:
        """Return the transfers from or to one of `accounts`, given by id."""
        # A list of ids, unlike a subquery, lets the database use the index of each direction.
        ids = sorted(set(accounts))
        return self.in_ranges(Q(origin__in=ids) | Q(destination__in=ids), ends_of(ids))

    def sent_by(self, account: int) -> Self:
        return self.in_ranges(Q(origin=account), [{"origin": account}])

    def received_by(self, account: int) -> Self:
        return self.in_ranges(Q(destination=account), [{"destination": account}])

    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """Return the transfers that `user` may see: staff all, others those of their accounts.

        Unless the user is staff, a single one also has `received_by_own`, see `Transfer`.
        """
        if getattr(user, "is_staff", False):
            return self
        own = Account.objects.visible_to(user).order_by()
        # For a single transfer, the database looks up its two ends among the user's accounts; it
        # might compute an EXISTS from all of them. Only a list needs all ids, which may be many.
        sent, received = (
            Subquery(own.filter(pk=OuterRef(end)).values("pk")[:1])
            for end in ("origin", "destination")
        )
        ends: Any = SimpleLazyObject(lambda: ends_of(own.values_list("pk", flat=True)))
        rows = self.in_ranges(Q(origin=sent) | Q(destination=received), ends)
        single = rows.annotate(received_by_own=received)
        single.parts = rows.parts
        return single

    def branches(self, ordering: Sequence[str]) -> Sequence[Self]:
        if self.parts and not 0 < len(self.parts.ranges) <= 2 * MOST_BRANCHED_ACCOUNTS:
            return [self.unbranched()]
        return super().branches(ordering)

    def unbranched(self) -> Self:
        return self.parts.unbranched() if self.parts else self

    def delete(self, *, by: User | None = None) -> tuple[int, dict[str, int]]:
        """Cancel these transfers, all or none; the rows stay."""
        ledger.cancel(self, by=by)
        return 0, {}

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(  # type: ignore[override]
        self, objs: Iterable["Transfer"], *args: Any, **options: Any
    ) -> list["Transfer"]:
        refuse_options("bulk_create()", args, options)
        return ledger.post(objs)


class CascadeQuerySet(Guard, models.QuerySet["Transfer"]):
    """Rows for Django itself, which may only clear the end of a transfer whose account closes."""

    refusal = "Transfers are booked by save(), and cancelled by delete() of Transfer.objects."

    def update(self, **kwargs: Any) -> int:  # type: ignore[override]
        if kwargs not in ({"origin": None}, {"destination": None}) or not ledger.is_closing():
            self.refuse()
        return models.QuerySet.update(self, **kwargs)

    bulk_create = delete = Guard.refuse


class Transfer(models.Model):
    """An amount moved from one account to another of the same currency.

    Attributes:
        id: number of the transfer.
        date: when it was booked.
        origin: account that paid; null once that account is deleted.
        destination: account that received; null once that account is deleted.
        currency: ISO 4217 code of both accounts.
        balance: micro units moved, at least 1.
        cancelled: whether the transfer was cancelled, and the amount went back.
        reference: text by the sender.
        created_by, cancelled_by: the users; the number stays when a user is deleted.
        cancelled_at: when it was cancelled.
        received_by_own: the destination if it is an account of the user, in `visible_to(user)`.
    """

    received_by_own: int | None

    id = models.BigAutoField(primary_key=True)
    date = models.DateTimeField(editable=False, blank=True)
    origin = models.ForeignKey(
        Account,
        on_delete=models.SET_NULL,
        null=True,
        related_name="out_transfers",
        db_index=False,
    )
    destination = models.ForeignKey(
        Account,
        on_delete=models.SET_NULL,
        null=True,
        related_name="in_transfers",
        db_index=False,
    )
    currency = models.CharField(max_length=3, choices=currency_choices, editable=False)
    balance = models.PositiveBigIntegerField(
        default=0,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_MICRO_UNITS)],
        help_text="Micro units: 1 000 000 is one unit of the currency.",
    )
    cancelled = models.BooleanField(default=False, editable=False)
    reference = models.CharField(max_length=140, blank=True, default="")
    created_by = number_of(User)
    cancelled_by = number_of(User)
    cancelled_at = models.DateTimeField(null=True, editable=False)

    objects = models.Manager.from_queryset(TransferQuerySet)()
    cascades = models.Manager.from_queryset(CascadeQuerySet)()

    class Meta:
        ordering = ("-id",)
        base_manager_name = "cascades"
        # Lists are ordered by date, so each index that ends in it gives the rows of a list, and of
        # any period, in order. Every transfer writes every index: do not add one lightly.
        indexes = [
            models.Index(fields=["date", "id"], name="transfer_date_id"),
            models.Index(fields=["origin", "date", "id"], name="transfer_origin_date_id"),
            models.Index(fields=["destination", "date", "id"], name="transfer_destination_date_id"),
            models.Index(fields=["currency", "balance"], name="transfer_currency_balance"),
            models.Index(
                fields=["reference", "date", "id"],
                condition=~Q(reference=""),
                name="transfer_reference_date_id",
            ),
            models.Index(
                fields=["date", "id"], condition=Q(cancelled=True), name="transfer_cancelled"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(balance__gt=0, balance__lte=MAX_MICRO_UNITS),
                name="transfer_balance_positive",
            ),
            models.CheckConstraint(
                condition=~Q(origin=F("destination")), name="transfer_accounts_differ"
            ),
            models.CheckConstraint(
                condition=Q(cancelled=True, cancelled_at__isnull=False)
                | Q(cancelled=False, cancelled_at=None, cancelled_by=None),
                name="transfer_cancelled_with_its_date",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {in_units(self.balance, self.currency)}"

    def save(self, *args: Any, **options: Any) -> None:
        """Book a new transfer and move the balances, or confirm that a booked one is unchanged.

        Raises a refusal of `accounts.rules`, and then nothing has moved.
        """
        if self._state.adding:
            ledger.post([self])
        else:
            ledger.confirm(self)

    def delete(
        self, *args: Any, by: User | None = None, **options: Any
    ) -> tuple[int, dict[str, int]]:
        """Cancel the transfer: the amount goes back, and the row stays with `cancelled` set.

        Raises a refusal of `accounts.rules`, and then nothing has moved.
        """
        ledger.cancel([self], by=by)
        return 0, {}


class EntryQuerySet(KeptQuerySet["Entry"]):
    def of(self, account: int) -> Self:
        """Return the entries of an account, oldest first."""
        return self.filter(account=account).order_by("seq")

    def latest_state(self) -> "Entry | None":
        """Return the last of these entries of one account, by one look-up in the index."""
        return self.order_by("-date", "-seq").first()

    def lines(self) -> "models.QuerySet[Entry, dict[str, Any]]":
        """Return these entries as lines of a statement, dictionaries of `STATEMENT_COLUMNS`."""
        return self.annotate(reference=F("reason")).values(*STATEMENT_COLUMNS)


class Entry(Kept):
    """One change of one balance, written once and never changed.

    Attributes:
        account: account whose balance changed; the number stays when the account is deleted.
        seq: 1, 2, 3 ... within the account.
        kind: what changed the balance.
        transfer: the transfer that was booked or cancelled; null for the other kinds.
        counterparty: number of the transfer's other account.
        currency: ISO 4217 code of `amount`.
        amount: signed change in micro units.
        balance_after: balance of the account after it, in micro units.
        date: when it was written; never before an earlier entry of the account.
        by: the user; null if unknown.
        reason: the reference of a transfer, or the reason that staff gave for an edit.
        digest: link of the account's chain, see `accounts.chain`.
    """

    Kind = Kind

    refusal = "Entries never change, and the ledger writes them: save() accounts and transfers."

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(
        Account,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="entries",
    )
    seq = models.BigIntegerField()
    transfer = models.ForeignKey(
        Transfer, on_delete=models.PROTECT, null=True, db_index=False, related_name="entries"
    )
    counterparty = models.BigIntegerField(null=True)
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField()
    by = number_of(User)
    date = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=Kind)
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=140, blank=True, default="")
    digest = models.BinaryField(max_length=32)

    objects = models.Manager.from_queryset(EntryQuerySet)()

    class Meta(Kept.Meta):
        ordering = ("id",)
        verbose_name_plural = "entries"
        # The balance at a moment, and the period of a statement.
        indexes = [models.Index(fields=["account", "date", "seq"], name="entry_account_date")]
        constraints = [
            models.UniqueConstraint(fields=["account", "seq"], name="entry_account_seq"),
            models.CheckConstraint(condition=Q(seq__gte=1), name="entry_seq_positive"),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0), name="entry_balance_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}/{self.seq}: {in_units(self.amount, self.currency)}"

    def content(self) -> bytes:
        """Return the content that the digest of this entry signs."""
        return content_of(
            self.account_id,
            self.seq,
            self.kind,
            self.transfer_id,
            self.counterparty,
            self.currency,
            self.amount,
            self.balance_after,
            self.date,
            self.by_id,
            self.reason,
        )


class Register(Kept):
    """The number of accounts ever opened, in its only row.

    An account that is deleted from the database together with all its entries leaves no gap in any
    chain. This number, which is signed with the ledger's key, reveals it.

    Attributes:
        opened: number of accounts ever opened, including those closed since.
        seal: signature of `opened`, see `almaFintech.db.chains`.
    """

    ONLY = 1
    NAME = "accounts"
    refusal = "The ledger counts the accounts: save() them."

    id = models.SmallIntegerField(primary_key=True, default=ONLY)
    opened = models.BigIntegerField(default=0)
    seal = models.BinaryField(max_length=32, default=GENESIS)

    objects = models.Manager.from_queryset(KeptQuerySet)()

    class Meta(Kept.Meta):
        verbose_name_plural = "register"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="register_has_one_row")]

    def __str__(self) -> str:
        return f"{self.opened} accounts opened"

    def is_signed(self) -> bool:
        """Return whether the ledger, with its key or an earlier one, has written this number."""
        return chains.is_count(bytes(self.seal), self.NAME, self.opened)


class IdempotencyKey(models.Model):
    """A request that succeeded, and its response for clients that send it again.

    Attributes:
        user: the owner of the key.
        key: the `Idempotency-Key` that the client sent.
        key_digest: SHA-256 of the key in hexadecimal digits. The unique index is on this one,
            because for some databases "A" and "a" are the same text.
        fingerprint: SHA-256 of the request.
        status, body: the response; null and empty only inside the transaction that makes it.
        headers: the recorded headers of the response, by name; null in rows of an earlier release.
        created: when the request was made; it expires some days later.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    key_digest = models.CharField(max_length=64)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(default="")
    headers = models.JSONField(null=True)
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key_digest"], name="one_key_per_user")
        ]

    def __str__(self) -> str:
        return self.key
