-- Accounts that the newest daily charge couldn't rate, with why: they use what nobody takes from their credit, so somebody must see it. The row goes with
-- the first charge that can rate the account again; the account's journal keeps both. Lock impact: creates only.

CREATE TABLE uncharged (
    account_id text PRIMARY KEY REFERENCES accounts,
    site_id    text NOT NULL REFERENCES sites,
    reason     text NOT NULL CHECK (reason <> ''),  -- one sentence, as a person would be refused
    since_at   timestamptz NOT NULL                 -- business instant of the first charge that couldn't
);
CREATE INDEX uncharged_site ON uncharged (site_id, since_at);
