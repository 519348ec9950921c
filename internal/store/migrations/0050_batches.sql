-- Work on many meters: batches with their members, settings of meters as commands, meters that are held on by a person's order.
-- Lock impact: creates; widens a check of commands (a scan of that table) and replaces one of its small partial indexes; adds a column
-- without a default to supplies.

-- Prices and clocks are orders to a meter like any other: one row, one cause, the frames as evidence.
ALTER TABLE commands DROP CONSTRAINT commands_kind_check;
ALTER TABLE commands ADD CONSTRAINT commands_kind_check CHECK (kind IN ('credit', 'trip', 'close', 'keep_on', 'release', 'set_prices', 'set_clock'));
DROP INDEX commands_one_open_switch;
CREATE UNIQUE INDEX commands_one_open_switch ON commands (meter_id) WHERE kind IN ('trip', 'close', 'keep_on', 'release') AND state IN ('requested', 'sending', 'acknowledged');
CREATE UNIQUE INDEX commands_one_open_setting ON commands (meter_id) WHERE kind IN ('set_prices', 'set_clock') AND state IN ('requested', 'sending', 'acknowledged');
CREATE INDEX commands_clock ON commands (meter_id, sent_at) WHERE kind = 'set_clock';

-- What a clock showed, in seconds ahead of ours, before it was set and when it was read back.
ALTER TABLE commands ADD COLUMN skew_before_s integer, ADD COLUMN skew_after_s integer;

CREATE SEQUENCE batch_no START 1001;

CREATE TABLE batches (
    id         text PRIMARY KEY,                    -- 'B-<number>'; of a batch that a day's readings brought 'B-<site>-<day>'
    site_id    text NOT NULL REFERENCES sites,
    kind       text NOT NULL CHECK (kind IN ('price', 'valve', 'relay', 'clock')),
    action     text NOT NULL CHECK (action IN ('set_prices', 'set_clock', 'restore', 'keep_on', 'release')),
    state      text NOT NULL CHECK (state IN ('previewed', 'running', 'done', 'cancelled')),
    rate       integer NOT NULL CHECK (rate BETWEEN 1 AND 600),  -- orders per minute of real time at most
    reason     text NOT NULL CHECK (reason <> ''),
    made_by    text NOT NULL,                       -- user id, or 'workflow'
    made_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,                -- a preview that nobody started by then is cancelled
    started_by text,
    started_at timestamptz,
    ended_by   text,                                -- who cancelled it; 'workflow' when it is done or expired
    ended_at   timestamptz,
    end_reason text NOT NULL DEFAULT '',
    CONSTRAINT batch_action_of_kind CHECK ((kind, action) IN (('price', 'set_prices'), ('clock', 'set_clock'), ('valve', 'restore'), ('relay', 'restore'), ('relay', 'keep_on'), ('relay', 'release'))),
    -- A release may let a meter trip by itself: another person than its maker starts it.
    CONSTRAINT batch_maker_is_not_starter CHECK (action <> 'release' OR started_by <> made_by),
    CONSTRAINT batch_was_started CHECK (state NOT IN ('running', 'done') OR (started_by IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT batch_has_ended CHECK ((state IN ('done', 'cancelled')) = (ended_at IS NOT NULL))
);
CREATE INDEX batches_site ON batches (site_id, made_at);

CREATE TABLE batch_members (
    batch_id   text NOT NULL REFERENCES batches,
    meter_id   text NOT NULL REFERENCES meters,
    account_id text REFERENCES accounts,            -- behind the meter when the batch was made
    gateway_id text NOT NULL REFERENCES gateways,
    state      text NOT NULL CHECK (state IN ('pending', 'skipped', 'sending', 'verified', 'refused', 'unknown', 'cancelled')),
    skip       text NOT NULL DEFAULT '',            -- why it is left out: protected, stands, silent …
    note       text NOT NULL DEFAULT '',
    command_id text REFERENCES commands,
    restore_id text REFERENCES restores,            -- of a member whose supply is given back
    settled_at timestamptz,
    PRIMARY KEY (batch_id, meter_id),
    CONSTRAINT batch_member_skipped_for_a_reason CHECK ((state = 'skipped') = (skip <> '')),
    CONSTRAINT batch_member_has_account CHECK (state IN ('skipped', 'cancelled') OR account_id IS NOT NULL)
);
CREATE INDEX batch_members_open ON batch_members (batch_id, gateway_id, meter_id) WHERE state IN ('pending', 'sending');
CREATE INDEX batch_members_meter ON batch_members (meter_id);

-- The batch whose order holds the meter on. While it does, nothing ends that by itself and no cut is allowed; a release batch ends it.
ALTER TABLE supplies ADD COLUMN held_by text REFERENCES batches;
