-- What charges, bills and cuts may rest on. Lock impact: creates only.

-- The current version of a reading that no open doubt stands against, out of a cycle that has been validated.
CREATE VIEW good_readings AS
SELECT r.* FROM current_readings r LEFT JOIN cycles c ON c.id = r.cycle_id
WHERE NOT r.doubtful AND (c.id IS NULL OR c.state = 'closed');

-- An account's period is billed once: a later bill needs the earlier one cancelled.
CREATE UNIQUE INDEX bills_one_issued ON bills (account_id, period_from) WHERE state = 'issued';
CREATE INDEX bills_account ON bills (account_id, period_from);
CREATE INDEX cycle_meters_meter ON cycle_meters (meter_id);
CREATE INDEX fittings_meter ON fittings (meter_id);
