-- Manual reading rounds: routes, rounds with their list, what was found about the reader's work. Lock impact: creates, and a check on
-- the small table of users.

ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('supervisor', 'clerk', 'manager', 'administrator', 'customer', 'reader'));

CREATE SEQUENCE route_no START 1001;
CREATE SEQUENCE round_no START 1001;

-- A route is master data: the meters of an area in the order in which they are walked to.
CREATE TABLE reading_routes (
    id         text PRIMARY KEY,                    -- 'W<number>'
    site_id    text NOT NULL REFERENCES sites,
    name       text NOT NULL CHECK (name <> ''),
    every_days integer NOT NULL DEFAULT 0 CHECK (every_days BETWEEN 0 AND 366), -- a round is planned so often; 0: by hand only
    kind       text NOT NULL DEFAULT 'collect' CHECK (kind IN ('collect', 'check')),
    active     boolean NOT NULL DEFAULT true,
    UNIQUE (site_id, name)
);

CREATE TABLE reading_route_meters (
    route_id text NOT NULL REFERENCES reading_routes,
    seq      integer NOT NULL CHECK (seq >= 1),
    meter_id text NOT NULL REFERENCES meters,
    PRIMARY KEY (route_id, seq),
    UNIQUE (route_id, meter_id)
);

CREATE TABLE rounds (
    id           text PRIMARY KEY,                  -- 'L<number>'
    site_id      text NOT NULL REFERENCES sites,
    route_id     text NOT NULL REFERENCES reading_routes,
    kind         text NOT NULL CHECK (kind IN ('collect', 'check')),
    state        text NOT NULL CHECK (state IN ('planned', 'assigned', 'in_progress', 'submitted', 'checked', 'closed', 'cancelled')),
    due_on       date NOT NULL,                     -- the planned day
    on_time_days integer NOT NULL CHECK (on_time_days >= 1), -- on schedule: submitted less than so many days from due_on
    show_last    boolean NOT NULL,                  -- the reader sees the last value
    planned_by   text NOT NULL,                     -- user id, or 'workflow'
    planned_at   timestamptz NOT NULL,
    reader       text REFERENCES users,
    assigned_by  text REFERENCES users,
    assigned_at  timestamptz,
    started_at   timestamptz,
    submitted_at timestamptz,
    late_at      timestamptz,                       -- when it was found to be overdue
    returns      integer NOT NULL DEFAULT 0,
    checked_by   text REFERENCES users,
    checked_at   timestamptz,
    closed_at    timestamptz,
    reason       text NOT NULL DEFAULT '',          -- of the last return or of the cancellation
    CONSTRAINT round_reader_is_not_checker CHECK (checked_by <> reader),
    CONSTRAINT round_has_reader CHECK (state IN ('planned', 'cancelled') OR reader IS NOT NULL),
    CONSTRAINT round_was_checked CHECK (state NOT IN ('checked', 'closed') OR (checked_by IS NOT NULL AND submitted_at IS NOT NULL))
);
CREATE UNIQUE INDEX rounds_one_open_per_route ON rounds (route_id) WHERE state NOT IN ('closed', 'cancelled');
CREATE INDEX rounds_reader ON rounds (reader, submitted_at);
CREATE INDEX rounds_site ON rounds (site_id, due_on);

-- One line of a round's list. What stands in it before the round is accepted is the reader's paper: only round_values are readings.
CREATE TABLE round_items (
    round_id     text NOT NULL REFERENCES rounds,
    seq          integer NOT NULL CHECK (seq >= 1),
    meter_id     text NOT NULL REFERENCES meters,
    registers    bigint[],                          -- as read, raw units
    no_reading   text NOT NULL DEFAULT '' CHECK (no_reading IN ('', 'no_access', 'meter_broken', 'dial_covered', 'not_found', 'other')),
    note         text NOT NULL DEFAULT '',
    taken_at     timestamptz,                       -- business instant at which the reader stood there
    entered_at   timestamptz,
    entered_by   text REFERENCES users,
    source       text NOT NULL DEFAULT '' CHECK (source IN ('', 'form', 'file', 'api')),
    changes      integer NOT NULL DEFAULT 0,        -- how often a value was replaced before submission
    last         bigint[],                          -- the last good registers when the value was entered
    last_at      timestamptz,
    estimate     bigint,                            -- the total that the system would have estimated then
    warnings     jsonb NOT NULL DEFAULT '[]',       -- what the checks said at once
    outcome      text NOT NULL DEFAULT '' CHECK (outcome IN ('', 'stored', 'doubtful', 'no_value')),
    case_id      text REFERENCES cases,             -- the doubt that was opened
    PRIMARY KEY (round_id, seq),
    UNIQUE (round_id, meter_id),
    CONSTRAINT round_item_value_or_reason CHECK ((entered_at IS NULL AND registers IS NULL AND no_reading = '')
        OR (entered_at IS NOT NULL AND taken_at IS NOT NULL AND (registers IS NULL) = (no_reading <> '')))
);
CREATE INDEX round_items_meter ON round_items (meter_id);

-- What a check of the reader's own work found. It accuses nobody: a supervisor looks and says what it was.
CREATE TABLE reader_findings (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id     text NOT NULL REFERENCES sites,
    round_id    text NOT NULL REFERENCES rounds,
    reader      text NOT NULL REFERENCES users,
    rule        text NOT NULL,
    numbers     jsonb NOT NULL DEFAULT '{}',
    found_at    timestamptz NOT NULL,
    settled_at  timestamptz,
    settled_by  text REFERENCES users,
    answer      text NOT NULL DEFAULT '',
    UNIQUE (round_id, reader, rule),
    CONSTRAINT finding_reader_is_not_settler CHECK (settled_by <> reader),
    CHECK ((settled_at IS NULL) = (settled_by IS NULL)),
    CHECK (settled_at IS NULL OR answer <> '')
);
CREATE INDEX reader_findings_open ON reader_findings (site_id) WHERE settled_at IS NULL;
