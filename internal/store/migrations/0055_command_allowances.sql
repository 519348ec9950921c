-- Commands to a named meter whose register map was never verified. Lock impact: creates only.

-- For one meter, one map and one version of that map, for a time, by two persons: the administrator who knows the device, and a manager
-- who answers for the customer. Never changed but by its end, never removed.
CREATE TABLE command_allowances (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id        text NOT NULL REFERENCES meters,
    profile         text NOT NULL,
    profile_version integer NOT NULL CHECK (profile_version >= 1),
    reason          text NOT NULL CHECK (reason <> ''),
    allowed_by      text NOT NULL REFERENCES users,
    agreed_by       text NOT NULL REFERENCES users,
    from_at         timestamptz NOT NULL,
    until_at        timestamptz NOT NULL,
    ended_at        timestamptz,                    -- before its time
    ended_by        text REFERENCES users,
    CONSTRAINT command_allowances_two_persons CHECK (allowed_by <> agreed_by),
    CHECK (until_at > from_at),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX command_allowances_meter ON command_allowances (meter_id);
CREATE TRIGGER command_allowances_never_go BEFORE DELETE ON command_allowances FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER command_allowances_stay BEFORE UPDATE ON command_allowances FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL OR (OLD.meter_id, OLD.profile, OLD.profile_version, OLD.reason, OLD.allowed_by, OLD.agreed_by, OLD.from_at, OLD.until_at)
        IS DISTINCT FROM (NEW.meter_id, NEW.profile, NEW.profile_version, NEW.reason, NEW.allowed_by, NEW.agreed_by, NEW.from_at, NEW.until_at))
    EXECUTE FUNCTION forbid_change();
