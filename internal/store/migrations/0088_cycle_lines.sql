-- A sweep asks for the meters of some lines of a cycle, and notes what came of each once. With room on its page the note is written beside the
-- row, and no index of the table need be touched. Lock impact: one index on cycle_meters, which blocks its writers while it is built.
CREATE INDEX cycle_meters_line ON cycle_meters (cycle_id, gateway_id, meter_id);
ALTER TABLE cycle_meters SET (fillfactor = 50);
