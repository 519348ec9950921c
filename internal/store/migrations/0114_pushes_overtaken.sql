-- A push of prices is overtaken when others are in force for the account that its meter measures: it is never written any more. Lock impact: swaps a
-- check of tariff_pushes (a short scan of it) and adds a function.

ALTER TABLE tariff_pushes
    DROP CONSTRAINT tariff_pushes_state_check,
    ADD CONSTRAINT tariff_pushes_state_check CHECK (state IN ('waiting', 'sending', 'verified', 'failed', 'overtaken'));

-- Whether the prices of a push are those that are in force today, by the calendar of the site, for the account that its meter measures.
CREATE FUNCTION tariff_push_stands(p tariff_pushes) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT EXISTS (SELECT 1 FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id JOIN sites s ON s.id = a.site_id
    CROSS JOIN LATERAL (SELECT (business_now() AT TIME ZONE s.time_zone)::date AS today) d
    CROSS JOIN LATERAL (SELECT * FROM tariff_versions WHERE tariff_id = account_tariff_now(a.id) AND from_day <= d.today ORDER BY from_day DESC, number DESC LIMIT 1) v
    WHERE f.meter_id = p.meter_id AND f.to_at IS NULL AND a.id = p.account_id AND v.change_id = p.change_id
        AND coalesce((v.version ->> 'until')::date > d.today, true)) $$;
