"""The triggers that keep the entries of the ledger as they were written."""

from almaFintech.db.append_only import AppendOnly

_entries = AppendOnly("accounts_entry", "entries", unique=("account_id", "seq"))
MESSAGE = _entries.message
install = _entries.install
remove = _entries.remove
