-- A cycle that has just begun is in no statistics of its table, and the planner took it for one row: looked for were 500 of its meters by going through
-- all of them. Without statistics of the column it takes a cycle for a two-hundredth of the table, and goes by the keys. Giving the column its own
-- type again is what drops those that are there. Lock impact: cycle_meters for a moment; nothing is rewritten.

ALTER TABLE cycle_meters ALTER COLUMN cycle_id SET STATISTICS 0;
ALTER TABLE cycle_meters ALTER COLUMN cycle_id TYPE text;
