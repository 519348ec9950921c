-- How gateways are reached: Modbus TCP, bytes passed on by a serial server, or a unit that dials in.
-- Lock impact: adds columns with constant defaults (no rewrite) and checks that hold for what is there.

ALTER TABLE gateways
    ADD COLUMN link text NOT NULL DEFAULT 'modbus_tcp' CHECK (link IN ('modbus_tcp', 'transparent', 'dial_in')),
    ADD COLUMN registration_id text UNIQUE CHECK (registration_id ~ '^[!-~]{1,60}$'),     -- of a unit that dials in
    ADD COLUMN secret_sha256 bytea CHECK (octet_length(secret_sha256) = 32),
    ADD COLUMN caches_reads_ms integer NOT NULL DEFAULT 0 CHECK (caches_reads_ms >= 0),  -- a command is read back only after it
    -- (its retries + 1) × its response time-out + its pauses: a shorter time-out of ours would make late answers
    ADD COLUMN worst_case_ms integer NOT NULL DEFAULT 0 CHECK (worst_case_ms >= 0),
    ALTER COLUMN address DROP NOT NULL,
    ADD CONSTRAINT gateways_dial_one_way CHECK ((link = 'dial_in') = (address IS NULL)),
    ADD CONSTRAINT gateways_dial_in_registered CHECK ((link = 'dial_in') = (registration_id IS NOT NULL) AND (registration_id IS NULL) = (secret_sha256 IS NULL)),
    ADD CONSTRAINT gateways_timeout_covers_worst_case CHECK (timeout_ms >= worst_case_ms);
