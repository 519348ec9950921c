-- A hold is paid out, and a protection ended before its time, by three persons: who asks, and two who check (rule 49).
-- Lock impact: adds columns without a default (no rewrite); the new checks are not held against rows that are there: what was paid out or ended
-- before this had two persons.

ALTER TABLE holds
    ADD COLUMN approved_by text,                    -- who agreed that it is paid out; another pays it out
    ADD COLUMN approved_at timestamptz,
    ADD CONSTRAINT hold_approval_is_whole CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    ADD CONSTRAINT hold_placer_is_not_approver CHECK (approved_by <> placed_by),
    ADD CONSTRAINT hold_paid_out_by_a_third CHECK (state <> 'posted' OR coalesce(approved_by <> settled_by, false)) NOT VALID;

CREATE OR REPLACE FUNCTION guard_hold() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_available bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'open' OR NEW.approved_by IS NOT NULL THEN
            RAISE EXCEPTION 'a hold begins open' USING ERRCODE = 'MF007';
        END IF;
        UPDATE balances SET held_fen = held_fen + NEW.amount_fen WHERE account_id = NEW.account_id RETURNING balance_fen - held_fen INTO v_available;
        IF v_available IS NULL OR v_available < 0 THEN
            RAISE EXCEPTION 'Account % has % yuan available: % yuan can''t be held.', NEW.account_id,
                to_char((coalesce(v_available, 0) + NEW.amount_fen) / 100.0, 'FM999999999990.00'), to_char(NEW.amount_fen / 100.0, 'FM999999999990.00') USING ERRCODE = 'MF008';
        END IF;
        RETURN NULL;
    END IF;
    IF OLD.state <> 'open' OR NEW.state = 'open' AND (OLD.approved_by IS NOT NULL OR NEW.approved_by IS NULL) THEN
        RAISE EXCEPTION 'Hold % is % already: a hold is settled once.', OLD.id, OLD.state USING ERRCODE = 'MF007';
    END IF;
    IF (OLD.id, OLD.site_id, OLD.account_id, OLD.amount_fen, OLD.purpose, OLD.subject, OLD.idempotency_key, OLD.request_hash, OLD.placed_by, OLD.placed_at, OLD.expires_at)
        IS DISTINCT FROM (NEW.id, NEW.site_id, NEW.account_id, NEW.amount_fen, NEW.purpose, NEW.subject, NEW.idempotency_key, NEW.request_hash, NEW.placed_by, NEW.placed_at, NEW.expires_at)
        OR NEW.state <> 'open' AND (OLD.approved_by, OLD.approved_at) IS DISTINCT FROM (NEW.approved_by, NEW.approved_at) THEN
        RAISE EXCEPTION 'a hold stays what it was placed for' USING ERRCODE = 'MF007';
    END IF;
    IF NEW.state <> 'open' THEN
        UPDATE balances SET held_fen = held_fen - OLD.amount_fen WHERE account_id = OLD.account_id;
    END IF;
    RETURN NULL;
END $$;

-- ended_by asks for it; ended_by2 and ended_by3 agree.
ALTER TABLE protections
    ADD COLUMN ended_by3 text REFERENCES users,
    ADD CONSTRAINT protection_ended_by_three CHECK (ended_at IS NULL OR coalesce(ended_by3 <> ended_by AND ended_by3 <> ended_by2, false)) NOT VALID;
