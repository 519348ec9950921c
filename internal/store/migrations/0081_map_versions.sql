-- The register map, and its version, that a reading was decoded with. Lock impact: two columns on readings, nullable or with a constant
-- default and without checks (no rewrite, no scan), two views replaced.

ALTER TABLE readings
    ADD COLUMN profile text NOT NULL DEFAULT '',                   -- empty for what no line brought, and for readings from before this
    ADD COLUMN profile_version integer;                            -- null where profile is empty

CREATE OR REPLACE VIEW current_readings AS
SELECT r.* FROM readings r
WHERE NOT EXISTS (SELECT 1 FROM readings n WHERE n.meter_id = r.meter_id AND n.freeze_at = r.freeze_at AND n.version > r.version);

CREATE OR REPLACE VIEW good_readings AS
SELECT r.* FROM current_readings r LEFT JOIN cycles c ON c.id = r.cycle_id
WHERE NOT r.doubtful AND (c.id IS NULL OR c.state = 'closed');
