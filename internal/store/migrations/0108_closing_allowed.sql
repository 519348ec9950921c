-- Supply is given back as a permission: closing is allowed, and the customer presses the meter's button (rule 61).
-- Lock impact: widens two checks (a scan of supplies and of commands) and replaces a small partial index of commands.

ALTER TABLE supplies DROP CONSTRAINT supplies_state_check;
ALTER TABLE supplies ADD CONSTRAINT supplies_state_check CHECK (state IN ('on', 'off', 'allowed', 'unknown'));  -- allowed: off until the customer presses the button
ALTER TABLE commands DROP CONSTRAINT commands_kind_check;
ALTER TABLE commands ADD CONSTRAINT commands_kind_check CHECK (kind IN ('credit', 'trip', 'close', 'allow_close', 'keep_on', 'release', 'set_prices', 'set_clock'));
DROP INDEX commands_one_open_switch;
CREATE UNIQUE INDEX commands_one_open_switch ON commands (meter_id) WHERE kind IN ('trip', 'close', 'allow_close', 'keep_on', 'release') AND state IN ('requested', 'sending', 'acknowledged');
