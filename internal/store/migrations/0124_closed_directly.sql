-- A restore that waits for the customer's button is closed directly when somebody orders supply back meanwhile. And a push of prices stands while the day's
-- prices began with its change, corrected or not: a correction pushes nothing. Lock impact: a column with a constant default and a function replaced.

ALTER TABLE restores ADD COLUMN direct boolean NOT NULL DEFAULT false;

CREATE OR REPLACE FUNCTION tariff_push_stands(p tariff_pushes) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT EXISTS (SELECT 1 FROM fittings f JOIN accounts a ON a.service_point_id = f.service_point_id JOIN sites s ON s.id = a.site_id
    CROSS JOIN LATERAL (SELECT (business_now() AT TIME ZONE s.time_zone)::date AS today) d
    CROSS JOIN LATERAL (SELECT * FROM tariff_versions WHERE tariff_id = account_tariff_now(a.id) AND from_day <= d.today ORDER BY from_day DESC, number DESC LIMIT 1) v
    WHERE f.meter_id = p.meter_id AND f.to_at IS NULL AND a.id = p.account_id AND coalesce((v.version ->> 'until')::date > d.today, true)
        AND p.change_id = (SELECT change_id FROM tariff_versions n WHERE n.tariff_id = v.tariff_id AND n.from_day = v.from_day AND n.change_id IS NOT NULL ORDER BY number DESC LIMIT 1)) $$;
