"""Mutations of the money core, which `python -m bench.mutants` applies one at a time.

`old` occurs exactly once in `file`. When the code changes, adapt the mutation; when a rule is
added, add the mistake that would break it, and name the test that notices.
"""

from typing import NamedTuple

TESTS = "accounts/tests/"
LEDGER = "accounts/ledger.py"
JOURNAL = "accounts/journal.py"
POSTGRESQL = "accounts/postgresql.py"
STORAGE = "accounts/storage.py"
RULES = "accounts/rules.py"
MODELS = "accounts/models.py"
KEYS = "accounts/idempotency.py"
BOOKINGS = "accounts/bookings.py"
VERSIONS = "accounts/etags.py"
CHAINS_CHECK = "accounts/verification/accounts.py"
TRANSFERS_CHECK = "accounts/verification/transfers.py"
TRANSACTIONS = "almaFintech/db/transactions.py"
SCRIPTS = "almaFintech/db/scripts.py"
BACKEND = "almaFintech/db/postgresql/base.py"
FAILURES = "almaFintech/db/failures.py"
QUERYSETS = "almaFintech/db/querysets.py"


class Mutation(NamedTuple):
    """One mistake: `old` becomes `new` in `file`, and one of `tests` has to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def mistake(name: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    """Return a mutation; tests without a folder are in accounts/tests/."""
    paths = (test if "/" in test else TESTS + test for test in tests)
    return Mutation(name, file, old, new, tuple(paths))


MUTATIONS = (
    # Refused movements.
    mistake(
        "overdraft-allowed",
        RULES,
        "if accounts[payer].balance < amount:",
        "if False:",
        "test_transfers.py::test_an_overdraft_moves_nothing",
    ),
    mistake(
        "last-micro-unit-kept",
        RULES,
        "if accounts[payer].balance < amount:",
        "if accounts[payer].balance <= amount:",
        "test_transfers.py::test_the_last_micro_unit_can_be_sent",
    ),
    mistake(
        "overflow-allowed",
        RULES,
        "if accounts[receiver].balance + amount > MAX_MICRO_UNITS:",
        "if False:",
        "test_transfers.py::test_a_balance_cannot_exceed_the_column_maximum",
    ),
    mistake(
        "full-column-refused",
        RULES,
        "if accounts[receiver].balance + amount > MAX_MICRO_UNITS:",
        "if accounts[receiver].balance + amount >= MAX_MICRO_UNITS:",
        "test_transfers.py::test_a_balance_can_reach_the_column_maximum",
    ),
    mistake(
        "zero-allowed",
        LEDGER,
        "require_amount(transfer.balance, minimum=1)",
        "require_amount(transfer.balance, minimum=0)",
        "test_side_doors.py::test_an_amount_in_python_is_an_int_in_range",
    ),
    mistake(
        "oneself-allowed",
        RULES,
        "        raise SameAccount",
        "        pass",
        "test_transfers.py::test_a_transfer_to_oneself_is_refused",
    ),
    mistake(
        "currencies-mixed",
        RULES,
        "if accounts[payer].currency != accounts[receiver].currency:",
        "if False:",
        "test_transfers.py::test_currencies_must_match",
    ),
    mistake(
        "cancelled-again",
        LEDGER,
        "if row.cancelled:",
        "if False:",
        "test_transfers.py::test_a_transfer_is_cancelled_once",
    ),
    mistake(
        "cancelled-twice-in-one-call",
        LEDGER,
        "row.cancelled = True\n                    journal",
        "journal",
        "test_side_doors.py::test_a_transfer_is_cancelled_once_however_often_it_is_named",
    ),
    mistake(
        "cancelled-flag-not-written",
        POSTGRESQL,
        "SET cancelled = true, cancelled_by_id",
        "SET cancelled_by_id",
        "test_transfers.py::test_a_transfer_is_cancelled_once",
    ),
    mistake(
        "stale-edit-allowed",
        LEDGER,
        "if row.balance != account.balance_as_read:",
        "if False:",
        "test_side_doors.py::test_an_edit_of_a_stale_balance_is_refused",
    ),
    mistake(
        "stale-balance-restored",
        LEDGER,
        'known.get("balance") != account.balance_as_read',
        "account.balance != row.balance",
        "test_side_doors.py::test_a_stale_account_does_not_restore_its_balance",
    ),
    mistake(
        "currency-not-fixed",
        LEDGER,
        "if _touching([row.pk]).exists():",
        "if False:",
        "test_accounts.py::test_a_currency_is_fixed_once_there_are_transfers",
    ),
    # Movements and entries.
    mistake(
        "paying-adds",
        JOURNAL,
        "(payer, receiver, -amount)",
        "(payer, receiver, amount)",
        "test_entries.py::test_a_transfer_and_its_cancellation_write_two_entries_each",
    ),
    mistake(
        "one-side-not-entered",
        JOURNAL,
        "(payer, receiver, -amount), (receiver, payer, amount):",
        "((payer, receiver, -amount),):",
        "test_transfers.py::test_a_transfer_moves_the_money",
    ),
    mistake(
        "cancelling-pays-again",
        JOURNAL,
        "payer, receiver = receiver, payer",
        "pass",
        "test_transfers.py::test_the_receiver_cancels_a_transfer",
    ),
    mistake(
        "batch-spends-twice",
        RULES,
        "accounts[payer].balance -= amount",
        "pass",
        "test_batch.py::test_a_batch_is_booked_as_a_whole",
    ),
    mistake(
        "batch-cannot-fund-itself",
        RULES,
        "accounts[receiver].balance += amount",
        "pass",
        "test_batch.py::test_a_batch_is_booked_in_order",
    ),
    mistake(
        "entries-not-written",
        POSTGRESQL,
        "self._script.add(INSERT_ENTRIES, *columns(lines, 12))",
        "pass",
        "test_entries.py::test_a_transfer_and_its_cancellation_write_two_entries_each",
    ),
    mistake(
        "digest-not-chained",
        JOURNAL,
        "bytes(account.seal), content_of(*values) + signed_with",
        "bytes(32), content_of(*values) + signed_with",
        "test_entries.py::test_each_digest_follows_from_the_previous_one_and_the_key",
    ),
    mistake(
        "author-forgotten",
        LEDGER,
        "by=transfer.created_by_id",
        "by=None",
        "test_entries.py::test_a_transfer_and_its_cancellation_write_two_entries_each",
    ),
    mistake(
        "refusal-leaves-traces",
        LEDGER,
        "transfer.__dict__.update(state)",
        "pass",
        "test_side_doors.py::test_a_transfer_that_was_not_booked_can_be_booked_later",
    ),
    mistake(
        "one-object-booked-twice",
        LEDGER,
        "if len({id(transfer) for transfer in transfers}) < len(transfers):",
        "if False:",
        "test_side_doors.py::test_an_object_is_booked_once",
    ),
    mistake(
        "closing-not-entered",
        LEDGER,
        "journal.change(row, Kind.CLOSING, -row.balance, by=_id(by), reason=reason)\n"
        "        Storage",
        "str()\n        Storage",
        "test_entries.py::test_the_entries_of_a_deleted_account_stay",
    ),
    # Transfers that are committed together.
    mistake(
        "group-answered-after-a-rollback",
        BOOKINGS,
        "booked alone.\n        forget(group)",
        "booked alone.",
        "test_bookings.py::test_a_group_that_is_rolled_back_is_booked_one_by_one",
    ),
    mistake(
        "unknown-end-booked-again",
        BOOKINGS,
        "if script.has_committed and not was_rolled_back(error):",
        "if False:",
        "test_bookings.py::test_a_group_whose_end_is_unknown_is_not_booked_again",
    ),
    mistake(
        "booked-again-after-the-commit",
        BOOKINGS,
        "return isinstance(error, DatabaseError)",
        "return True",
        "test_bookings.py::test_a_group_whose_end_is_unknown_is_not_booked_again",
    ),
    mistake(
        "interrupted-group-answered",
        BOOKINGS,
        "except BaseException as error:",
        "except Exception as error:",
        "test_bookings.py::test_nobody_is_answered_when_the_leader_is_stopped",
    ),
    mistake(
        "used-key-booked-again",
        BOOKINGS,
        "booking.is_taken = True\n        return",
        "pass",
        "test_bookings.py::test_a_key_is_carried_out_once_in_a_group",
    ),
    mistake(
        "refused-key-kept",
        KEYS,
        "self._script.add(RELEASE, list(self._free.values()))",
        "pass",
        "test_bookings.py::test_a_refusal_concerns_one_request",
    ),
    mistake(
        "refused-alone-key-kept",
        BOOKINGS,
        "transaction.set_rollback(True)",
        "pass",
        "test_idempotency.py::test_a_refused_request_leaves_its_key_free",
    ),
    mistake(
        "staff-in-a-group-forgotten",
        BOOKINGS,
        "trail.booked(booking.user, transfers[booking])",
        "pass",
        "test_bookings.py::test_staff_in_a_group_is_recorded",
    ),
    mistake(
        "callers-transaction-shared",
        BOOKINGS,
        "if settings.GROUP_COMMIT and not connection.in_atomic_block:",
        "if settings.GROUP_COMMIT:",
        "test_bookings.py::test_a_transaction_of_the_caller_is_not_shared",
    ),
    mistake(
        "foreign-origin-booked",
        BOOKINGS,
        "origins.require(booking)",
        "pass",
        "test_transfers.py::test_a_user_sends_only_from_their_own_accounts",
        "test_batch.py::test_the_first_foreign_origin_is_named_whether_it_exists_or_not",
    ),
    # BEGIN and COMMIT in the messages of the ledger.
    mistake(
        "callers-transaction-committed",
        SCRIPTS,
        "if last and database.in_atomic_block and not database.savepoint_ids:",
        "if last and database.in_atomic_block:",
        "almaFintech/db/tests/test_prepared.py::test_a_part_of_a_transaction_does_not_commit",
    ),
    mistake(
        "commit-not-remembered",
        SCRIPTS,
        "self.has_committed = True",
        "pass",
        "test_bookings.py::"
        "test_a_group_is_not_booked_again_if_its_connection_is_lost_with_the_commit",
    ),
    mistake(
        "cursors-survive-the-transaction",
        BACKEND,
        "withhold=self.autocommit",
        "withhold=self.connection.autocommit",
        "almaFintech/db/tests/test_begin.py::test_rows_are_locked_through_a_cursor_of_the_server",
    ),
    mistake(
        "driver-left-in-autocommit",
        BACKEND,
        "ends = self.in_atomic_block and self.commit_on_exit",
        "ends = self.in_atomic_block",
        "almaFintech/db/tests/test_prepared.py::"
        "test_a_transaction_without_a_block_is_left_to_its_owner",
    ),
    mistake(
        "isolation-level-ignored",
        BACKEND,
        "if not ends or begun or driver.isolation_level is not None:",
        "if not ends or begun:",
        "almaFintech/db/tests/test_begin.py::test_the_isolation_level_is_the_one_of_the_connection",
    ),
    mistake(
        "prepared-on-another-connection",
        BACKEND,
        "self.known.clear()",
        "pass",
        "almaFintech/db/tests/test_prepared.py::test_another_connection_prepares_anew",
    ),
    # Locks: the rows, their order and their strength.
    mistake(
        "accounts-not-locked",
        POSTGRESQL,
        "FROM accounts_account\nWHERE id = ANY (%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
        "FROM accounts_account\nWHERE id = ANY (%s::bigint[]) ORDER BY id",
        "test_locks.py::test_a_transfer_locks_accounts_by_id",
    ),
    mistake(
        "cancelled-transfer-not-locked",
        POSTGRESQL,
        "FROM accounts_transfer WHERE id = ANY (%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
        "FROM accounts_transfer WHERE id = ANY (%s::bigint[]) ORDER BY id",
        "test_locks.py::test_a_transfer_is_cancelled_once_under_the_lock",
    ),
    mistake(
        "edited-account-not-locked",
        STORAGE,
        'in locked_rows("Account", ids, no_key=no_key)}',
        'in rows_of("Account").filter(pk__in={id for id in ids if id is not None})}',
        "test_locks.py::test_an_edit_in_python_locks_the_account",
    ),
    mistake(
        "locks-in-no-order",
        QUERYSETS,
        'rows.order_by("pk").select_for_update',
        "rows.order_by().select_for_update",
        "test_locks.py::test_a_transfer_locks_accounts_by_id",
    ),
    mistake(
        "locks-descending",
        QUERYSETS,
        'rows.order_by("pk").select_for_update',
        'rows.order_by("-pk").select_for_update',
        "test_locks.py::test_a_request_waiting_for_the_first_account_does_not_hold_the_second",
    ),
    mistake(
        "cancelling-locks-accounts-first",
        POSTGRESQL,
        "transfers = self._script.add(LOCK_TRANSFERS, numbers)\n"
        "        journal = self._journal(self._script.add(LOCK_THEIR_ACCOUNTS, numbers), 0)",
        "accounts = self._script.add(LOCK_THEIR_ACCOUNTS, numbers)\n"
        "        transfers = self._script.add(LOCK_TRANSFERS, numbers)\n"
        "        journal = self._journal(accounts, 0)",
        "test_locks.py::test_a_cancellation_locks_transfers_and_then_accounts_by_id",
        "test_locks.py::test_a_request_waiting_for_a_transfer_does_not_hold_its_accounts",
    ),
    mistake(
        "closing-does-not-lock-transfers",
        LEDGER,
        'in locked(_touching(ids)).values_list("pk").iterator():',
        "in ():",
        "test_locks.py::test_closing_locks_transfers_and_then_accounts_against_references",
        "test_locks.py::test_a_request_waiting_for_a_transfer_does_not_hold_its_accounts",
    ),
    mistake(
        "closing-locks-without-key",
        LEDGER,
        "lock_accounts(ids, no_key=False)",
        "lock_accounts(ids)",
        "test_locks.py::test_no_row_can_refer_to_an_account_that_is_being_closed",
    ),
    mistake(
        "version-compared-before-the-lock",
        "accounts/views.py",
        "account: Account = super().locked_object(to_delete=to_delete)",
        "seen = self.get_object().last_seq\n"
        "        account: Account = super().locked_object(to_delete=to_delete)\n"
        "        account.last_seq = seen",
        "test_locks.py::test_a_version_is_compared_under_the_lock",
    ),
    mistake(
        "edit-reads-before-the-lock",
        "audit/views.py",
        "return trail.locked_row(row)",
        "return row",
        "test_locks.py::test_an_edit_of_an_account_reads_it_under_the_lock",
        "test_locks.py::test_an_edit_of_a_user_reads_it_under_the_lock",
    ),
    mistake(
        "deletion-reads-before-the-lock",
        "audit/views.py",
        "[row] = trail.locked_to_delete([row])",
        "pass",
        "test_locks.py::test_a_version_is_compared_under_the_lock",
    ),
    mistake(
        "locks-waited-for-without-end",
        "almaFintech/db/connections.py",
        'else f"{timeout}s",',
        'else "0",',
        "test_locks.py::test_no_request_waits_for_a_lock_forever",
    ),
    # Retries.
    mistake(
        "nothing-run-again",
        TRANSACTIONS,
        "\nATTEMPTS = 5",
        "\nATTEMPTS = 1",
        "almaFintech/db/tests/test_transactions.py::test_two_deadlocked_transactions_both_finish",
    ),
    mistake(
        "deadlock-not-known",
        FAILURES,
        '{"40001", "40P01"}',
        '{"40001"}',
        "almaFintech/db/tests/test_transactions.py::test_two_deadlocked_transactions_both_finish",
    ),
    mistake(
        "run-again-inside-a-transaction",
        TRANSACTIONS,
        "if connection.in_atomic_block:",
        "if False:",
        "almaFintech/db/tests/test_transactions.py::test_work_inside_a_transaction_runs_once",
    ),
    mistake(
        "edit-not-run-again",
        "audit/views.py",
        "@retried\n    def update(",
        "def update(",
        "audit/tests/test_audit.py::test_an_edit_that_a_deadlock_rolled_back_is_recorded_once",
    ),
    # Keys and versions.
    mistake(
        "key-claimed-outside-the-transaction",
        KEYS,
        "@retried\n    def create_with_key(",
        "def create_with_key(",
        "test_idempotency.py::test_a_refused_request_leaves_its_key_free",
    ),
    mistake(
        "key-forgets-the-path",
        KEYS,
        "[method, path, body]",
        "[method, body]",
        "test_idempotency.py::test_the_same_data_at_two_paths_makes_two_requests",
    ),
    mistake(
        "key-forgets-the-body",
        KEYS,
        "[method, path, body]",
        "[method, path]",
        "test_idempotency.py::test_a_key_cannot_be_reused_for_another_request",
    ),
    mistake(
        "key-answers-anything",
        KEYS,
        "if earlier.fingerprint != claim.fingerprint:",
        "if False:",
        "test_idempotency.py::test_a_key_cannot_be_reused_for_another_request",
    ),
    mistake(
        "every-version-alike",
        VERSIONS,
        "return f'\"{account.last_seq}\"'",
        "return f'\"{account.pk}\"'",
        "test_etags.py::test_every_change_gives_a_new_version",
    ),
    mistake(
        "versions-not-compared",
        VERSIONS,
        "        raise PreconditionFailed",
        "        pass",
        "test_etags.py::test_an_edit_of_an_outdated_version_is_refused",
    ),
    # Permissions.
    mistake(
        "all-accounts-visible",
        MODELS,
        "return self.filter(profile__user=user.pk)",
        "return self",
        "test_accounts.py::test_an_invisible_account_looks_like_a_missing_one",
    ),
    mistake(
        "all-transfers-visible",
        MODELS,
        "rows = self.in_ranges(Q(origin=sent) | Q(destination=received), ends)",
        "rows = self",
        "test_transfers.py::test_an_invisible_transfer_looks_like_a_missing_one",
    ),
    mistake(
        "branches-forget-conditions",
        QUERYSETS,
        "rows = rows.filter(condition)",
        "pass",
        "test_querysets.py::test_a_further_condition_applies_to_every_branch",
    ),
    mistake(
        "scope-forgotten-by-a-wider-range",
        QUERYSETS,
        "elif all(range in known.ranges for range in ranges):",
        "else:",
        "test_querysets.py::test_a_scope_holds_for_every_filter",
    ),
    mistake(
        "a-part-of-a-page-taken-for-all",
        QUERYSETS,
        "if len(found) == limit:",
        "if found:",
        "test_querysets.py::test_the_first_rows_are_those_of_the_whole_list",
    ),
    mistake(
        "rows-at-the-same-moment-skipped",
        QUERYSETS,
        "'gte' if ordering[0].startswith('-') else 'lte'",
        "'gt' if ordering[0].startswith('-') else 'lt'",
        "test_querysets.py::test_the_first_rows_are_those_of_the_whole_list",
    ),
    mistake(
        "no-accounts-see-everything",
        QUERYSETS,
        'Q(("pk__in", ()), *lists, _connector=Q.OR)',
        "Q(*lists, _connector=Q.OR)",
        "test_scope.py::test_a_user_without_accounts_sees_nothing",
    ),
    mistake(
        "foreign-origin-allowed",
        "accounts/permissions.py",
        'if item["origin_id"] not in own:',
        "if False:",
        "test_transfers.py::test_a_user_sends_only_from_their_own_accounts",
    ),
    mistake(
        "sender-may-cancel",
        "accounts/permissions.py",
        "return transfer.received_by_own is not None",
        "return True",
        "test_transfers.py::test_the_sender_cannot_cancel_a_transfer",
    ),
    mistake(
        "users-may-write-accounts",
        "accounts/permissions.py",
        "return request.method in SAFE_METHODS or request.user.is_staff",
        "return True",
        "test_accounts.py::test_users_cannot_write_accounts",
    ),
    # Writes past the ledger, and the verification that finds them.
    mistake(
        "transfers-may-be-rewritten",
        MODELS,
        'if kwargs not in ({"origin": None}, {"destination": None}) or not ledger.is_closing():',
        "if False:",
        "test_side_doors.py::test_other_ways_to_write_are_refused",
    ),
    mistake(
        "entries-may-be-rewritten",
        "accounts/migrations/0002_append_only_entries.py",
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON",
        "BEFORE TRUNCATE ON",
        "test_entries.py::test_the_database_refuses_to_change_entries",
    ),
    mistake(
        "seals-not-verified",
        CHAINS_CHECK,
        "if not end.chain.ends_in(seal):",
        "if False:",
        "test_verify_ledger.py::test_a_truncated_chain_is_found_by_the_seal",
    ),
    mistake(
        "openings-not-counted",
        LEDGER,
        "register.opened += len(rows)",
        "register.opened += 0",
        "test_verify_ledger.py::test_every_kind_of_operation_verifies",
    ),
    mistake(
        "earlier-keys-go-on-signing",
        "almaFintech/db/chains.py",
        "for index in range(signed, -1, -1):",
        "for index in range(len(self._keys)):",
        "test_verify_ledger.py::test_entries_signed_with_an_earlier_key_verify_and_can_be_continued",
    ),
    mistake(
        "time-of-this-server",
        POSTGRESQL,
        "clock.moment(now))",
        "__import__('django.utils.timezone').utils.timezone.now())",
        "test_entries.py::test_entries_use_the_clock_of_the_database",
    ),
    mistake(
        "receiver-looked-at-first",
        RULES,
        "    if accounts[payer].balance < amount:",
        "    if receiver not in accounts:\n"
        '        raise AccountMissing("Destination account does not exist")\n'
        "    if accounts[payer].balance < amount:",
        "test_transfers.py::test_an_overdraft_reveals_nothing_about_the_destination",
    ),
    mistake(
        "records-not-chained",
        "audit/trail.py",
        "chains.append(bytes(end.seal), record.content())",
        "chains.append(bytes(32), record.content())",
        "audit/tests/test_trail.py::test_the_records_of_staff_verify",
    ),
    mistake(
        "head-of-records-not-compared",
        "audit/verification.py",
        "if found_digest != recorded_digest:",
        "if False:",
        "audit/tests/test_trail.py::test_a_chain_rewritten_with_the_key_is_found_by_the_head",
    ),
    mistake(
        "sums-not-verified",
        CHAINS_CHECK,
        "if after != balance + amount:",
        "if False:",
        "test_verify_ledger.py::test_each_change_is_named",
    ),
    mistake(
        "digests-not-verified",
        CHAINS_CHECK,
        "if not chain.accepts(content, digest):",
        "if not chain.accepts(content, digest) and False:",
        "test_verify_ledger.py::test_each_change_is_named",
    ),
    mistake(
        "transfers-not-verified",
        "accounts/verification/__init__.py",
        "yield from check_transfers()",
        "pass",
        "test_verify_ledger.py::test_each_change_is_named",
    ),
    mistake(
        "fields-not-compared",
        TRANSFERS_CHECK,
        "yield from _check_fields_of_entries()",
        "pass",
        "test_verify_ledger.py::test_each_change_is_named",
    ),
    mistake(
        "closed-accounts-not-compared",
        TRANSFERS_CHECK,
        "if least != greatest:",
        "if False:",
        "test_verify_ledger.py::test_each_change_is_named",
    ),
    mistake(
        "register-not-verified",
        CHAINS_CHECK,
        "yield from self._check_register()",
        "pass",
        "test_verify_ledger.py::test_a_register_changed_without_the_key_is_found",
    ),
)
