-- What a meter shows of energy that went the other way, kept with each reading. Lock impact: one nullable column on readings (no rewrite), two views replaced.

ALTER TABLE readings ADD COLUMN reverse bigint;           -- in the units of registers; null where the meter doesn't tell

CREATE OR REPLACE VIEW current_readings AS
SELECT r.* FROM readings r
WHERE NOT EXISTS (SELECT 1 FROM readings n WHERE n.meter_id = r.meter_id AND n.freeze_at = r.freeze_at AND n.version > r.version);

CREATE OR REPLACE VIEW good_readings AS
SELECT r.* FROM current_readings r LEFT JOIN cycles c ON c.id = r.cycle_id
WHERE NOT r.doubtful AND (c.id IS NULL OR c.state = 'closed');
