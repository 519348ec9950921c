-- Late fees of arrears contracts: the contract among the terms, the fee's part of a bill, its account of the books, and waivers.
-- Lock impact: adds columns with constant defaults (no rewrite; the check of bills scans it once under an exclusive lock) and one row per
-- site; creates a table.

ALTER TABLE account_terms ADD COLUMN arrears_contract boolean NOT NULL DEFAULT false;   -- unpaid bills bear a late fee

-- The part of total_fen that lines of late fees add up to: it is posted to '<site>/revenue/late_fees', the rest to the service's revenue.
ALTER TABLE bills ADD COLUMN late_fen bigint NOT NULL DEFAULT 0 CHECK (late_fen >= 0);

INSERT INTO ledger_accounts (code, site_id, kind, name_zh, name_en)
SELECT id || '/revenue/late_fees', id, 'revenue', '违约金收入', 'Late fees' FROM sites ON CONFLICT DO NOTHING;

-- The late fee of a bill that a supervisor let the customer off. The bill stays as it was issued; an entry gives the amount back. When a
-- correction reverses the bill, that entry is reversed too, and the waiver goes on with the successor's late fee.
CREATE TABLE late_fee_waivers (
    bill_id      text PRIMARY KEY REFERENCES bills,
    site_id      text NOT NULL REFERENCES sites,
    account_id   text NOT NULL REFERENCES accounts,
    amount_fen   bigint NOT NULL CHECK (amount_fen > 0),
    reason       text NOT NULL CHECK (reason <> ''),
    waived_by    text NOT NULL REFERENCES users,
    waived_at    timestamptz NOT NULL,
    entry_id     bigint NOT NULL UNIQUE REFERENCES ledger_entries,
    carried_from text REFERENCES bills              -- the bill whose waiver goes on; null for a person's own
);
CREATE TRIGGER late_fee_waivers_append_only BEFORE UPDATE OR DELETE ON late_fee_waivers FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER late_fee_waivers_no_truncate BEFORE TRUNCATE ON late_fee_waivers EXECUTE FUNCTION forbid_change();

-- What is waived is what the issued bill charges.
CREATE FUNCTION check_late_fee_waiver() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM bills WHERE id = NEW.bill_id AND account_id = NEW.account_id AND state = 'issued' AND late_fen = NEW.amount_fen;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'bill % is not issued with a late fee of this amount: nothing was waived', NEW.bill_id USING ERRCODE = 'MF012';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER late_fee_waivers_check BEFORE INSERT ON late_fee_waivers FOR EACH ROW EXECUTE FUNCTION check_late_fee_waiver();
