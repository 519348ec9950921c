-- A reading that a newer one supersedes is looked for among the newer versions alone, which the index readings_revised holds and which are few: before,
-- each reading was looked up in the key of all of them. Lock impact: one view replaced, whose rows are the same.

CREATE OR REPLACE VIEW current_readings AS
SELECT r.* FROM readings r
WHERE NOT EXISTS (SELECT 1 FROM readings n WHERE n.meter_id = r.meter_id AND n.freeze_at = r.freeze_at AND n.version > r.version AND n.version > 1);
