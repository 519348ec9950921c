-- A line that somebody who is no worker asks for, to look at a meter: its owner hands it back when it is idle, and no worker takes it while the wish
-- stands. Lock impact: adds nullable columns to a small table.

ALTER TABLE line_leases
    ADD COLUMN wanted_by text,
    ADD COLUMN wanted_until timestamptz,
    ADD CONSTRAINT line_leases_wanted CHECK ((wanted_by IS NULL) = (wanted_until IS NULL));
