-- What an account had used in its step year before it was opened is corrected like what else its bills rest on. Only corrections change it.
-- Lock impact: replaces a check of corrections (few rows); adds a check to accounts, which is held against all rows (one scan), and a trigger.

ALTER TABLE corrections DROP CONSTRAINT corrections_kind_check;
ALTER TABLE corrections ADD CONSTRAINT corrections_kind_check CHECK (kind IN ('reading', 'ratio', 'exchange', 'price', 'terms', 'quantity', 'carry_over'));
ALTER TABLE accounts ADD CONSTRAINT accounts_use_before_check CHECK (use_before >= 0);

CREATE FUNCTION corrected_use_before_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM corrections k WHERE k.kind = 'carry_over' AND k.state IN ('approved', 'stopped') AND k.inputs_at IS NULL
        AND k.change #>> '{carry_over,account}' = NEW.id AND (k.change #>> '{carry_over,use}')::bigint = NEW.use_before) THEN
        RAISE EXCEPTION 'no approved correction says that account % had used % before it was opened', NEW.id, NEW.use_before USING ERRCODE = 'MF002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER accounts_use_before_corrected BEFORE UPDATE OF use_before ON accounts FOR EACH ROW WHEN (OLD.use_before <> NEW.use_before) EXECUTE FUNCTION corrected_use_before_guard();
