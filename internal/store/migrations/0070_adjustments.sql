-- Refunds and charges for faulty meters (供电营业规则 Art. 80 and 81): tests of meters as dated data, and adjustments of what was billed.
-- Lock impact: creates only.

-- A test of a meter's error. A meter without one counts from its fitting.
CREATE TABLE meter_tests (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id      text NOT NULL REFERENCES meters,
    tested_on     date NOT NULL,                        -- local to the site
    error_percent numeric(9, 4) NOT NULL,               -- (registered − true) ÷ true; positive: it registers too much
    certificate   text NOT NULL CHECK (certificate <> ''), -- number of the test's paper
    recorded_by   text NOT NULL REFERENCES users,
    recorded_at   timestamptz NOT NULL,
    CONSTRAINT meter_tests_one_a_day UNIQUE (meter_id, tested_on)
);
CREATE TRIGGER meter_tests_append_only BEFORE UPDATE OR DELETE ON meter_tests FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER meter_tests_no_truncate BEFORE TRUNCATE ON meter_tests EXECUTE FUNCTION forbid_change();

-- A refund or charge for what a faulty meter registered too much or too little. The issued bills stand; it is a document of its own, with an
-- entry of its own. Made by one person, approved by two others.
CREATE TABLE adjustments (
    id              text PRIMARY KEY,                   -- 'J<yyyymmdd>-<number>'
    site_id         text NOT NULL REFERENCES sites,
    account_id      text NOT NULL REFERENCES accounts,
    meter_id        text NOT NULL REFERENCES meters,
    kind            text NOT NULL CHECK (kind IN ('meter_error', 'other_fault', 'wrong_wiring')),
    fault           jsonb NOT NULL,                     -- billing.Fault, as it was entered
    test_id         bigint REFERENCES meter_tests,      -- whose error it is
    percent         numeric(9, 4),                      -- that error, or the difference rate of the wiring
    counted_from    date NOT NULL,                      -- of the last test or the fitting before; as entered for another fault
    counted_by      text NOT NULL CHECK (counted_by IN ('test', 'fitting', 'entered')),
    from_at         timestamptz NOT NULL,               -- what is adjusted, half-open
    to_at           timestamptz NOT NULL,
    opening         bigint[],                           -- what the meter showed then; null: no reading, so the bill's use counts at an even rate
    closing         bigint[],
    normal_bill     text REFERENCES bills,              -- of the normal month of another fault
    normal          bigint[],                           -- its use by register, raw, after ratio
    normal_days     integer,
    registered      bigint[] NOT NULL,                  -- in the time that is adjusted, raw, after ratio
    difference      bigint[] NOT NULL,                  -- true use less registered
    total_fen       bigint NOT NULL,                    -- positive: charged; negative: given back
    next_from       date NOT NULL,                      -- first day after the bills it rests on: the steps of later ones count the difference
    reason          text NOT NULL CHECK (reason <> ''),
    evidence        text NOT NULL DEFAULT '',
    state           text NOT NULL CHECK (state IN ('previewed', 'approved_once', 'booked', 'rejected', 'withdrawn')),
    idempotency_key text NOT NULL UNIQUE,
    request_hash    bytea NOT NULL,
    digest          bytea NOT NULL,                     -- of what it was reckoned from, and the result
    drafted_by      text NOT NULL REFERENCES users,
    drafted_at      timestamptz NOT NULL,
    approved1_by    text REFERENCES users,
    approved1_at    timestamptz,
    approved2_by    text REFERENCES users,
    approved2_at    timestamptz,                        -- when it was booked
    entry_id        bigint UNIQUE REFERENCES ledger_entries, -- null while not booked, or when its lines come to nothing
    balance_after_fen bigint,
    ended_by        text REFERENCES users,              -- who rejected or withdrew it
    ended_at        timestamptz,
    ended_why       text NOT NULL DEFAULT '',
    CHECK (to_at > from_at),
    CHECK ((kind = 'other_fault') = (normal IS NOT NULL) AND (kind = 'other_fault') = (normal_days IS NOT NULL) AND (kind = 'other_fault') = (percent IS NULL)),
    CHECK ((kind = 'meter_error') = (test_id IS NOT NULL)),
    CHECK ((kind = 'other_fault') = (counted_by = 'entered')),
    CONSTRAINT adjustment_maker_is_not_first_approver CHECK (drafted_by <> approved1_by),
    CONSTRAINT adjustment_maker_is_not_second_approver CHECK (drafted_by <> approved2_by),
    CONSTRAINT adjustment_approvers_differ CHECK (approved1_by <> approved2_by),
    CHECK (approved2_by IS NULL OR approved1_by IS NOT NULL),
    CHECK ((state = 'booked') = (approved2_by IS NOT NULL)),
    CHECK (state <> 'approved_once' OR approved1_by IS NOT NULL),
    CHECK (entry_id IS NULL OR state = 'booked'),
    -- What a meter registered is adjusted once.
    CONSTRAINT adjustments_once EXCLUDE USING gist (meter_id WITH =, tstzrange(from_at, to_at) WITH &&) WHERE (state NOT IN ('rejected', 'withdrawn'))
);
CREATE INDEX adjustments_account ON adjustments (account_id);
CREATE INDEX adjustments_open ON adjustments (site_id, drafted_at) WHERE state IN ('previewed', 'approved_once');
CREATE SEQUENCE adjustment_no;

-- What it means for each bill that it touches. Quantities are of the total register, raw, after ratio.
CREATE TABLE adjustment_bills (
    adjustment_id   text NOT NULL REFERENCES adjustments,
    bill_id         text NOT NULL REFERENCES bills,
    period_from     date NOT NULL,
    billed_quantity bigint NOT NULL,
    true_quantity   bigint NOT NULL,
    billed_fen      bigint NOT NULL,                    -- without a late fee
    true_fen        bigint NOT NULL,
    steps           bigint NOT NULL,                    -- by how much the use that counts toward steps differs
    PRIMARY KEY (adjustment_id, bill_id)
);
CREATE INDEX adjustment_bills_bill ON adjustment_bills (bill_id);

-- Every printed line that differs: as billed, and for the true use; each amount was rounded once.
CREATE TABLE adjustment_lines (
    adjustment_id   text NOT NULL REFERENCES adjustments,
    seq             smallint NOT NULL,
    bill_id         text NOT NULL REFERENCES bills,
    component       text NOT NULL,
    name_zh         text NOT NULL,
    name_en         text NOT NULL,
    register        smallint NOT NULL,
    tier            smallint NOT NULL,
    unit            text NOT NULL,
    thirtieths      smallint NOT NULL,
    from_at         timestamptz NOT NULL,
    to_at           timestamptz NOT NULL,
    price           numeric(18, 8) NOT NULL,
    factor          numeric NOT NULL,
    billed_quantity numeric NOT NULL,
    true_quantity   numeric NOT NULL,
    billed_fen      bigint NOT NULL,
    true_fen        bigint NOT NULL,
    PRIMARY KEY (adjustment_id, seq)
);
CREATE TRIGGER adjustment_bills_append_only BEFORE UPDATE OR DELETE ON adjustment_bills FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER adjustment_lines_append_only BEFORE UPDATE OR DELETE ON adjustment_lines FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER adjustment_bills_no_truncate BEFORE TRUNCATE ON adjustment_bills EXECUTE FUNCTION forbid_change();
CREATE TRIGGER adjustment_lines_no_truncate BEFORE TRUNCATE ON adjustment_lines EXECUTE FUNCTION forbid_change();

-- What people approve never changes under them: an adjustment's row changes its state, with who decided, and nothing else; an ended one
-- not at all.
CREATE FUNCTION guard_adjustment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_decision text[] := ARRAY['state', 'approved1_by', 'approved1_at', 'approved2_by', 'approved2_at', 'entry_id', 'balance_after_fen', 'ended_by', 'ended_at', 'ended_why'];
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state IN ('previewed', 'approved_once') AND to_jsonb(NEW) - v_decision = to_jsonb(OLD) - v_decision THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'adjustment % is %: it is never edited', OLD.id, OLD.state USING ERRCODE = 'MF010';
END $$;
CREATE TRIGGER adjustments_guard BEFORE UPDATE OR DELETE ON adjustments FOR EACH ROW EXECUTE FUNCTION guard_adjustment();
CREATE TRIGGER adjustments_no_truncate BEFORE TRUNCATE ON adjustments EXECUTE FUNCTION forbid_change();

-- The lines and the bills add up to the total, and so does what the entry moved.
CREATE FUNCTION check_adjustment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_lines bigint; v_bills bigint; v_entry bigint;
BEGIN
    SELECT coalesce(sum(true_fen - billed_fen), 0) INTO v_lines FROM adjustment_lines WHERE adjustment_id = NEW.id;
    SELECT coalesce(sum(true_fen - billed_fen), 0) INTO v_bills FROM adjustment_bills WHERE adjustment_id = NEW.id;
    SELECT coalesce(sum(p.amount_fen), 0) INTO v_entry FROM ledger_postings p WHERE p.entry_id = NEW.entry_id AND p.code = 'customer/' || NEW.account_id;
    IF v_lines <> NEW.total_fen OR v_bills <> NEW.total_fen OR NEW.state = 'booked' AND v_entry <> NEW.total_fen THEN
        RAISE EXCEPTION 'adjustment % is % fen; its lines come to %, its bills to %, its entry to %', NEW.id, NEW.total_fen, v_lines, v_bills, v_entry USING ERRCODE = 'MF003';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER adjustments_add_up AFTER INSERT OR UPDATE ON adjustments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_adjustment();
