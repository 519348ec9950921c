-- A make-up bill in monthly parts (rule 9): what a true-up after consecutive estimates raised the charge by may be paid month by month.
-- The ledger and the bills stay as they are: what an account still may pay later is left out only of what reminds, cuts and restores.
-- Lock impact: creates only.

CREATE SEQUENCE payment_plan_no;

CREATE TABLE payment_plans (
    id              text PRIMARY KEY,                   -- 'Y<number>'
    site_id         text NOT NULL REFERENCES sites,
    account_id      text NOT NULL REFERENCES accounts,
    cycle_id        text NOT NULL REFERENCES cycles,    -- whose charge brought the true-up
    rule            jsonb NOT NULL,                     -- billing.MakeUpRule in force
    facts           jsonb NOT NULL,                     -- billing.MakeUp: what the amount was reckoned from
    lowest_bill     text NOT NULL REFERENCES bills,     -- the lowest normal bill
    total_fen       bigint NOT NULL CHECK (total_fen > 0),
    part_fen        bigint NOT NULL CHECK (part_fen > 0), -- each part but the last, which is the rest
    outstanding_fen bigint NOT NULL CHECK (outstanding_fen BETWEEN 0 AND total_fen),
    early_fen       bigint NOT NULL DEFAULT 0 CHECK (early_fen >= 0), -- what became due at once when it ended
    next_due        date,                               -- local to the site; null until it runs
    state           text NOT NULL CHECK (state IN ('proposed', 'running', 'settled', 'rejected', 'cancelled')),
    proposed_at     timestamptz NOT NULL,
    approved_by     text REFERENCES users,
    approved_at     timestamptz,
    ended_by        text,                               -- a person, or 'workflow' with the last part
    agreed_by       text REFERENCES users,              -- the second person
    ended_at        timestamptz,
    ended_why       text NOT NULL DEFAULT '',
    UNIQUE (account_id, cycle_id),
    CHECK (state <> 'running' OR approved_by IS NOT NULL AND next_due IS NOT NULL AND outstanding_fen > 0),
    CHECK ((state IN ('proposed', 'running')) = (ended_at IS NULL)),
    CHECK (ended_at IS NULL OR outstanding_fen = 0),
    -- What takes a protection away takes two persons.
    CONSTRAINT payment_plans_two_persons CHECK (state NOT IN ('rejected', 'cancelled') OR agreed_by IS NOT NULL AND agreed_by <> ended_by)
);
CREATE INDEX payment_plans_account ON payment_plans (account_id) WHERE outstanding_fen > 0;
CREATE INDEX payment_plans_site ON payment_plans (site_id, proposed_at);

-- A part that has fallen due.
CREATE TABLE payment_plan_parts (
    plan_id    text NOT NULL REFERENCES payment_plans,
    no         integer NOT NULL CHECK (no >= 1),
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    due_on     date NOT NULL,
    fell_at    timestamptz NOT NULL,
    PRIMARY KEY (plan_id, no)
);
CREATE TRIGGER payment_plan_parts_append_only BEFORE UPDATE OR DELETE ON payment_plan_parts FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER payment_plan_parts_no_truncate BEFORE TRUNCATE ON payment_plan_parts EXECUTE FUNCTION forbid_change();

-- An ended plan stays as it is; of an open one only its progress changes.
CREATE FUNCTION guard_payment_plan() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_progress text[] := '{outstanding_fen,early_fen,next_due,state,approved_by,approved_at,ended_by,agreed_by,ended_at,ended_why}';
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.ended_at IS NULL AND to_jsonb(NEW) - v_progress = to_jsonb(OLD) - v_progress AND NEW.outstanding_fen <= OLD.outstanding_fen
        AND (OLD.approved_by IS NULL OR NEW.approved_by = OLD.approved_by) AND NOT (OLD.state = 'running' AND NEW.state = 'proposed') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'payment plan % is %: it stays as it is', OLD.id, OLD.state USING ERRCODE = 'MF001';
END $$;
CREATE TRIGGER payment_plans_guard BEFORE UPDATE OR DELETE ON payment_plans FOR EACH ROW EXECUTE FUNCTION guard_payment_plan();
CREATE TRIGGER payment_plans_no_truncate BEFORE TRUNCATE ON payment_plans EXECUTE FUNCTION forbid_change();

-- No fen is lost: at the end of the transaction the parts that fell due, what is outstanding and what became due early are the total.
CREATE FUNCTION check_payment_plan() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_id text := CASE TG_TABLE_NAME WHEN 'payment_plans' THEN to_jsonb(NEW) ->> 'id' ELSE to_jsonb(NEW) ->> 'plan_id' END;
    p payment_plans;
    v_fallen bigint;
    v_over boolean;
BEGIN
    SELECT * INTO p FROM payment_plans WHERE id = v_id;
    SELECT coalesce(sum(amount_fen), 0), coalesce(bool_or(amount_fen > p.part_fen), false) INTO v_fallen, v_over FROM payment_plan_parts WHERE plan_id = v_id;
    IF v_over OR v_fallen + p.outstanding_fen + p.early_fen <> p.total_fen THEN
        RAISE EXCEPTION 'payment plan %: % fallen due, % outstanding and % early are not its % fen, or a part is above %', v_id, v_fallen, p.outstanding_fen, p.early_fen, p.total_fen, p.part_fen USING ERRCODE = 'MF001';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER payment_plans_add_up AFTER INSERT OR UPDATE ON payment_plans DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_payment_plan();
CREATE CONSTRAINT TRIGGER payment_plan_parts_add_up AFTER INSERT ON payment_plan_parts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_payment_plan();

-- What an account may pay later: reminders, cuts and restores look at its balance and this.
CREATE FUNCTION deferred_fen(p_account text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(outstanding_fen), 0)::bigint FROM payment_plans WHERE account_id = p_account AND outstanding_fen > 0
$$;
