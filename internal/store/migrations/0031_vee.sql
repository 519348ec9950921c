-- Validation, estimation and editing: rule groups, master meters, what a reading says of the device, how it was estimated.
-- Lock impact: two columns with constant defaults on readings (no rewrite), three new tables, two views replaced.

-- A rule group judges the readings of one kind of meter at a site. Empty profile or class fits any. Of several that fit, the one that
-- says more (profile before class) wins; where none is in force, the site's policy does.
CREATE TABLE rule_groups (
    id      text PRIMARY KEY,                       -- 'RG<number>'
    site_id text NOT NULL REFERENCES sites,
    name    text NOT NULL CHECK (name <> ''),
    service text NOT NULL CHECK (service IN ('power', 'water')),
    profile text NOT NULL DEFAULT '',
    class   text NOT NULL DEFAULT '' CHECK (class IN ('', 'household', 'commercial', 'important')),
    CONSTRAINT rule_groups_one_per_kind UNIQUE (site_id, service, profile, class)
);
CREATE SEQUENCE rule_group_no;

-- One row per version, never changed: the rules that judge readings with freeze instants from the first moment of from_day (local) to
-- that of to_day. Without to_day it holds until a later version begins.
CREATE TABLE rule_versions (
    group_id text NOT NULL REFERENCES rule_groups,
    version  integer NOT NULL,
    from_day date NOT NULL,
    to_day   date,
    rules    jsonb NOT NULL,                        -- metering.Limits
    made_by  text NOT NULL REFERENCES users,
    reason   text NOT NULL CHECK (reason <> ''),
    made_at  timestamptz NOT NULL,
    PRIMARY KEY (group_id, version),
    CONSTRAINT rule_versions_end_after_start CHECK (to_day > from_day)
);

-- A version that was taken back before its first day.
CREATE TABLE rule_withdrawals (
    group_id     text NOT NULL,
    version      integer NOT NULL,
    withdrawn_by text NOT NULL REFERENCES users,
    reason       text NOT NULL CHECK (reason <> ''),
    withdrawn_at timestamptz NOT NULL,
    PRIMARY KEY (group_id, version),
    FOREIGN KEY (group_id, version) REFERENCES rule_versions
);

CREATE TRIGGER rule_versions_append_only BEFORE UPDATE OR DELETE ON rule_versions FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER rule_withdrawals_append_only BEFORE UPDATE OR DELETE ON rule_withdrawals FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER rule_groups_append_only BEFORE UPDATE OR DELETE ON rule_groups FOR EACH ROW EXECUTE FUNCTION forbid_change();

-- The third check of what the store refuses with a sentence: a version begins after all others that stand, and inside none that has an
-- end; nothing begins today or before.
CREATE FUNCTION rule_versions_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM rule_groups WHERE id = NEW.group_id FOR UPDATE;
    IF EXISTS (SELECT 1 FROM rule_versions v WHERE v.group_id = NEW.group_id
            AND NOT EXISTS (SELECT 1 FROM rule_withdrawals w WHERE w.group_id = v.group_id AND w.version = v.version)
            AND (NEW.from_day <= v.from_day OR NEW.from_day < v.to_day)) THEN
        RAISE EXCEPTION 'the dates overlap those of another version' USING ERRCODE = '23514', CONSTRAINT = 'rule_versions_overlap';
    END IF;
    IF NEW.from_day <= (SELECT (business_now() AT TIME ZONE s.time_zone)::date FROM rule_groups g JOIN sites s ON s.id = g.site_id WHERE g.id = NEW.group_id) THEN
        RAISE EXCEPTION 'a version begins in the future' USING ERRCODE = '23514', CONSTRAINT = 'rule_versions_future';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rule_versions_guard BEFORE INSERT ON rule_versions FOR EACH ROW EXECUTE FUNCTION rule_versions_guard();

-- Which service points are measured once more by a master. Dated, because buildings are rewired; ended, never deleted.
CREATE TABLE sub_points (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    master_id text NOT NULL REFERENCES service_points,
    sub_id    text NOT NULL REFERENCES service_points,
    from_at   timestamptz NOT NULL,
    to_at     timestamptz,
    CONSTRAINT sub_points_not_itself CHECK (master_id <> sub_id),
    CONSTRAINT sub_points_end_after_start CHECK (to_at > from_at)
);
CREATE UNIQUE INDEX sub_points_one_master ON sub_points (sub_id) WHERE to_at IS NULL;
CREATE INDEX sub_points_master ON sub_points (master_id);

-- What the meter itself shows, and how an estimate came about.
ALTER TABLE readings ADD COLUMN device_ratio integer;              -- transformer ratio that the meter is set to; null when it shows none
ALTER TABLE readings ADD COLUMN method text NOT NULL DEFAULT '';   -- of an estimate: between, last_month, last_year, similar, true_up, resplit

CREATE OR REPLACE VIEW current_readings AS
SELECT r.* FROM readings r
WHERE NOT EXISTS (SELECT 1 FROM readings n WHERE n.meter_id = r.meter_id AND n.freeze_at = r.freeze_at AND n.version > r.version);

CREATE OR REPLACE VIEW good_readings AS
SELECT r.* FROM current_readings r LEFT JOIN cycles c ON c.id = r.cycle_id
WHERE NOT r.doubtful AND (c.id IS NULL OR c.state = 'closed');
