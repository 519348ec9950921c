-- The life of a tariff: changes on their way, published versions, price ceilings, simulations, prices pushed to meters.
-- Lock impact: creates tables; one pass over the (few) rows of tariffs to take their versions over.

-- One change of prices on its way: a new version of a tariff, or a new tariff.
CREATE TABLE tariff_changes (
    id           text PRIMARY KEY,                  -- 'T<number>'
    tariff_id    text NOT NULL,                     -- of a tariff that may not exist yet
    service      text NOT NULL CHECK (service IN ('power', 'water')),
    name_zh      text NOT NULL,
    name_en      text NOT NULL,
    from_day     date NOT NULL,                     -- first local day of the new prices
    version      jsonb NOT NULL,                    -- billing.TariffVersion
    state        text NOT NULL CHECK (state IN ('draft', 'submitted', 'approved_once', 'published', 'in_force', 'rejected', 'withdrawn')),
    revision     integer NOT NULL DEFAULT 1 CHECK (revision >= 1),   -- grows with each edit; an approval names the one that it saw
    editors      text[] NOT NULL CHECK (cardinality(editors) >= 1),  -- everybody who ever wrote in it: none of them may approve
    made_by      text NOT NULL REFERENCES users,    -- who wrote this revision
    made_at      timestamptz NOT NULL,
    why          text NOT NULL DEFAULT '',          -- the ground: a notice of the regulator, a contract
    submitted_at timestamptz,
    approved1_by text REFERENCES users,
    approved1_at timestamptz,
    approved2_by text REFERENCES users,
    approved2_at timestamptz,
    rejected_by  text REFERENCES users,
    reason       text NOT NULL DEFAULT '',          -- of a rejection or withdrawal
    closed_at    timestamptz,                       -- when it was published or withdrawn
    in_force_at  timestamptz,
    CONSTRAINT tariff_maker_is_not_first_approver CHECK (NOT approved1_by = ANY (editors)),
    CONSTRAINT tariff_maker_is_not_second_approver CHECK (NOT approved2_by = ANY (editors)),
    CONSTRAINT tariff_approvers_differ CHECK (approved1_by <> approved2_by),
    CONSTRAINT tariff_approvals_as_the_state_says CHECK (
        (state NOT IN ('draft', 'submitted', 'rejected') OR (approved1_by IS NULL AND approved2_by IS NULL))
        AND (state <> 'approved_once' OR (approved1_by IS NOT NULL AND approved2_by IS NULL))
        AND (state NOT IN ('published', 'in_force') OR (approved1_by IS NOT NULL AND approved2_by IS NOT NULL)))
);
CREATE UNIQUE INDEX tariff_changes_one_open ON tariff_changes (tariff_id) WHERE state IN ('draft', 'submitted', 'approved_once', 'rejected');
CREATE INDEX tariff_changes_tariff ON tariff_changes (tariff_id, from_day);
CREATE SEQUENCE tariff_no;

-- What was published, for good. A version holds from its first local day until the next one of its tariff.
CREATE TABLE tariff_versions (
    tariff_id    text NOT NULL REFERENCES tariffs,
    from_day     date NOT NULL,
    version      jsonb NOT NULL,                    -- billing.TariffVersion
    change_id    text UNIQUE REFERENCES tariff_changes,  -- null: taken over with the tariff itself
    published_at timestamptz NOT NULL,
    PRIMARY KEY (tariff_id, from_day)
);
INSERT INTO tariff_versions (tariff_id, from_day, version, published_at)
    SELECT t.id, (v ->> 'from')::date, v, business_now() FROM tariffs t, jsonb_array_elements(coalesce(t.definition -> 'versions', '[]')) v;
CREATE TRIGGER tariff_versions_append_only BEFORE UPDATE OR DELETE ON tariff_versions FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- A published change is added behind all others and begins on a day that has begun nowhere: so no price of an instant that has
-- passed, or before its first day, ever changes. What a change says is what is published.
CREATE FUNCTION tariff_version_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version ->> 'from' IS DISTINCT FROM NEW.from_day::text THEN
        RAISE EXCEPTION 'the version says that it starts on %, the row says %', NEW.version ->> 'from', NEW.from_day USING ERRCODE = 'MF002';
    END IF;
    IF NEW.change_id IS NULL THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT 1 FROM tariff_versions WHERE tariff_id = NEW.tariff_id AND from_day >= NEW.from_day) THEN
        RAISE EXCEPTION 'a published version of % starts on % or later', NEW.tariff_id, NEW.from_day USING ERRCODE = 'MF002';
    END IF;
    IF EXISTS (SELECT 1 FROM sites WHERE NEW.from_day::timestamp AT TIME ZONE time_zone <= business_now()) THEN
        RAISE EXCEPTION 'the day % has begun already', NEW.from_day USING ERRCODE = 'MF002';
    END IF;
    PERFORM 1 FROM tariff_changes c WHERE c.id = NEW.change_id AND c.state = 'published' AND c.tariff_id = NEW.tariff_id AND c.version = NEW.version;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'change % was not approved twice with these prices', NEW.change_id USING ERRCODE = 'MF002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tariff_versions_guard BEFORE INSERT ON tariff_versions FOR EACH ROW EXECUTE FUNCTION tariff_version_guard();

-- tariffs.definition is the tariff with all its published versions, as rating reads it: derived, never written by hand.
CREATE FUNCTION tariff_definition(p_id text) RETURNS jsonb LANGUAGE sql STABLE AS
$$ SELECT coalesce(jsonb_agg(version ORDER BY from_day), '[]') FROM tariff_versions WHERE tariff_id = p_id $$;
CREATE FUNCTION tariff_derive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tariffs SET definition = jsonb_set(definition, '{versions}', tariff_definition(NEW.tariff_id)) WHERE id = NEW.tariff_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tariff_versions_derive AFTER INSERT ON tariff_versions FOR EACH ROW EXECUTE FUNCTION tariff_derive();
CREATE FUNCTION tariff_definition_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.definition - 'versions' IS DISTINCT FROM OLD.definition - 'versions' OR NEW.definition -> 'versions' IS DISTINCT FROM tariff_definition(NEW.id) THEN
        RAISE EXCEPTION 'the definition of tariff % follows from its published versions: publish a new one', NEW.id USING ERRCODE = 'MF002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tariffs_definition_guard BEFORE UPDATE ON tariffs FOR EACH ROW EXECUTE FUNCTION tariff_definition_guard();

-- The most that one unit may cost at a site (no mark-up by a re-supplier). The newest row of a day wins; a null price ends the ceiling.
CREATE TABLE price_ceilings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id  text NOT NULL REFERENCES sites,
    service  text NOT NULL CHECK (service IN ('power', 'water')),
    from_day date NOT NULL,
    price    numeric(20, 8) CHECK (price >= 0),     -- yuan per kWh or m³, with all that is charged per unit
    reason   text NOT NULL CHECK (reason <> ''),
    set_by   text NOT NULL REFERENCES users,
    set_at   timestamptz NOT NULL
);
CREATE INDEX price_ceilings_site ON price_ceilings (site_id, service, from_day, id);
CREATE TRIGGER price_ceilings_append_only BEFORE UPDATE OR DELETE ON price_ceilings FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- What a revision of a change would have meant for a month's real use. Nothing is posted by it.
CREATE TABLE tariff_simulations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change_id   text NOT NULL REFERENCES tariff_changes,
    revision    integer NOT NULL,
    tariff_id   text NOT NULL,                      -- whose accounts were taken
    sample      integer NOT NULL CHECK (sample >= 0),  -- how many accounts at most, evenly over all; 0: all
    period_from date NOT NULL,
    period_to   date NOT NULL,
    state       text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    planned     integer NOT NULL DEFAULT 0,
    done        integer NOT NULL DEFAULT 0,
    skipped     integer NOT NULL DEFAULT 0,         -- accounts whose readings don't carry the period
    before_fen  bigint NOT NULL DEFAULT 0,
    after_fen   bigint NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',
    asked_by    text NOT NULL REFERENCES users,
    asked_at    timestamptz NOT NULL,
    ended_at    timestamptz,
    CHECK (period_to > period_from),
    CHECK ((state = 'running') = (ended_at IS NULL))
);
CREATE INDEX tariff_simulations_change ON tariff_simulations (change_id, id);
CREATE UNIQUE INDEX tariff_simulations_one_running ON tariff_simulations (change_id) WHERE state = 'running';

CREATE TABLE tariff_simulation_accounts (
    simulation_id bigint NOT NULL REFERENCES tariff_simulations,
    account_id    text NOT NULL REFERENCES accounts,
    site_id       text NOT NULL REFERENCES sites,
    quantity      bigint NOT NULL,                  -- raw units after the ratio
    days          integer NOT NULL,
    before_fen    bigint NOT NULL,
    after_fen     bigint NOT NULL,
    PRIMARY KEY (simulation_id, account_id)
);
CREATE TRIGGER tariff_simulation_accounts_append_only BEFORE UPDATE OR DELETE ON tariff_simulation_accounts FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- The new prices on their way into one meter that deducts by itself.
CREATE TABLE tariff_pushes (
    id          text GENERATED ALWAYS AS (change_id || '/' || meter_id) STORED PRIMARY KEY,
    change_id   text NOT NULL REFERENCES tariff_changes,
    meter_id    text NOT NULL REFERENCES meters,
    account_id  text NOT NULL REFERENCES accounts,
    site_id     text NOT NULL REFERENCES sites,
    gateway_id  text NOT NULL REFERENCES gateways,
    state       text NOT NULL CHECK (state IN ('waiting', 'sending', 'verified', 'failed')),
    due_at      timestamptz NOT NULL,               -- the first instant of the new prices
    old_prices  bigint[] NOT NULL CHECK (cardinality(old_prices) = 5),  -- sharp, peak, flat, valley, deep valley; yuan × 10^8
    prices      bigint[] NOT NULL CHECK (cardinality(prices) = 5),
    attempts    integer NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',
    sent_at     timestamptz,                        -- business instant of the write that took effect
    sent_real   timestamptz,
    registers   bigint[],                           -- what the meter showed just before it
    frames      jsonb NOT NULL DEFAULT '[]',        -- evidence of the last attempt that sent something
    settled_at  timestamptz,
    case_id     text REFERENCES cases,
    UNIQUE (change_id, meter_id),
    CHECK (state <> 'sending' OR registers IS NOT NULL)
);
CREATE INDEX tariff_pushes_meter ON tariff_pushes (meter_id, due_at);
CREATE INDEX tariff_pushes_open ON tariff_pushes (change_id, gateway_id) WHERE state <> 'verified';
