-- Corrections: what was issued is never edited, only reversed and billed again.
-- Lock impact: creates tables; adds a nullable column to bills and replaces its state check (one scan of bills under an exclusive
-- lock); a column and another key for the (few) rows of tariff_versions.

ALTER TABLE bills DROP CONSTRAINT bills_state_check;
ALTER TABLE bills ADD CONSTRAINT bills_state_check CHECK (state IN ('draft', 'held', 'issued', 'cancelled', 'reversed'));
ALTER TABLE bills ADD COLUMN issued_at timestamptz;     -- of a bill that a correction issued; null: when its run was issued

-- A change of what bills rest on, made by one person and approved by another, or by two others.
CREATE TABLE corrections (
    id               text PRIMARY KEY,                  -- 'K<yyyymmdd>-<number>'
    sites            text[] NOT NULL CHECK (cardinality(sites) > 0), -- of all accounts that it touches
    kind             text NOT NULL CHECK (kind IN ('reading', 'ratio', 'exchange', 'price', 'terms')),
    subject          text NOT NULL,                     -- the meter's, account's or tariff's number
    change           jsonb NOT NULL,                    -- billing.CorrectionChange
    before           jsonb NOT NULL,                    -- what stands on file instead, as the preview saw it
    from_at          timestamptz NOT NULL,              -- the first instant that it touches
    reason           text NOT NULL CHECK (reason <> ''),
    evidence         text NOT NULL DEFAULT '',          -- the paper that it rests on: slip, photo, test report, notice of prices
    state            text NOT NULL CHECK (state IN ('drafted', 'previewed', 'approved_once', 'approved', 'applying', 'applied', 'rejected', 'withdrawn', 'stopped')),
    idempotency_key  text NOT NULL UNIQUE,
    request_hash     bytea NOT NULL,
    digest           bytea,                             -- of the inputs that the preview was computed from
    approvals_needed smallint NOT NULL DEFAULT 1 CHECK (approvals_needed IN (1, 2)),
    drafted_by       text NOT NULL REFERENCES users,
    drafted_at       timestamptz NOT NULL,
    previewed_at     timestamptz,
    approved1_by     text REFERENCES users,
    approved1_at     timestamptz,
    approved2_by     text REFERENCES users,
    approved2_at     timestamptz,
    inputs_at        timestamptz,                       -- when the change was written into readings, fittings, tariffs or terms
    ended_by         text REFERENCES users,             -- who rejected or withdrew it
    ended_at         timestamptz,                       -- applied, rejected or withdrawn
    ended_why        text NOT NULL DEFAULT '',
    stopped_bill     text NOT NULL DEFAULT '',          -- where it stopped; empty: before the first bill
    stopped_why      text NOT NULL DEFAULT '',
    CONSTRAINT correction_maker_is_not_first_approver CHECK (drafted_by <> approved1_by),
    CONSTRAINT correction_maker_is_not_second_approver CHECK (drafted_by <> approved2_by),
    CONSTRAINT correction_approvers_differ CHECK (approved1_by <> approved2_by),
    CHECK (approved2_by IS NULL OR approved1_by IS NOT NULL),
    CHECK (state NOT IN ('approved', 'applying', 'applied', 'stopped') OR (approved1_by IS NOT NULL AND (approvals_needed = 1 OR approved2_by IS NOT NULL))),
    CHECK (state IN ('drafted', 'rejected', 'withdrawn') OR digest IS NOT NULL)
);
CREATE INDEX corrections_time ON corrections (drafted_at);
CREATE INDEX corrections_open ON corrections (drafted_at) WHERE state NOT IN ('applied', 'rejected', 'withdrawn');
CREATE SEQUENCE correction_no;

-- The preview: every account that a correction touches, and afterwards what became of it.
CREATE TABLE correction_accounts (
    correction_id     text NOT NULL REFERENCES corrections,
    account_id        text NOT NULL REFERENCES accounts,
    site_id           text NOT NULL REFERENCES sites,
    digest            bytea NOT NULL,
    state             text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done')),
    balance_fen       bigint NOT NULL,                  -- when previewed
    bills_fen         bigint NOT NULL,                  -- by how much the issued bills change the credit: positive gives back
    open_fen          bigint NOT NULL,                  -- what the next daily charge gives back for periods that aren't billed; negative takes
    cut_limit_fen     bigint NOT NULL,
    remaining_fen     bigint,                           -- what the meter itself held at its last reading; null for platform credit
    problem           text NOT NULL DEFAULT '',         -- why it can't be rated; nothing can be approved with it
    balance_after_fen bigint,                           -- when its bills were done
    PRIMARY KEY (correction_id, account_id)
);
CREATE INDEX correction_accounts_account ON correction_accounts (account_id);

-- Every bill that a correction touches, once per correction.
CREATE TABLE correction_bills (
    correction_id text NOT NULL REFERENCES corrections,
    bill_id       text NOT NULL REFERENCES bills,
    account_id    text NOT NULL REFERENCES accounts,
    period_from   date NOT NULL,
    period_to     date NOT NULL,
    was           text NOT NULL CHECK (was IN ('draft', 'issued')),
    old_quantity  bigint NOT NULL,
    old_fen       bigint NOT NULL,
    new_quantity  bigint NOT NULL,
    new_fen       bigint NOT NULL,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done')),
    new_bill_id   text REFERENCES bills,                -- set when done: the successor; a draft is its own
    PRIMARY KEY (correction_id, bill_id)
);
CREATE INDEX correction_bills_bill ON correction_bills (bill_id);

-- What became of a reversed bill. The bill's own row never changes but for its state.
CREATE TABLE bill_reversals (
    bill_id       text PRIMARY KEY REFERENCES bills,
    successor_id  text NOT NULL UNIQUE REFERENCES bills,
    correction_id text NOT NULL REFERENCES corrections,
    entry_id      bigint UNIQUE REFERENCES ledger_entries,  -- the compensating entry; null when the bill had moved nothing
    corrects_day  date NOT NULL,                            -- the local day whose entry it compensates
    reversed_at   timestamptz NOT NULL,
    CHECK (bill_id <> successor_id)
);
CREATE TRIGGER bill_reversals_append_only BEFORE UPDATE OR DELETE ON bill_reversals FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- An issued bill's row changes in one way only: its state becomes reversed.
CREATE FUNCTION guard_issued_bill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'issued' AND NEW.state = 'reversed' AND to_jsonb(NEW) - 'state' = to_jsonb(OLD) - 'state' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'bill % is %: it is never edited; reverse it and bill again by a correction', OLD.id, OLD.state USING ERRCODE = 'MF010';
END $$;
CREATE TRIGGER bills_issued_guard BEFORE UPDATE OR DELETE ON bills FOR EACH ROW WHEN (OLD.state IN ('issued', 'reversed')) EXECUTE FUNCTION guard_issued_bill();

CREATE FUNCTION guard_issued_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_bill text;
BEGIN
    SELECT id INTO v_bill FROM bills WHERE id = OLD.bill_id AND state IN ('issued', 'reversed');
    IF FOUND THEN
        RAISE EXCEPTION 'the lines of bill % are issued: they are never edited; reverse the bill and bill again by a correction', v_bill USING ERRCODE = 'MF010';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bill_lines_issued_guard BEFORE UPDATE OR DELETE ON bill_lines FOR EACH ROW EXECUTE FUNCTION guard_issued_lines();

-- Lines come with their bill, never later: an issued bill takes lines only in the transaction that wrote its row.
CREATE FUNCTION guard_added_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_bill text;
BEGIN
    SELECT b.id INTO v_bill FROM (SELECT DISTINCT bill_id FROM added) a JOIN bills b ON b.id = a.bill_id
    WHERE b.state IN ('issued', 'reversed') AND b.xmin <> pg_current_xact_id()::xid LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'bill % is issued: it takes no further lines', v_bill USING ERRCODE = 'MF010';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER bill_lines_added_guard AFTER INSERT ON bill_lines REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION guard_added_lines();

-- A bill is reversed together with its successor, in one transaction.
CREATE FUNCTION check_reversal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM bill_reversals r JOIN bills n ON n.id = r.successor_id
        WHERE r.bill_id = NEW.id AND n.account_id = NEW.account_id AND n.period_from = NEW.period_from AND n.period_to = NEW.period_to AND n.version > NEW.version) THEN
        RAISE EXCEPTION 'bill % is reversed without a successor of the same account and period', NEW.id USING ERRCODE = 'MF011';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER bills_reversed_check AFTER UPDATE ON bills DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'reversed') EXECUTE FUNCTION check_reversal();

-- A corrected price is a further version: of another first day, or beside the one of its day. That one stays on record; the highest number counts.
ALTER TABLE tariff_versions
    ADD COLUMN number integer NOT NULL DEFAULT 1 CHECK (number >= 1),
    ADD COLUMN correction_id text REFERENCES corrections,
    DROP CONSTRAINT tariff_versions_pkey,
    ADD PRIMARY KEY (tariff_id, from_day, number),
    ADD CONSTRAINT tariff_versions_change_or_correction CHECK (change_id IS NULL OR correction_id IS NULL),
    ADD CONSTRAINT tariff_versions_only_corrections_replace CHECK (number = 1 OR correction_id IS NOT NULL);
CREATE OR REPLACE FUNCTION tariff_definition(p_id text) RETURNS jsonb LANGUAGE sql STABLE AS
$$ SELECT coalesce(jsonb_agg(version ORDER BY from_day), '[]') FROM (
       SELECT DISTINCT ON (from_day) from_day, version FROM tariff_versions WHERE tariff_id = p_id ORDER BY from_day, number DESC) v $$;
CREATE FUNCTION corrected_version_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM corrections k WHERE k.id = NEW.correction_id AND k.kind = 'price' AND k.state IN ('approved', 'stopped')
        AND k.change #>> '{price,tariff}' = NEW.tariff_id AND k.change #> '{price,version}' = NEW.version) THEN
        RAISE EXCEPTION 'correction % was not approved with these prices', NEW.correction_id USING ERRCODE = 'MF002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tariff_versions_corrected BEFORE INSERT ON tariff_versions FOR EACH ROW WHEN (NEW.correction_id IS NOT NULL) EXECUTE FUNCTION corrected_version_guard();
