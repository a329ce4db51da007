-- The rows of one transfer with an Idempotency-Key, as a pgbench script.
-- Variables: first, last (ids of accounts), hot (1: the first is on a side of every transfer),
-- author (id of a user).
\set a random(:first, :last)
\set b random(:first, :last - 1)
\if :hot
  \set a :first
\endif
\if :b >= :a
  \set b :b + 1
\endif
\set swap random(0, 1)
\if :swap
  \set c :a
  \set a :b
  \set b :c
\endif
BEGIN;
SELECT balance, last_seq, seal FROM accounts_account WHERE id IN (:a, :b) ORDER BY id FOR NO KEY UPDATE;
INSERT INTO accounts_transfer (date, currency, balance, cancelled, reference, created_by_id, origin_id, destination_id)
  VALUES (clock_timestamp(), 'USD', 1, false, '', :author, :a, :b) RETURNING id AS transfer \gset
UPDATE accounts_account SET balance = balance + CASE id WHEN :a THEN -1 ELSE 1 END,
  last_seq = last_seq + 1, last_date = clock_timestamp(), seal = sha256(seal) WHERE id IN (:a, :b);
INSERT INTO accounts_entry (account_id, seq, kind, transfer_id, counterparty, currency, amount, balance_after, date, by_id, reason, digest)
  SELECT id, last_seq, 'transfer', :transfer, CASE id WHEN :a THEN :b::bigint ELSE :a::bigint END, 'USD',
    CASE id WHEN :a THEN -1 ELSE 1 END, balance, last_date, :author, '', sha256(seal)
  FROM accounts_account WHERE id IN (:a, :b);
INSERT INTO accounts_idempotencykey (user_id, key, key_digest, fingerprint, status, body, headers, created)
  VALUES (:author, 'pgbench-' || :transfer::text, encode(sha256(:transfer::text::bytea), 'hex'), encode(sha256('f'), 'hex'), 201,
    '{"id": 1000000, "date": "2026-01-31T12:00:00.000000Z", "origin": 1, "destination": 2, "balance": 1, "currency": "USD", "cancelled": false, "reference": ""}',
    '{"Location": "/api/transfers/1000000/"}', clock_timestamp());
COMMIT;
