"""The triggers that keep the records of staff as they were written."""

from almaFintech.db.append_only import AppendOnly

_records = AppendOnly("audit_record", "records", unique=("seq",))
MESSAGE = _records.message
install = _records.install
remove = _records.remove
