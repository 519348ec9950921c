-- Reading cycles, readings, exception cases. Lock impact: creates only.

CREATE TABLE cycles (
    id          text PRIMARY KEY,                   -- '<site>/<yyyy-mm-dd>', on demand: '<site>/<yyyy-mm-dd>/<n>'
    site_id     text NOT NULL REFERENCES sites,
    day         date NOT NULL,
    freeze_at   timestamptz NOT NULL,
    window_end  timestamptz NOT NULL,               -- no pass starts after it
    state       text NOT NULL CHECK (state IN ('planned', 'sweeping', 'validating', 'closed')),
    passes      integer NOT NULL DEFAULT 0,
    planned     integer NOT NULL DEFAULT 0,
    read        integer NOT NULL DEFAULT 0,
    estimated   integer NOT NULL DEFAULT 0,
    manual      integer NOT NULL DEFAULT 0,
    missing     integer NOT NULL DEFAULT 0,
    opened_at   timestamptz NOT NULL,
    closed_at   timestamptz,
    opened_real timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_real timestamptz
);
CREATE UNIQUE INDEX cycles_freeze ON cycles (site_id, freeze_at);

CREATE TABLE cycle_meters (
    cycle_id   text NOT NULL REFERENCES cycles,
    meter_id   text NOT NULL REFERENCES meters,
    gateway_id text NOT NULL REFERENCES gateways,
    outcome    text NOT NULL DEFAULT 'planned' CHECK (outcome IN ('planned', 'read', 'silent', 'refused', 'wrong', 'estimated', 'manual')),
    tries      integer NOT NULL DEFAULT 0,
    error      text NOT NULL DEFAULT '',
    PRIMARY KEY (cycle_id, meter_id)
);

-- One row per (meter, freeze instant, version); the highest version is the current one. Never changed, only superseded.
-- Raw units: 0.01 kWh, litres. Register order: total, sharp, peak, flat, valley, deep valley.
CREATE TABLE readings (
    meter_id       text NOT NULL,
    freeze_at      timestamptz NOT NULL,
    version        integer NOT NULL,
    taken_at       timestamptz NOT NULL,            -- business instant at which it was taken
    taken_real     timestamptz NOT NULL,
    quality        text NOT NULL CHECK (quality IN ('actual', 'manual', 'estimated', 'edited')),
    registers      bigint[] NOT NULL CHECK (array_length(registers, 1) IN (1, 6)),
    remaining_fen  bigint,
    purchase_count bigint,
    supply         text NOT NULL DEFAULT 'unknown', -- as read: on, off, moving, fault, unknown
    forced         text NOT NULL DEFAULT '',        -- '', on, off
    status_word    integer NOT NULL DEFAULT 0,
    power_w        bigint NOT NULL DEFAULT 0,
    clock_skew_s   integer,
    interpolated   boolean NOT NULL DEFAULT false,  -- taken beyond the tolerance and carried back to the freeze instant
    doubtful       boolean NOT NULL DEFAULT false,  -- a blocking finding is undecided: no bill, no charge, no cut rests on it
    cycle_id       text,
    recorded_by    text NOT NULL,                   -- 'workflow' or user id
    reason         text NOT NULL DEFAULT '',
    PRIMARY KEY (meter_id, freeze_at, version)
) PARTITION BY RANGE (freeze_at);

-- Partitions are made by ensure_reading_partition before rows of their month arrive.
CREATE FUNCTION ensure_reading_partition(p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_from timestamptz := date_trunc('month', p_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    v_to timestamptz := (date_trunc('month', p_at AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    v_name text := 'readings_' || to_char(p_at AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass(v_name) IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('reading partition'));
        BEGIN
            EXECUTE format('CREATE TABLE %I PARTITION OF readings FOR VALUES FROM (%L) TO (%L)', v_name, v_from, v_to);
            EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION forbid_change()', v_name || '_append_only', v_name);
        EXCEPTION WHEN duplicate_table THEN
            NULL; -- another transaction made it while this one waited for the lock
        END;
    END IF;
END $$;

CREATE VIEW current_readings AS
SELECT r.* FROM readings r
WHERE NOT EXISTS (SELECT 1 FROM readings n WHERE n.meter_id = r.meter_id AND n.freeze_at = r.freeze_at AND n.version > r.version);

-- One case per cause (cycle, rule, gateway or meter), with its members.
CREATE TABLE cases (
    id            text PRIMARY KEY,                 -- 'X<number>'
    site_id       text NOT NULL REFERENCES sites,
    kind          text NOT NULL,                    -- a metering rule, or gateway_silent, credit_in_doubt, supply_unknown
    cause         text NOT NULL,                    -- business key of the cause: '<cycle>/<rule>/<gateway or meter>', 'recharge/<no>', 'command/<no>'
    blocking      boolean NOT NULL,
    state         text NOT NULL CHECK (state IN ('open', 'resolved')),
    cycle_id      text REFERENCES cycles,
    gateway_id    text REFERENCES gateways,
    meter_id      text REFERENCES meters,
    account_id    text REFERENCES accounts,
    recharge_id   text,
    command_id    text,
    opened_at     timestamptz NOT NULL,
    opened_real   timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at        timestamptz NOT NULL,             -- overdue after it: escalated to the manager
    escalated_at  timestamptz,
    decision      text,                             -- accept, reread, estimate, manual, exchange, settle_credited, settle_not_credited, confirm_on, confirm_off
    decided_by    text REFERENCES users,
    reason        text NOT NULL DEFAULT '',
    resolved_at   timestamptz,
    resolved_real timestamptz,
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK (state = 'open' OR decision IS NOT NULL)
);
CREATE UNIQUE INDEX cases_one_open_per_cause ON cases (cause) WHERE state = 'open';
CREATE INDEX cases_open ON cases (site_id, due_at) WHERE state = 'open';
CREATE INDEX cases_cycle ON cases (cycle_id);

CREATE TABLE case_members (
    case_id         text NOT NULL REFERENCES cases,
    meter_id        text NOT NULL REFERENCES meters,
    freeze_at       timestamptz NOT NULL,
    reading_version integer,                        -- the doubtful version; null when there is no reading at all
    rule            text NOT NULL,
    numbers         jsonb NOT NULL DEFAULT '{}',    -- what the rule saw, for the screen
    outcome         text NOT NULL DEFAULT '',       -- accepted, reread, estimated, manual, exchanged
    result_version  integer,
    PRIMARY KEY (case_id, meter_id, freeze_at)
);
CREATE INDEX case_members_meter ON case_members (meter_id, freeze_at);
