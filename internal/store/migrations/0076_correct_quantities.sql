-- A quantity of a billed month (demand, reactive, reverse) is corrected like a reading.
-- Lock impact: replaces a check of corrections (few rows).

ALTER TABLE corrections DROP CONSTRAINT corrections_kind_check;
ALTER TABLE corrections ADD CONSTRAINT corrections_kind_check CHECK (kind IN ('reading', 'ratio', 'exchange', 'price', 'terms', 'quantity'));
