-- The rows of 100 transfers in one transaction, set by set, as a pgbench script.
-- Variables: first, last (ids of accounts), author (id of a user).
\set count :last - :first + 1
SELECT array_agg(a)::text AS origins, array_agg(CASE WHEN b >= a THEN b + 1 ELSE b END)::text AS destinations
  FROM (SELECT :first::bigint + floor(random() * :count::int)::int AS a,
    :first::bigint + floor(random() * (:count::int - 1))::int AS b FROM generate_series(1, 100)) AS pairs \gset
BEGIN;
SELECT count(*) FROM (SELECT id FROM accounts_account
  WHERE id = ANY(:origins::bigint[] || :destinations::bigint[]) ORDER BY id FOR NO KEY UPDATE) AS locked;
WITH booked AS (
  INSERT INTO accounts_transfer (date, currency, balance, cancelled, reference, created_by_id, origin_id, destination_id)
    SELECT now(), 'USD', 1, false, '', :author, origin, destination
    FROM unnest(:origins::bigint[], :destinations::bigint[]) AS pair (origin, destination)
    RETURNING id, origin_id, destination_id
), change AS (
  SELECT id AS transfer, origin_id AS account, destination_id AS counterparty, -1 AS amount FROM booked
  UNION ALL SELECT id, destination_id, origin_id, 1 FROM booked
), written AS (
  INSERT INTO accounts_entry (account_id, seq, kind, transfer_id, counterparty, currency, amount, balance_after, date, by_id, reason, digest)
    SELECT account, last_seq + row_number() OVER chain, 'transfer', transfer, counterparty, 'USD', amount,
      balance + sum(amount) OVER chain, now(), :author, '', sha256(seal)
    FROM change JOIN accounts_account ON id = account
    WINDOW chain AS (PARTITION BY account ORDER BY transfer)
)
UPDATE accounts_account SET balance = balance + total, last_seq = last_seq + changes, last_date = now(), seal = sha256(seal)
  FROM (SELECT account, sum(amount) AS total, count(*) AS changes FROM change GROUP BY account) AS sums
  WHERE id = account;
COMMIT;
