-- Gateways whose worst case nobody entered: what is usual with their link stands for it, as at entry, and their time-out is at least as long, so
-- that no late answer comes. A longer time-out costs time where a meter is silent, and nothing else. Each has its row in the journal.
-- Lock impact: rewrites the rows of such gateways.

DO $$
DECLARE
    g record;
BEGIN
    FOR g IN SELECT *, CASE link WHEN 'transparent' THEN 1000 ELSE 2000 END AS usual FROM gateways WHERE worst_case_ms = 0 ORDER BY id FOR UPDATE LOOP
        UPDATE gateways SET worst_case_ms = g.usual, timeout_ms = greatest(timeout_ms, g.usual) WHERE id = g.id;
        PERFORM journal_append(g.site_id, 'gateway', g.id, 'changed', '', '', 'workflow', 'nobody had entered its worst case: what is usual with its link stands for it',
            '', '', '{}'::text[], jsonb_build_object('from', jsonb_build_object('timeout_ms', g.timeout_ms, 'worst_case_ms', 0),
                'to', jsonb_build_object('timeout_ms', greatest(g.timeout_ms, g.usual), 'worst_case_ms', g.usual)));
    END LOOP;
END $$;
