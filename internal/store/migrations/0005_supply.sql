-- Supply, commands, reminders, messages. Lock impact: creates only.

-- The row that every attempt of a cut, and every payment, locks.
CREATE TABLE supplies (
    account_id text PRIMARY KEY REFERENCES accounts,
    site_id    text NOT NULL REFERENCES sites,
    state      text NOT NULL CHECK (state IN ('on', 'off', 'unknown')),  -- what is proved
    wanted     text NOT NULL CHECK (wanted IN ('on', 'off')),            -- what we commanded last
    cut_cause  text NOT NULL DEFAULT '',            -- credit (ours), meter (its own trip), person
    command_id text,                                -- the open command, if any
    since_at   timestamptz NOT NULL,
    since_real timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One device command: credit, trip, close, keep_on, release.
CREATE TABLE commands (
    id              text PRIMARY KEY,               -- 'D<number>'
    site_id         text NOT NULL REFERENCES sites,
    account_id      text NOT NULL REFERENCES accounts,
    meter_id        text NOT NULL REFERENCES meters,
    kind            text NOT NULL CHECK (kind IN ('credit', 'trip', 'close', 'keep_on', 'release')),
    state           text NOT NULL CHECK (state IN ('requested', 'sending', 'acknowledged', 'verified', 'refused', 'unknown', 'cancelled')),
    cause           text NOT NULL UNIQUE,           -- workflow id of the recharge, cutoff or restore (+ '/<n>' for a repeated attempt)
    requested_by    text NOT NULL,
    decision        jsonb NOT NULL DEFAULT '{}',    -- supply.Decision that allowed or prevented it: the printed reason
    deadline        timestamptz NOT NULL,           -- business instant after which it must not be sent
    amount_fen      bigint,
    count_before    bigint,
    count_intended  bigint,
    count_after     bigint,
    remaining_before_fen bigint,
    remaining_after_fen  bigint,
    readback        text,                           -- supply state as read back
    readback_real   timestamptz,                    -- real instant of the read-back's answer
    readback_power_w bigint,
    attempts        integer NOT NULL DEFAULT 0,
    error           text NOT NULL DEFAULT '',
    frames          jsonb NOT NULL DEFAULT '[]',    -- evidence: [{sent, received, request, reply}]
    requested_at    timestamptz NOT NULL,
    requested_real  timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at         timestamptz,
    sent_real       timestamptz,
    settled_at      timestamptz,                    -- verified, refused, cancelled, or unknown settled by a person
    settled_real    timestamptz,
    CHECK (kind <> 'credit' OR (amount_fen > 0))
);
CREATE UNIQUE INDEX commands_one_open_credit ON commands (meter_id) WHERE kind = 'credit' AND state IN ('requested', 'sending', 'acknowledged', 'unknown');
CREATE UNIQUE INDEX commands_one_open_switch ON commands (meter_id) WHERE kind <> 'credit' AND state IN ('requested', 'sending', 'acknowledged');
CREATE INDEX commands_account ON commands (account_id, requested_at);

-- The arrears case of an account: reminders, final notice, hand-over to the cut.
CREATE TABLE reminders (
    id          text PRIMARY KEY,                   -- 'N<number>'
    site_id     text NOT NULL REFERENCES sites,
    account_id  text NOT NULL REFERENCES accounts,
    state       text NOT NULL CHECK (state IN ('level1', 'level2', 'final', 'handed_over', 'paid', 'closed')),
    balance_fen bigint NOT NULL,                    -- when it was opened
    opened_at   timestamptz NOT NULL,
    cut_at      timestamptz,                        -- the instant that the final notice names
    closed_at   timestamptz,
    CHECK ((state IN ('paid', 'closed')) = (closed_at IS NOT NULL))
);
CREATE UNIQUE INDEX reminders_one_open ON reminders (account_id) WHERE state IN ('level1', 'level2', 'final', 'handed_over');

-- Cut and restore attempts as people see them: planned, prevented, done. The command has the proof.
CREATE TABLE cutoffs (
    id          text PRIMARY KEY,                   -- 'C<number>'
    site_id     text NOT NULL REFERENCES sites,
    account_id  text NOT NULL REFERENCES accounts,
    reminder_id text REFERENCES reminders,
    state       text NOT NULL CHECK (state IN ('planned', 'prevented', 'sending', 'verified', 'unknown', 'cancelled', 'awaiting_manager')),
    planned_at  timestamptz NOT NULL,               -- not before
    decision    jsonb NOT NULL DEFAULT '{}',        -- the last policy decision, with every reason for and against
    approved_by text REFERENCES users,              -- manager, for large customers
    command_id  text REFERENCES commands,
    own_trip    boolean NOT NULL DEFAULT false,     -- the meter tripped by itself; noticed, judged and recorded, not commanded
    opened_at   timestamptz NOT NULL,
    settled_at  timestamptz
);
CREATE UNIQUE INDEX cutoffs_one_open ON cutoffs (account_id) WHERE state IN ('planned', 'sending', 'unknown', 'awaiting_manager');

CREATE TABLE restores (
    id          text PRIMARY KEY,                   -- 'O<number>'
    site_id     text NOT NULL REFERENCES sites,
    account_id  text NOT NULL REFERENCES accounts,
    cause       text NOT NULL UNIQUE,               -- recharge number or person's request
    state       text NOT NULL CHECK (state IN ('sending', 'verified', 'unknown', 'not_needed', 'prevented')),
    command_id  text REFERENCES commands,
    opened_at   timestamptz NOT NULL,
    settled_at  timestamptz
);

CREATE TABLE messages (
    id           text PRIMARY KEY,                  -- 'S<number>'
    site_id      text NOT NULL REFERENCES sites,
    account_id   text NOT NULL REFERENCES accounts,
    kind         text NOT NULL,                     -- level1, level2, final, recharged, cut, restored
    cause        text NOT NULL UNIQUE,              -- '<case or recharge number>/<kind>': a repeat sends nothing twice
    phone        text NOT NULL,
    body         text NOT NULL,
    state        text NOT NULL CHECK (state IN ('queued', 'sent', 'delivered', 'failed')),
    provider_no  text UNIQUE,
    queued_at    timestamptz NOT NULL,
    sent_at      timestamptz,
    delivered_at timestamptz,                       -- from the provider's receipt, which comes separately
    receipt      jsonb,
    error        text NOT NULL DEFAULT ''
);
CREATE INDEX messages_account ON messages (account_id, queued_at);

-- Short numbers that people type: one sequence per kind.
CREATE SEQUENCE case_no; CREATE SEQUENCE command_no; CREATE SEQUENCE reminder_no; CREATE SEQUENCE cutoff_no;
CREATE SEQUENCE restore_no; CREATE SEQUENCE message_no; CREATE SEQUENCE recharge_no;
