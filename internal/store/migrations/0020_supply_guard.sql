-- Money and supply: the guard of meters that cut by themselves, and indexes of the pages' queues.
-- Lock impact: adds columns with constant defaults (no rewrite) and small indexes.

-- A meter that holds its own credit trips without asking. While its account is on the low list it is held closed (keep_on), so that
-- only we cut, with notice and outside the windows. True from the verified keep_on until the verified release or trip.
ALTER TABLE supplies ADD COLUMN guarded boolean NOT NULL DEFAULT false;

-- Who asked for a restore, and why: 'workflow' for one that a payment caused.
ALTER TABLE restores ADD COLUMN requested_by text NOT NULL DEFAULT 'workflow';
ALTER TABLE restores ADD COLUMN reason text NOT NULL DEFAULT '';

CREATE UNIQUE INDEX restores_one_open ON restores (account_id) WHERE state IN ('sending', 'unknown');
CREATE INDEX cutoffs_site ON cutoffs (site_id, planned_at);
CREATE INDEX restores_site ON restores (site_id, opened_at);
CREATE INDEX messages_site ON messages (site_id, queued_at);
CREATE INDEX reminders_site ON reminders (site_id, opened_at);
CREATE INDEX ledger_entries_site ON ledger_entries (site_id, id);

-- Customers are found by what they say at the counter.
CREATE INDEX customers_name ON customers (site_id, name);

-- Registers before a credit was sent: they bound what the customer can have used until the read-back.
ALTER TABLE commands ADD COLUMN registers_before bigint[];
