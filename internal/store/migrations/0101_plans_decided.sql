-- A payment plan has a largest number of parts, lapses when nobody decides on it in time, and is ended before its time by three persons, as a
-- protection is (rule 49). Sites with rules of their own get the two new numbers as the defaults have them: change them where they don't fit.
-- Lock impact: a column without a default (no rewrite) and replaced checks on payment_plans (few rows); an update of the sites that have rules of
-- their own. The check on the third person is not held against rows that are there: what ended before this had two.

ALTER TABLE payment_plans
    ADD COLUMN agreed2_by text REFERENCES users,         -- the third person
    DROP CONSTRAINT payment_plans_state_check,
    ADD CONSTRAINT payment_plans_state_check CHECK (state IN ('proposed', 'running', 'settled', 'rejected', 'cancelled', 'lapsed')),
    ADD CONSTRAINT payment_plans_three_persons CHECK (state NOT IN ('rejected', 'cancelled') OR coalesce(agreed2_by <> ended_by AND agreed2_by <> agreed_by, false)) NOT VALID;

-- An ended plan stays as it is; of an open one only its progress changes.
CREATE OR REPLACE FUNCTION guard_payment_plan() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_progress text[] := '{outstanding_fen,early_fen,next_due,state,approved_by,approved_at,ended_by,agreed_by,agreed2_by,ended_at,ended_why}';
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.ended_at IS NULL AND to_jsonb(NEW) - v_progress = to_jsonb(OLD) - v_progress AND NEW.outstanding_fen <= OLD.outstanding_fen
        AND (OLD.approved_by IS NULL OR NEW.approved_by = OLD.approved_by) AND NOT (OLD.state = 'running' AND NEW.state IN ('proposed', 'lapsed')) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'payment plan % is %: it stays as it is', OLD.id, OLD.state USING ERRCODE = 'MF001';
END $$;

UPDATE sites SET policy = jsonb_set(policy, '{billing,make_up}',
        (SELECT jsonb_agg('{"max_parts": 12, "decide_days": 30}'::jsonb || r ORDER BY n) FROM jsonb_array_elements(policy #> '{billing,make_up}') WITH ORDINALITY e (r, n)))
    WHERE jsonb_typeof(policy #> '{billing,make_up}') = 'array' AND policy #> '{billing,make_up}' <> '[]';
