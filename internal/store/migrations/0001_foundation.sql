-- Foundation: sites, people, the business clock, and the journal.
-- Lock impact: creates only.

-- The one business clock. mode 'real': business time is real time. mode 'demo': business time stands at business_at until the
-- clock driver moves it, so that a day never runs ahead of its unfinished work.
CREATE TABLE business_clock (
    id          boolean PRIMARY KEY DEFAULT true CHECK (id),
    mode        text NOT NULL CHECK (mode IN ('real', 'demo')),
    business_at timestamptz NOT NULL,
    moved_real  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- business seconds per real second, as last observed; a hint for timers, never used to compute business time
    pace        bigint NOT NULL DEFAULT 1 CHECK (pace >= 1),
    -- the pace that a person asked for; 0 = as fast as the day's work allows. At first a day takes two and a half minutes.
    wanted_pace bigint NOT NULL DEFAULT 600 CHECK (wanted_pace >= 0),
    paused      boolean NOT NULL DEFAULT false
);
INSERT INTO business_clock (mode, business_at) VALUES ('real', clock_timestamp());

CREATE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN mode = 'real' THEN clock_timestamp() ELSE business_at END FROM business_clock $$;

-- A workflow that waits for a business instant says so here; the clock driver wakes it when the instant has come
-- and doesn't move on before it has gone on its way.
CREATE TABLE clock_waits (
    workflow_id text NOT NULL,
    purpose     text NOT NULL,
    due         timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, purpose)
);
CREATE INDEX clock_waits_due ON clock_waits (due);

CREATE TABLE settings (
    key   text PRIMARY KEY,
    value jsonb NOT NULL
);

CREATE TABLE sites (
    id        text PRIMARY KEY,
    name_zh   text NOT NULL,
    name_en   text NOT NULL,
    time_zone text NOT NULL DEFAULT 'Asia/Shanghai',
    -- policy data: limits, windows and tolerances with their defaults in Go (validation, supply, reading); see internal/store/site.go
    policy    jsonb NOT NULL DEFAULT '{}'
);

-- Days that differ from the plain week: public holidays and the weekend days that are worked for them.
CREATE TABLE calendar_days (
    day     date PRIMARY KEY,
    off     boolean NOT NULL,
    name    text NOT NULL
);

CREATE TABLE users (
    id            text PRIMARY KEY,
    name          text NOT NULL,
    role          text NOT NULL CHECK (role IN ('supervisor', 'clerk', 'manager', 'administrator', 'customer')),
    password_hash text NOT NULL,
    active        boolean NOT NULL DEFAULT true
);

CREATE TABLE user_sites (
    user_id text NOT NULL REFERENCES users,
    site_id text NOT NULL REFERENCES sites,
    PRIMARY KEY (user_id, site_id)
);

-- Web sessions, in the shape that scs/pgxstore reads.
CREATE TABLE sessions (
    token  text PRIMARY KEY,
    data   bytea NOT NULL,
    expiry timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expiry);

-- The journal: one hash chain per entity that is locked anyway.
CREATE TABLE journal (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id     text NOT NULL,
    chain       text NOT NULL,          -- '<kind>/<id>'
    seq         bigint NOT NULL,
    kind        text NOT NULL,          -- recharge, case, cycle, run, bill, reminder, command, supply, message, account, meter, …
    entity      text NOT NULL,
    event       text NOT NULL,          -- lower_snake, what happened: entered, approved, delivered, …
    from_state  text NOT NULL DEFAULT '',
    to_state    text NOT NULL DEFAULT '',
    actor       text NOT NULL,          -- user id, or 'workflow'
    reason      text NOT NULL DEFAULT '',
    workflow_id text NOT NULL DEFAULT '',
    run_id      text NOT NULL DEFAULT '',
    business_at timestamptz NOT NULL,
    real_at     timestamptz NOT NULL,
    refs        text[] NOT NULL,        -- every number that leads here: account, meter, recharge, bill, case, workflow id …
    data        jsonb NOT NULL DEFAULT '{}',
    prev_hash   bytea NOT NULL,
    hash        bytea NOT NULL,
    UNIQUE (chain, seq)
);
CREATE INDEX journal_refs ON journal USING gin (refs);
CREATE INDEX journal_site_time ON journal (site_id, business_at);

CREATE TABLE journal_heads (
    chain   text PRIMARY KEY,
    site_id text NOT NULL,
    seq     bigint NOT NULL,
    hash    bytea NOT NULL
);

-- Each day's heads of a site under one root, so that a cut-off tail shows.
CREATE TABLE journal_seals (
    site_id   text NOT NULL,
    day       date NOT NULL,
    last_id   bigint NOT NULL,          -- the newest journal id that the seal covers
    chains    bigint NOT NULL,
    root      bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (site_id, day)
);

-- One field of the hashed text: its length in bytes, a colon, the bytes. Unambiguous without escaping.
CREATE FUNCTION journal_field(v text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT octet_length(convert_to(v, 'UTF8'))::text || ':' || v $$;

-- journal_append adds one row to a chain, in the caller's transaction, and returns its id. It locks the chain's head.
-- internal/journal recomputes the same hash in Go.
CREATE FUNCTION journal_append(
    p_site text, p_kind text, p_entity text, p_event text, p_from text, p_to text, p_actor text, p_reason text,
    p_workflow text, p_run text, p_refs text[], p_data jsonb
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_chain text := p_kind || '/' || p_entity;
    v_seq bigint; v_prev bytea; v_hash bytea; v_id bigint;
    v_business timestamptz := business_now();
    v_real timestamptz := clock_timestamp();
    v_refs text[] := (SELECT array_agg(DISTINCT r ORDER BY r) FROM unnest(p_refs || p_entity) r WHERE r <> '');
BEGIN
    INSERT INTO journal_heads (chain, site_id, seq, hash) VALUES (v_chain, p_site, 0, '\x') ON CONFLICT (chain) DO NOTHING;
    SELECT seq, hash INTO v_seq, v_prev FROM journal_heads WHERE chain = v_chain FOR UPDATE;
    v_seq := v_seq + 1;
    v_hash := sha256(v_prev || convert_to(
        journal_field(p_site) || journal_field(v_chain) || journal_field(v_seq::text) || journal_field(p_event)
        || journal_field(p_from) || journal_field(p_to) || journal_field(p_actor) || journal_field(p_reason)
        || journal_field(p_workflow) || journal_field(p_run)
        || journal_field((extract(epoch from v_business) * 1000000)::bigint::text)
        || journal_field((extract(epoch from v_real) * 1000000)::bigint::text)
        || journal_field(array_to_string(v_refs, ' ')) || journal_field(p_data::text), 'UTF8'));
    INSERT INTO journal (site_id, chain, seq, kind, entity, event, from_state, to_state, actor, reason, workflow_id, run_id,
        business_at, real_at, refs, data, prev_hash, hash)
    VALUES (p_site, v_chain, v_seq, p_kind, p_entity, p_event, p_from, p_to, p_actor, p_reason, p_workflow, p_run,
        v_business, v_real, v_refs, p_data, v_prev, v_hash)
    RETURNING id INTO v_id;
    UPDATE journal_heads SET seq = v_seq, hash = v_hash WHERE chain = v_chain;
    RETURN v_id;
END $$;

-- Rows that may never change once written. The message is what an operator sees who tries.
CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'rows of % are append-only: correct them by a compensating entry', TG_TABLE_NAME USING ERRCODE = 'MF001'; END $$;

CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE ON journal FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER journal_seals_append_only BEFORE UPDATE OR DELETE ON journal_seals FOR EACH ROW EXECUTE FUNCTION forbid_change();
