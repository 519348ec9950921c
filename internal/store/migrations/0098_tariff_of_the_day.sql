-- An account's tariff follows from its dated terms, on every day and from a later day on. accounts.tariff_id is none of that: it was refreshed
-- when terms were recorded, not when their day came.
-- Lock impact: adds an index on account_terms (writers of terms wait while it is built), functions and views; rewrites nothing.

COMMENT ON COLUMN accounts.tariff_id IS 'what the account was opened with; what holds on a day is in its account_terms';

CREATE INDEX account_terms_tariff ON account_terms (tariff_id, account_id);

-- The tariff of an account today, by the calendar of its site; before its first day, that of its first day.
CREATE FUNCTION account_tariff_now(p_account text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT t.tariff_id FROM accounts a JOIN sites s ON s.id = a.site_id JOIN account_terms t ON t.account_id = a.id
   CROSS JOIN LATERAL (SELECT (business_now() AT TIME ZONE s.time_zone)::date AS today) d
   WHERE a.id = p_account
   ORDER BY from_day <= today DESC, CASE WHEN from_day <= today THEN from_day END DESC, from_day, version DESC LIMIT 1 $$;

-- The days, half-open, on which accounts have a tariff; to_day is null when no later terms end it.
CREATE VIEW tariff_days AS
SELECT t.tariff_id, a.site_id, t.account_id, t.from_day,
    (SELECT min(n.from_day) FROM account_terms n WHERE n.account_id = t.account_id AND n.from_day > t.from_day) AS to_day
FROM account_terms t JOIN accounts a ON a.id = t.account_id
WHERE NOT EXISTS (SELECT 1 FROM account_terms n WHERE n.account_id = t.account_id AND n.from_day = t.from_day AND n.version > t.version);

-- The accounts that have a tariff today or on a later day: a tariff that terms name from a later day on is in use too. An account that has
-- it, leaves it and comes back stands here twice. (OFFSET 0 keeps today from being reckoned anew for each account.)
CREATE VIEW tariff_uses AS
SELECT t.tariff_id, a.site_id, t.account_id, t.from_day, t.from_day <= s.today AS now
FROM account_terms t JOIN accounts a ON a.id = t.account_id
JOIN (SELECT id, (business_now() AT TIME ZONE time_zone)::date AS today FROM sites OFFSET 0) s ON s.id = a.site_id
WHERE NOT EXISTS (SELECT 1 FROM account_terms n WHERE n.account_id = t.account_id AND (n.from_day, n.version) > (t.from_day, t.version)
    AND (n.from_day = t.from_day OR n.from_day <= s.today));

-- The days, half-open, on which a price ceiling stands. Of two rows of one day the newer counts; a row without a price ends the one before.
CREATE VIEW ceiling_days AS
SELECT site_id, service, from_day, lead(from_day) OVER (PARTITION BY site_id, service ORDER BY from_day) AS to_day, price
FROM (SELECT DISTINCT ON (site_id, service, from_day) site_id, service, from_day, price FROM price_ceilings ORDER BY site_id, service, from_day, id DESC) l;
