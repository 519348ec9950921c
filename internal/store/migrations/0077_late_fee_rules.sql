-- Late-fee rules made on a page by one person and approved by another, and waivers of a part, with a second person above a ceiling.
-- Lock impact: creates a table; adds nullable columns to late_fee_waivers and replaces the function of its check.

-- What unpaid bills cost under an arrears contract, from a day on. Approved ones come after the rules of the site's policy that began before
-- the first of them. Of several approved of one first day the highest version holds.
CREATE TABLE late_fee_rules (
    site_id     text NOT NULL REFERENCES sites,
    version     integer NOT NULL CHECK (version >= 1),
    service     text NOT NULL CHECK (service IN ('power', 'water')),
    from_day    date NOT NULL,
    rule        jsonb NOT NULL,                     -- billing.LateFeeRule
    state       text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'approved', 'rejected')),
    made_by     text NOT NULL REFERENCES users,
    reason      text NOT NULL CHECK (reason <> ''),
    made_at     timestamptz NOT NULL,
    decided_by  text REFERENCES users,
    decided_at  timestamptz,
    decided_why text NOT NULL DEFAULT '',
    PRIMARY KEY (site_id, version),
    CHECK ((state = 'proposed') = (decided_by IS NULL)),
    CONSTRAINT late_fee_rules_two_persons CHECK (state <> 'approved' OR decided_by <> made_by)
);
CREATE UNIQUE INDEX late_fee_rules_one_open ON late_fee_rules (site_id, service) WHERE state = 'proposed';

CREATE FUNCTION guard_late_fee_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'proposed' AND NEW.state <> 'proposed'
        AND to_jsonb(NEW) - '{state,decided_by,decided_at,decided_why}'::text[] = to_jsonb(OLD) - '{state,decided_by,decided_at,decided_why}'::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'late-fee rule % of site % is %: it stays as it is', OLD.version, OLD.site_id, OLD.state USING ERRCODE = 'MF001';
END $$;
CREATE TRIGGER late_fee_rules_guard BEFORE UPDATE OR DELETE ON late_fee_rules FOR EACH ROW EXECUTE FUNCTION guard_late_fee_rule();

-- asked_fen is the part of the fee that was waived, null for the whole of it: a correction carries it on to the successor, up to its fee.
-- alone_fen is what one person might waive then; null for waivers from before there was such a ceiling.
ALTER TABLE late_fee_waivers
    ADD COLUMN asked_fen bigint CHECK (asked_fen > 0),
    ADD COLUMN alone_fen bigint,
    ADD COLUMN agreed_by text REFERENCES users,
    ADD CONSTRAINT late_fee_waivers_two_persons CHECK (agreed_by <> waived_by),
    ADD CONSTRAINT late_fee_waivers_above_ceiling CHECK (amount_fen <= alone_fen OR agreed_by IS NOT NULL OR carried_from IS NOT NULL);

CREATE OR REPLACE FUNCTION check_late_fee_waiver() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM bills WHERE id = NEW.bill_id AND account_id = NEW.account_id AND state = 'issued' AND least(NEW.asked_fen, late_fen) = NEW.amount_fen;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'bill % is not issued with a late fee of this amount: nothing was waived', NEW.bill_id USING ERRCODE = 'MF012';
    END IF;
    RETURN NEW;
END $$;
