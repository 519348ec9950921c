-- An adjustment that was booked by mistake is undone by another one: a document of its own with an entry that compensates the first, entered and
-- approved like any. Both name each other. What was undone may be adjusted anew.
-- Lock impact: two columns without a default (no rewrite); builds two indexes on adjustments (few rows), one of them behind a constraint.

ALTER TABLE adjustments
    ADD COLUMN undoes text REFERENCES adjustments,      -- the booked adjustment that this one takes back
    ADD COLUMN undone_by text REFERENCES adjustments,   -- the booked one that took this back
    DROP CONSTRAINT adjustments_once,
    -- What a meter registered is adjusted once.
    ADD CONSTRAINT adjustments_once EXCLUDE USING gist (meter_id WITH =, tstzrange(from_at, to_at) WITH &&)
        WHERE (state NOT IN ('rejected', 'withdrawn') AND undoes IS NULL AND undone_by IS NULL);
CREATE UNIQUE INDEX adjustments_undone_once ON adjustments (undoes) WHERE state NOT IN ('rejected', 'withdrawn');

-- What people approve never changes under them: an adjustment's row changes its state, with who decided, and nothing else; an ended one
-- not at all, but that a booked one is undone, once.
CREATE OR REPLACE FUNCTION guard_adjustment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_decision text[] := ARRAY['state', 'approved1_by', 'approved1_at', 'approved2_by', 'approved2_at', 'entry_id', 'balance_after_fen', 'ended_by', 'ended_at', 'ended_why'];
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.state IN ('previewed', 'approved_once') AND to_jsonb(NEW) - v_decision = to_jsonb(OLD) - v_decision
        OR OLD.state = 'booked' AND OLD.undone_by IS NULL AND NEW.undone_by IS NOT NULL AND to_jsonb(NEW) - 'undone_by' = to_jsonb(OLD) - 'undone_by') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'adjustment % is %: it is never edited', OLD.id, OLD.state USING ERRCODE = 'MF010';
END $$;

-- The lines and the bills add up to the total, and so does what the entry moved. What undoes another one takes back each of its bills, and both know
-- each other.
CREATE OR REPLACE FUNCTION check_adjustment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_lines bigint; v_bills bigint; v_entry bigint; v_first adjustments;
BEGIN
    SELECT coalesce(sum(true_fen - billed_fen), 0) INTO v_lines FROM adjustment_lines WHERE adjustment_id = NEW.id;
    SELECT coalesce(sum(true_fen - billed_fen), 0) INTO v_bills FROM adjustment_bills WHERE adjustment_id = NEW.id;
    SELECT coalesce(sum(p.amount_fen), 0) INTO v_entry FROM ledger_postings p WHERE p.entry_id = NEW.entry_id AND p.code = 'customer/' || NEW.account_id;
    IF v_lines <> NEW.total_fen OR v_bills <> NEW.total_fen OR NEW.state = 'booked' AND v_entry <> NEW.total_fen THEN
        RAISE EXCEPTION 'adjustment % is % fen; its lines come to %, its bills to %, its entry to %', NEW.id, NEW.total_fen, v_lines, v_bills, v_entry USING ERRCODE = 'MF003';
    END IF;
    IF NEW.undone_by IS NOT NULL AND NOT EXISTS (SELECT 1 FROM adjustments WHERE id = NEW.undone_by AND undoes = NEW.id AND state = 'booked') THEN
        RAISE EXCEPTION 'adjustment % says that % undid it, which is not so', NEW.id, NEW.undone_by USING ERRCODE = 'MF003';
    END IF;
    IF NEW.undoes IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_first FROM adjustments WHERE id = NEW.undoes;
    IF v_first.state <> 'booked' OR v_first.undoes IS NOT NULL OR v_first.account_id <> NEW.account_id OR (NEW.state = 'booked') <> (v_first.undone_by IS NOT DISTINCT FROM NEW.id)
        OR EXISTS (SELECT 1 FROM adjustment_bills f LEFT JOIN adjustment_bills u ON u.adjustment_id = NEW.id AND u.bill_id = f.bill_id WHERE f.adjustment_id = v_first.id
            AND (u.billed_fen, u.true_fen, u.billed_quantity, u.true_quantity, u.steps) IS DISTINCT FROM (f.true_fen, f.billed_fen, f.true_quantity, f.billed_quantity, -f.steps)) THEN
        RAISE EXCEPTION 'adjustment % does not undo %', NEW.id, NEW.undoes USING ERRCODE = 'MF003';
    END IF;
    RETURN NULL;
END $$;
