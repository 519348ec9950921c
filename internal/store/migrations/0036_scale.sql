-- Billing at scale: runs in chunks with their progress, and meters that are billed once for any time.
-- Lock impact: creates tables and an extension; rebuilds small indexes; fills bill_meters from the bills that are issued (one scan of
-- bills under a lock against writers).

-- Exclusion of overlapping times per meter; part of PostgreSQL's own contrib modules.
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- A run works chunk by chunk, each a range of account numbers. Progress and control totals stand here and move with each page, so that
-- nobody has to count a hundred thousand bills to say how far a run is. Numbers of bills, never business state: bills have that.
CREATE TABLE billing_chunks (
    run_id        text NOT NULL REFERENCES billing_runs,
    no            integer NOT NULL CHECK (no >= 1),
    after_account text NOT NULL,                    -- the range is (after_account, upto_account]
    upto_account  text,                             -- null: to the end
    accounts      integer NOT NULL CHECK (accounts >= 0),   -- when the run was planned
    rated         integer NOT NULL DEFAULT 0,       -- accounts that rating has passed
    rated_upto    text NOT NULL DEFAULT '',         -- the last of them: a repeated page changes nothing
    issued        integer NOT NULL DEFAULT 0,       -- bills
    bills         integer NOT NULL DEFAULT 0,       -- to be issued or issued: without the held and cancelled ones
    held          integer NOT NULL DEFAULT 0,
    power_raw     bigint NOT NULL DEFAULT 0,        -- quantity of those bills: 0.01 kWh, after the ratio
    water_raw     bigint NOT NULL DEFAULT 0,        -- litres
    total_fen     bigint NOT NULL DEFAULT 0,
    charged_fen   bigint NOT NULL DEFAULT 0,
    changes       jsonb,                            -- the ten largest against the period before; null: to be looked for
    PRIMARY KEY (run_id, no)
) WITH (fillfactor = 50);                           -- updated with every page

-- One run of a period at a time: a second one would rate the same accounts.
CREATE UNIQUE INDEX billing_runs_one_open ON billing_runs (site_id, period_from) WHERE state NOT IN ('issued', 'cancelled');

-- Chunks read and lists show a run's bills by account; pages of accounts are read by site.
CREATE INDEX IF NOT EXISTS bills_run_account ON bills (run_id, account_id);
DROP INDEX IF EXISTS bills_run;
CREATE INDEX accounts_site_id ON accounts (site_id, id);
DROP INDEX accounts_site;
-- The fittings of a page of service points, removed meters included.
CREATE INDEX IF NOT EXISTS fittings_point ON fittings (service_point_id, from_at);
-- The newest charges of an account are at the index's end, however long its history is.
CREATE INDEX charges_newest ON charges (account_id, period_from, upto);
DROP INDEX charges_period;

-- SHA-256 of the bill's lines, so that one journal row can stand for a page of bills and still tell a changed line.
ALTER TABLE bills ADD COLUMN lines_digest bytea NOT NULL DEFAULT '';

-- Which meter was billed for which time, through exchanges and changes of ratio. The time of a meter is billed once: a reversed bill
-- gives it free. Rows come with the bill's issue, whoever issues it.
CREATE TABLE bill_meters (
    bill_id     text NOT NULL REFERENCES bills,
    meter_id    text NOT NULL,                      -- as the bill names it; its history may outlive the meter's file
    period_from date NOT NULL,
    version     integer NOT NULL,
    from_at     timestamptz NOT NULL,
    to_at       timestamptz NOT NULL,
    stands      boolean NOT NULL DEFAULT true,      -- false: the bill was reversed
    CHECK (to_at > from_at),
    CONSTRAINT bill_meters_version PRIMARY KEY (meter_id, period_from, version, from_at),
    CONSTRAINT bill_meters_once EXCLUDE USING gist (meter_id WITH =, tstzrange(from_at, to_at) WITH &&) WHERE (stands)
);
CREATE INDEX bill_meters_bill ON bill_meters (bill_id);

CREATE FUNCTION bill_meters_of(p_bill text, p_readings jsonb, p_period date, p_version integer)
RETURNS SETOF bill_meters LANGUAGE sql STABLE AS
$$ SELECT p_bill, r.meter, p_period, p_version, r."from", r."to", true
   FROM jsonb_to_recordset(p_readings) AS r (meter text, "from" timestamptz, "to" timestamptz) WHERE r."to" > r."from" $$;

INSERT INTO bill_meters
SELECT m.* FROM bills b CROSS JOIN LATERAL bill_meters_of(b.id, b.readings, b.period_from, b.version) m WHERE b.state = 'issued';

CREATE FUNCTION bill_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bill_meters
    SELECT m.* FROM added b CROSS JOIN LATERAL bill_meters_of(b.id, b.readings, b.period_from, b.version) m WHERE b.state = 'issued';
    RETURN NULL;
END $$;
CREATE TRIGGER bills_meters_inserted AFTER INSERT ON bills REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bill_inserted();

CREATE FUNCTION bill_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Asked first: for a page that is issued, nothing must be looked for among all that was ever billed.
    IF EXISTS (SELECT 1 FROM was w JOIN becomes b ON b.id = w.id WHERE w.state = 'issued' AND b.state <> 'issued') THEN
        UPDATE bill_meters m SET stands = false FROM was w JOIN becomes b ON b.id = w.id
        WHERE w.state = 'issued' AND b.state <> 'issued' AND m.bill_id = w.id AND m.stands;
    END IF;
    INSERT INTO bill_meters
    SELECT m.* FROM was w JOIN becomes b ON b.id = w.id CROSS JOIN LATERAL bill_meters_of(b.id, b.readings, b.period_from, b.version) m
    WHERE b.state = 'issued' AND w.state <> 'issued';
    RETURN NULL;
END $$;
CREATE TRIGGER bills_meters_moved AFTER UPDATE ON bills REFERENCING OLD TABLE AS was NEW TABLE AS becomes FOR EACH STATEMENT EXECUTE FUNCTION bill_moved();
