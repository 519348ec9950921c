-- Readings that have a second version, by meter and instant: what a bill may have been rated with before they changed. They are few, and a run looks
-- for them before it is signed and with each page that it issues. Lock impact: an index on readings, which takes no writes while it is built (one scan
-- of each partition).
CREATE INDEX readings_revised ON readings (meter_id, freeze_at) WHERE version > 1;
