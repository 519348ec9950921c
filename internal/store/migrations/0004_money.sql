-- Ledger, charges, bills, recharges. Lock impact: creates only.

-- Signed postings: positive = debit, negative = credit; the postings of an entry sum to zero.
CREATE TABLE ledger_accounts (
    code       text PRIMARY KEY,                    -- '<site>/cash', '<site>/bank', '<site>/in_transit', '<site>/unbilled', '<site>/revenue/power', 'customer/<account>'
    site_id    text NOT NULL REFERENCES sites,
    kind       text NOT NULL CHECK (kind IN ('asset', 'liability', 'revenue')),
    account_id text UNIQUE REFERENCES accounts      -- set for a customer's credit account only
);

CREATE TABLE ledger_entries (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id         text NOT NULL REFERENCES sites,
    kind            text NOT NULL,                  -- opening, recharge_received, recharge_credited, daily_charge, bill_issued, reversal
    idempotency_key text NOT NULL UNIQUE,           -- made of a business fact
    request_hash    bytea NOT NULL,                 -- of the whole request
    business_at     timestamptz NOT NULL,
    real_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    subject         text NOT NULL,                  -- recharge, bill or cycle number
    reverses        bigint UNIQUE REFERENCES ledger_entries
);

CREATE TABLE ledger_postings (
    entry_id   bigint NOT NULL REFERENCES ledger_entries,
    seq        smallint NOT NULL,
    code       text NOT NULL REFERENCES ledger_accounts,
    amount_fen bigint NOT NULL CHECK (amount_fen <> 0),
    PRIMARY KEY (entry_id, seq)
);
CREATE INDEX ledger_postings_code ON ledger_postings (code);

-- What the customer has: credit balance = minus the sum of the signed postings of its liability account.
CREATE TABLE balances (
    account_id  text PRIMARY KEY REFERENCES accounts,
    balance_fen bigint NOT NULL DEFAULT 0,
    moved_at    timestamptz
);

CREATE FUNCTION move_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE balances b SET balance_fen = b.balance_fen - NEW.amount_fen, moved_at = business_now()
    FROM ledger_accounts a WHERE a.code = NEW.code AND b.account_id = a.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_postings_move_balance AFTER INSERT ON ledger_postings FOR EACH ROW EXECUTE FUNCTION move_balance();

-- A balance moves only from inside the posting trigger.
CREATE FUNCTION guard_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'a balance moves only with a posting' USING ERRCODE = 'MF002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER balances_guard BEFORE UPDATE ON balances FOR EACH ROW EXECUTE FUNCTION guard_balance();

CREATE FUNCTION check_entry_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_sum numeric; v_count bigint;
BEGIN
    SELECT coalesce(sum(amount_fen), 0), count(*) INTO v_sum, v_count FROM ledger_postings WHERE entry_id = NEW.id;
    IF v_sum <> 0 OR v_count < 2 THEN
        RAISE EXCEPTION 'ledger entry % does not balance: % fen over % postings', NEW.id, v_sum, v_count USING ERRCODE = 'MF003';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_entry_balanced();

-- Postings are written with their entry, never later: a posting that comes after its entry's transaction would escape the check above.
CREATE FUNCTION check_posting_with_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM ledger_entries WHERE id = NEW.entry_id AND xmin = pg_current_xact_id()::xid) THEN
        RAISE EXCEPTION 'postings are written in the transaction of their entry' USING ERRCODE = 'MF004';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_postings_with_entry AFTER INSERT ON ledger_postings FOR EACH ROW EXECUTE FUNCTION check_posting_with_entry();

CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_postings_append_only BEFORE UPDATE OR DELETE ON ledger_postings FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- House accounts have no balance row (it would be a hot row): they are summed from daily snapshots.
CREATE TABLE house_snapshots (
    code        text NOT NULL REFERENCES ledger_accounts,
    day         date NOT NULL,
    last_entry  bigint NOT NULL,
    balance_fen bigint NOT NULL,                    -- signed sum up to last_entry
    PRIMARY KEY (code, day)
);

-- The daily charge of a site: one per closed cycle.
CREATE TABLE charge_runs (
    cycle_id   text PRIMARY KEY REFERENCES cycles,
    site_id    text NOT NULL REFERENCES sites,
    state      text NOT NULL CHECK (state IN ('charging', 'charged')),
    accounts   integer NOT NULL DEFAULT 0,
    total_fen  bigint NOT NULL DEFAULT 0,
    low        integer NOT NULL DEFAULT 0
);

-- What was charged to an account: rated(period to date) − charged so far.
CREATE TABLE charges (
    account_id    text NOT NULL REFERENCES accounts,
    cycle_id      text NOT NULL REFERENCES cycles,
    period_from   date NOT NULL,                    -- first day of the billing period that it belongs to
    upto          timestamptz NOT NULL,             -- freeze instant of the reading that it goes up to
    rated_fen     bigint NOT NULL,                  -- rated(period to date)
    amount_fen    bigint NOT NULL,                  -- may be negative after a correction
    entry_id      bigint REFERENCES ledger_entries, -- null when the amount is zero
    PRIMARY KEY (account_id, cycle_id, period_from)
);
CREATE INDEX charges_period ON charges (account_id, period_from);

-- Who is low after a charge: written in the charge's transaction, worked off by a workflow that starts one case per account.
CREATE TABLE low_list (
    account_id  text NOT NULL REFERENCES accounts,
    cycle_id    text NOT NULL REFERENCES cycles,
    balance_fen bigint NOT NULL,
    level       text NOT NULL CHECK (level IN ('level1', 'level2', 'final')),
    taken       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account_id, cycle_id)
);
CREATE INDEX low_list_open ON low_list (cycle_id) WHERE NOT taken;

CREATE TABLE billing_runs (
    id           text PRIMARY KEY,                  -- '<site>/<yyyy-mm>/<version>'
    site_id      text NOT NULL REFERENCES sites,
    period_from  date NOT NULL,
    period_to    date NOT NULL,
    version      integer NOT NULL,
    state        text NOT NULL CHECK (state IN ('rating', 'blocked', 'awaiting_verification', 'verified', 'issued', 'cancelled')),
    totals       jsonb NOT NULL DEFAULT '{}',       -- control totals
    opened_at    timestamptz NOT NULL,
    opened_by    text NOT NULL,
    verified_by  text REFERENCES users,
    verified_at  timestamptz,
    issued_by    text REFERENCES users,
    issued_at    timestamptz,
    UNIQUE (site_id, period_from, version),
    CHECK (period_to > period_from),
    CONSTRAINT verifier_is_not_issuer CHECK (verified_by <> issued_by),
    CHECK (state <> 'issued' OR (verified_by IS NOT NULL AND issued_by IS NOT NULL))
);

CREATE TABLE bills (
    id             text PRIMARY KEY,                -- 'B<account>-<yyyymm>-<version>'
    run_id         text NOT NULL REFERENCES billing_runs,
    site_id        text NOT NULL REFERENCES sites,
    account_id     text NOT NULL REFERENCES accounts,
    period_from    date NOT NULL,
    period_to      date NOT NULL,
    version        integer NOT NULL,
    state          text NOT NULL CHECK (state IN ('draft', 'held', 'issued', 'cancelled')),
    hold_reason    text NOT NULL DEFAULT '',
    tariff_id      text NOT NULL REFERENCES tariffs,
    engine         text NOT NULL,                   -- version of the rating engine
    quantity       bigint NOT NULL,                 -- raw units after ratio, total register
    readings       jsonb NOT NULL,                  -- per fitting: meter, opening and closing instant, registers, ratio
    input          jsonb NOT NULL,                  -- what was rated: enough to rate it again
    total_fen      bigint NOT NULL,
    charged_fen    bigint NOT NULL DEFAULT 0,       -- charged in the period before the issue
    entry_id       bigint REFERENCES ledger_entries,
    UNIQUE (account_id, period_from, version)
);
CREATE INDEX bills_run ON bills (run_id);

CREATE TABLE bill_lines (
    bill_id    text NOT NULL REFERENCES bills,
    seq        smallint NOT NULL,
    component  text NOT NULL,
    name_zh    text NOT NULL,
    name_en    text NOT NULL,
    register   smallint NOT NULL,
    tier       smallint NOT NULL DEFAULT 0,
    from_at    timestamptz NOT NULL,
    to_at      timestamptz NOT NULL,
    opening    bigint,                              -- raw register values that the quantity comes from, where one pair covers it
    closing    bigint,
    quantity   numeric NOT NULL,
    price      numeric(18, 8) NOT NULL,
    factor     numeric NOT NULL DEFAULT 1,
    amount_fen bigint NOT NULL,
    PRIMARY KEY (bill_id, seq)
);

CREATE TABLE recharges (
    id              text PRIMARY KEY,               -- 'R<yyyymmdd>-<number>'
    site_id         text NOT NULL REFERENCES sites,
    account_id      text NOT NULL REFERENCES accounts,
    meter_id        text REFERENCES meters,         -- set for meter credit
    amount_fen      bigint NOT NULL CHECK (amount_fen > 0),
    channel         text NOT NULL CHECK (channel IN ('cash', 'transfer', 'online')),
    evidence        text NOT NULL,                  -- slip or provider number that was checked
    state           text NOT NULL CHECK (state IN ('entered', 'approved_once', 'approved', 'delivering', 'credited', 'rejected', 'expired', 'in_doubt')),
    idempotency_key text NOT NULL UNIQUE,
    request_hash    bytea NOT NULL,
    entered_by      text NOT NULL REFERENCES users,
    entered_at      timestamptz NOT NULL,
    entered_real    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz NOT NULL,
    approved1_by    text REFERENCES users,
    approved1_at    timestamptz,
    approved2_by    text REFERENCES users,
    approved2_at    timestamptz,
    rejected_by     text REFERENCES users,
    reason          text NOT NULL DEFAULT '',
    settled_at      timestamptz,                    -- credited, rejected or expired
    settled_real    timestamptz,
    receipt_no      text UNIQUE,
    CONSTRAINT maker_is_not_first_approver CHECK (entered_by <> approved1_by),
    CONSTRAINT maker_is_not_second_approver CHECK (entered_by <> approved2_by),
    CONSTRAINT approvers_differ CHECK (approved1_by <> approved2_by),
    CHECK (approved2_by IS NULL OR approved1_by IS NOT NULL),
    CHECK (state NOT IN ('approved', 'delivering', 'credited', 'in_doubt') OR approved2_by IS NOT NULL)
);
CREATE INDEX recharges_account ON recharges (account_id, entered_at);
CREATE INDEX recharges_open ON recharges (site_id, entered_at) WHERE state NOT IN ('credited', 'rejected', 'expired');
-- A slip or provider number pays once.
CREATE UNIQUE INDEX recharges_evidence_once ON recharges (site_id, channel, evidence) WHERE state NOT IN ('rejected', 'expired') AND channel <> 'cash';
