-- A customer's class becomes one of the dated terms of each account.
-- Lock impact: adds a column to account_terms and fills its few rows per account under an exclusive lock; adds functions.

ALTER TABLE account_terms ADD COLUMN class text CHECK (class IN ('household', 'commercial', 'important'));
ALTER TABLE account_terms DISABLE TRIGGER account_terms_append_only;
UPDATE account_terms t SET class = c.class FROM accounts a JOIN customers c ON c.id = a.customer_id WHERE a.id = t.account_id;
ALTER TABLE account_terms ENABLE TRIGGER account_terms_append_only;
ALTER TABLE account_terms ALTER COLUMN class SET NOT NULL;

COMMENT ON COLUMN customers.class IS 'what accounts of the customer are opened with; what holds on a day is in their account_terms';

CREATE OR REPLACE FUNCTION open_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_terms (account_id, from_day, version, tariff_id, class, recorded_at, recorded_by, reason)
    SELECT NEW.id, NEW.opened_on, 1, NEW.tariff_id, c.class, business_now(), 'workflow', 'account opened' FROM customers c WHERE c.id = NEW.customer_id;
    RETURN NULL;
END $$;

-- The class of an account on a day; before its first day, that of its first day.
CREATE FUNCTION account_class(p_account text, p_day date) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT class FROM account_terms WHERE account_id = p_account
   ORDER BY from_day <= p_day DESC, CASE WHEN from_day <= p_day THEN from_day END DESC, from_day, version DESC LIMIT 1 $$;

-- The class of an account today, by the calendar of its site.
CREATE FUNCTION account_class_now(p_account text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT account_class(a.id, (business_now() AT TIME ZONE s.time_zone)::date) FROM accounts a JOIN sites s ON s.id = a.site_id WHERE a.id = p_account $$;
