-- Gateways, meters, customers, accounts, tariffs. Lock impact: creates only.

CREATE TABLE gateways (
    id         text PRIMARY KEY,
    site_id    text NOT NULL REFERENCES sites,
    name       text NOT NULL,
    address    text NOT NULL UNIQUE,            -- host:port
    pause_ms   integer NOT NULL DEFAULT 0 CHECK (pause_ms >= 0),
    timeout_ms integer NOT NULL DEFAULT 2500 CHECK (timeout_ms > 0)  -- never shorter than the gateway's own worst case
);

-- One owner per line in the whole installation. The fence grows with every change of owner.
CREATE TABLE line_leases (
    gateway_id   text PRIMARY KEY REFERENCES gateways,
    holder       text NOT NULL,
    fence        bigint NOT NULL,
    expires_real timestamptz NOT NULL
);

CREATE TABLE meters (
    id            text PRIMARY KEY,             -- asset number
    site_id       text NOT NULL REFERENCES sites,
    gateway_id    text NOT NULL REFERENCES gateways,
    unit          smallint NOT NULL CHECK (unit BETWEEN 1 AND 247),
    serial        text NOT NULL UNIQUE CHECK (serial ~ '^[0-9]{12}$'),
    profile       text NOT NULL,
    service       text NOT NULL CHECK (service IN ('power', 'water')),
    digits        smallint NOT NULL CHECK (digits BETWEEN 4 AND 12),   -- a register wraps at 10^digits raw units
    ratio         integer NOT NULL DEFAULT 1 CHECK (ratio >= 1),        -- CT × PT
    capacity_per_hour bigint NOT NULL CHECK (capacity_per_hour > 0),    -- raw units per hour that the meter can pass at most, before the ratio
    state         text NOT NULL DEFAULT 'fitted' CHECK (state IN ('fitted', 'removed'))
);
CREATE UNIQUE INDEX meters_one_per_unit ON meters (gateway_id, unit) WHERE state = 'fitted';

CREATE TABLE service_points (
    id      text PRIMARY KEY,
    site_id text NOT NULL REFERENCES sites,
    service text NOT NULL CHECK (service IN ('power', 'water')),
    address text NOT NULL
);

-- Which meter measured a service point, and when. Meters come and go, the service point stays.
CREATE TABLE fittings (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service_point_id text NOT NULL REFERENCES service_points,
    meter_id         text NOT NULL REFERENCES meters,
    ratio            integer NOT NULL CHECK (ratio >= 1),
    from_at          timestamptz NOT NULL,
    to_at            timestamptz,               -- half-open; null while it stands
    opening          bigint[] NOT NULL,
    closing          bigint[],
    CHECK (to_at IS NULL OR to_at > from_at),
    CHECK ((to_at IS NULL) = (closing IS NULL))
);
CREATE UNIQUE INDEX fittings_one_per_point ON fittings (service_point_id) WHERE to_at IS NULL;
CREATE UNIQUE INDEX fittings_one_per_meter ON fittings (meter_id) WHERE to_at IS NULL;

CREATE TABLE customers (
    id           text PRIMARY KEY,
    site_id      text NOT NULL REFERENCES sites,
    name         text NOT NULL,
    phone        text NOT NULL,
    class        text NOT NULL CHECK (class IN ('household', 'commercial', 'important')),
    life_support boolean NOT NULL DEFAULT false     -- protects all premises of the customer
);

CREATE TABLE tariffs (
    id         text PRIMARY KEY,
    service    text NOT NULL CHECK (service IN ('power', 'water')),
    name_zh    text NOT NULL,
    name_en    text NOT NULL,
    definition jsonb NOT NULL                       -- billing.Tariff
);

CREATE TABLE accounts (
    id               text PRIMARY KEY,              -- 户号
    site_id          text NOT NULL REFERENCES sites,
    customer_id      text NOT NULL REFERENCES customers,
    service_point_id text NOT NULL UNIQUE REFERENCES service_points,
    service          text NOT NULL CHECK (service IN ('power', 'water')),
    credit_mode      text NOT NULL CHECK (credit_mode IN ('platform', 'meter')),
    tariff_id        text NOT NULL REFERENCES tariffs,
    prepaid_contract boolean NOT NULL DEFAULT true, -- the ground on which a cut at zero rests
    cut_limit_fen    bigint NOT NULL DEFAULT 0,     -- cut when the balance is at or below
    opened_on        date NOT NULL,
    use_before       bigint NOT NULL DEFAULT 0      -- raw units (after ratio) used in the step year before opened_on, taken over from the former system
);
CREATE INDEX accounts_site ON accounts (site_id);
CREATE INDEX accounts_customer ON accounts (customer_id);

CREATE TABLE protections (                          -- 保电/保水 and other dated protections; ended, never overridden
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text NOT NULL REFERENCES accounts,
    kind       text NOT NULL CHECK (kind IN ('keep_power', 'medical', 'special_day')),
    from_at    timestamptz NOT NULL,
    until_at   timestamptz NOT NULL,
    owner      text NOT NULL REFERENCES users,
    reason     text NOT NULL CHECK (reason <> ''),
    ended_at   timestamptz,
    ended_by   text REFERENCES users,
    ended_by2  text REFERENCES users,
    CHECK (until_at > from_at),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
    CHECK ((ended_at IS NULL) = (ended_by2 IS NULL)),
    CHECK (ended_by <> ended_by2)
);
CREATE INDEX protections_account ON protections (account_id);
