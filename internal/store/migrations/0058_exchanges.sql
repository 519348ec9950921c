-- Meter exchanges as acts of their own: what the old meter still held goes on to the new one, once, and a hold is ordered anew.
-- Lock impact: creates only.

CREATE SEQUENCE exchange_no START 1001;

CREATE TABLE exchanges (
    id             text PRIMARY KEY,                -- 'E<number>'
    site_id        text NOT NULL REFERENCES sites,
    account_id     text REFERENCES accounts,        -- null for a meter that nobody is billed by
    old_meter_id   text NOT NULL UNIQUE REFERENCES meters,
    new_meter_id   text NOT NULL UNIQUE REFERENCES meters,
    case_id        text REFERENCES cases,           -- the exception that it settled; null for a planned exchange
    nonce          text NOT NULL UNIQUE,            -- of the order, so that a repeat is the same exchange
    exchanged_at   timestamptz NOT NULL,
    made_by        text NOT NULL,
    reason         text NOT NULL CHECK (reason <> ''),
    -- What the old meter still held, fen; negative when it was overdrawn. Null where the balance is ours, or the meter holds a volume.
    remaining_fen  bigint,
    remaining_from text NOT NULL CHECK (remaining_from IN ('', 'display', 'reading')),
    -- What is carried over: nothing, or the remaining credit when it is above zero.
    credit         text NOT NULL CHECK (credit IN ('none', 'delivering', 'in_doubt', 'credited')),
    -- Whether the new meter is to be held on, because the old one was.
    hold           text NOT NULL CHECK (hold IN ('none', 'wanted', 'held', 'dropped')),
    state          text NOT NULL CHECK (state IN ('open', 'done')),
    settled_at     timestamptz,
    CONSTRAINT exchange_remaining_has_a_source CHECK ((remaining_fen IS NULL) = (remaining_from = '')),
    CONSTRAINT exchange_carries_what_remained CHECK ((credit <> 'none') = coalesce(remaining_fen > 0, false)),
    CONSTRAINT exchange_follows_an_account CHECK (account_id IS NOT NULL OR (credit = 'none' AND hold = 'none')),
    CONSTRAINT exchange_is_done CHECK ((state = 'done') = (credit IN ('none', 'credited') AND hold <> 'wanted')),
    CONSTRAINT exchange_has_settled CHECK ((state = 'done') = (settled_at IS NOT NULL))
);
CREATE INDEX exchanges_account ON exchanges (account_id);
