-- The workers among which lines are shared out. A worker raises its beat with each renewal of its leases; the others watch the beats by their
-- own clocks, so that a jump of this server's clock takes no line from a worker that lives. Rows that last as long as a worker: no journal.
-- A lease that was handed back has no holder: ''. Lock impact: creates only.

CREATE TABLE line_workers (
    holder    text PRIMARY KEY CHECK (holder <> ''),
    process   text NOT NULL,        -- drawn when it starts: two processes under one name are told apart by it
    beat      bigint NOT NULL,
    ending    boolean NOT NULL DEFAULT false,  -- it keeps its lines for what it still has in hand, and gets no new work
    beat_real timestamptz NOT NULL  -- for people; nothing is decided by it
);
