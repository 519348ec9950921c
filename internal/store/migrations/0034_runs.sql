-- Stopped bills, and the indexes of reports and lists. Lock impact: one table is made; the indexes lock writers while they are built.

-- Why a limit stopped a bill: one row per rule, kept when the bill is released. was and allowed are texts for people.
CREATE TABLE bill_stops (
    bill_id text NOT NULL REFERENCES bills,
    rule    text NOT NULL,
    was     text NOT NULL,
    allowed text NOT NULL,
    PRIMARY KEY (bill_id, rule)
);
CREATE TRIGGER bill_stops_append_only BEFORE UPDATE OR DELETE ON bill_stops FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- A run's list reads a page in the order of accounts; held bills are few and are looked up by themselves.
CREATE INDEX bills_run_account ON bills (run_id, account_id);
CREATE INDEX bills_held ON bills (run_id, account_id) WHERE state = 'held';
-- Who owes: few among many.
CREATE INDEX balances_owed ON balances (balance_fen, account_id) WHERE balance_fen < 0;
-- What customers paid in a month.
CREATE INDEX recharges_settled ON recharges (site_id, settled_at) WHERE state = 'credited';
-- What a site charged, by day.
CREATE INDEX charge_runs_site ON charge_runs (site_id);
-- All fittings of a service point, the removed ones too: rating and reports read them by page.
CREATE INDEX IF NOT EXISTS fittings_point ON fittings (service_point_id, from_at);
