-- Whether an account may be cut for its balance follows from its dated terms, too: an arrears contract is paid by bills, and nobody is cut by it.
-- Lock impact: adds a function and a comment; rewrites nothing.

COMMENT ON COLUMN accounts.prepaid_contract IS 'the ground on which a cut at the limit rests, while the account_terms in force name no arrears contract';

-- Whether an account's contract agrees today, by the calendar of its site, to a cut at the limit; before its first day, by the terms of its first day.
CREATE FUNCTION account_prepaid_now(p_account text) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT a.prepaid_contract AND NOT t.arrears_contract FROM accounts a JOIN sites s ON s.id = a.site_id JOIN account_terms t ON t.account_id = a.id
   CROSS JOIN LATERAL (SELECT (business_now() AT TIME ZONE s.time_zone)::date AS today) d
   WHERE a.id = p_account
   ORDER BY from_day <= today DESC, CASE WHEN from_day <= today THEN from_day END DESC, from_day, version DESC LIMIT 1 $$;
