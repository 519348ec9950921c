-- What the owner of a line says of it: when it last answered, who dialled in, what sweeps leave alone, and its faults by hour. It is for
-- people who look for the reason of a silence; nothing is decided by it, so it has no journal rows. Instants are real time.
-- Lock impact: creates only.

CREATE TABLE line_states (
    gateway_id    text PRIMARY KEY REFERENCES gateways,
    answered_real timestamptz,                      -- the last answer of any meter on the line
    aside_until   timestamptz,                      -- sweeps leave the whole line alone until then
    called_from   text NOT NULL DEFAULT '',         -- host:port that its unit dialled in from; empty while it isn't connected
    called_real   timestamptz,
    CONSTRAINT line_states_called CHECK ((called_from = '') = (called_real IS NULL))
);

-- A meter that didn't answer, and until when sweeps leave it alone.
CREATE TABLE line_asides (
    gateway_id text NOT NULL REFERENCES gateways,
    unit       smallint NOT NULL,
    tries      integer NOT NULL CHECK (tries >= 1), -- without an answer, in a row
    until_real timestamptz NOT NULL,
    PRIMARY KEY (gateway_id, unit)
);

-- How often something went wrong on a line in an hour; kept for eight days.
CREATE TABLE line_faults (
    gateway_id text NOT NULL REFERENCES gateways,
    hour       timestamptz NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('silent', 'link_down', 'refused', 'wrong_meter', 'bad_answer')),
    count      bigint NOT NULL CHECK (count >= 1),
    last_real  timestamptz NOT NULL,
    last_text  text NOT NULL,                       -- what the last one said
    PRIMARY KEY (gateway_id, hour, kind)
);
