-- Ledger: accounting days, holds, one call per posting, set-based pages of postings and of journal rows.
-- Lock impact: rewrites nothing; adds columns with constant defaults, fills ledger_entries.day once, swaps four indexes. Stop the
-- workers while it runs on a large ledger.

-- Called several times per posting: as plpgsql its plan is kept, as SQL it was prepared anew at each call.
CREATE OR REPLACE FUNCTION business_now() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT CASE WHEN mode = 'real' THEN clock_timestamp() ELSE business_at END FROM business_clock);
END $$;

-- The chart of accounts is data: house accounts have names; further ones are opened as master data.
ALTER TABLE ledger_accounts
    ADD COLUMN name_zh text NOT NULL DEFAULT '',        -- empty for a customer's account: it has the customer's name
    ADD COLUMN name_en text NOT NULL DEFAULT '',
    DROP CONSTRAINT ledger_accounts_kind_check,
    ADD CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ('asset', 'liability', 'revenue', 'expense'));
UPDATE ledger_accounts a SET name_zh = n.zh, name_en = n.en
FROM (VALUES ('cash', '库存现金', 'Cash desk'), ('bank', '银行存款', 'Bank account'), ('online', '在线支付待结算', 'Payment providers'),
    ('opening', '期初余额', 'Opening balances'), ('in_transit', '在途充值', 'Recharges in transit'), ('unbilled', '未开账用量', 'Use not billed yet'),
    ('revenue/power', '电费收入', 'Power revenue'), ('revenue/water', '水费收入', 'Water revenue')) n (name, zh, en)
WHERE a.code = a.site_id || '/' || n.name;
ALTER TABLE ledger_accounts
    ADD CONSTRAINT ledger_accounts_code_says_what CHECK (CASE WHEN account_id IS NULL THEN starts_with(code, site_id || '/') ELSE code = 'customer/' || account_id END),
    ADD CONSTRAINT ledger_accounts_house_has_names CHECK (account_id IS NOT NULL OR (name_zh <> '' AND name_en <> ''));

-- An account of the books stays what it is: only its names may change. So a posting can't lose its account, and need not lock it: a
-- foreign key would take a shared lock on the row of each house account, the hot row that the missing balance row avoids.
CREATE TRIGGER ledger_accounts_stay BEFORE UPDATE ON ledger_accounts FOR EACH ROW
    WHEN ((OLD.code, OLD.site_id, OLD.kind, OLD.account_id) IS DISTINCT FROM (NEW.code, NEW.site_id, NEW.kind, NEW.account_id)) EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_accounts_never_go BEFORE DELETE ON ledger_accounts FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_accounts_no_truncate BEFORE TRUNCATE ON ledger_accounts EXECUTE FUNCTION forbid_change();

-- The accounting day that an entry is effective on (local to the site), beside the instant at which it was recorded (business_at).
ALTER TABLE ledger_entries
    ADD COLUMN day date,
    ADD COLUMN corrects date;                           -- the closed day that the entry corrects
ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only;
UPDATE ledger_entries e SET day = (e.business_at AT TIME ZONE s.time_zone)::date FROM sites s WHERE s.id = e.site_id;
ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_append_only;
ALTER TABLE ledger_entries
    ALTER COLUMN day SET NOT NULL,
    ADD CONSTRAINT ledger_entries_corrects_the_past CHECK (corrects < day),
    -- Coarse, because a constraint can't know the zone: no day begins anywhere more than 14 hours before it begins in UTC.
    ADD CONSTRAINT ledger_entries_not_in_the_future CHECK (day <= ((business_at AT TIME ZONE 'UTC') + interval '14 hours')::date),
    -- The site is that of the accounts that the entry moves (checked below), which reference it; a lock on its row would be a hot row again.
    DROP CONSTRAINT ledger_entries_site_id_fkey,
    DROP CONSTRAINT ledger_entries_reverses_key;
CREATE UNIQUE INDEX ledger_entries_reverses_key ON ledger_entries (reverses) WHERE reverses IS NOT NULL;
DROP INDEX ledger_entries_site;
CREATE INDEX ledger_entries_day ON ledger_entries (site_id, day, id);

ALTER TABLE ledger_postings DROP CONSTRAINT ledger_postings_code_fkey;
DROP INDEX ledger_postings_code;
CREATE INDEX ledger_postings_code ON ledger_postings (code, entry_id);

-- What is held back of a customer's credit; available = balance − held.
ALTER TABLE balances ADD COLUMN held_fen bigint NOT NULL DEFAULT 0 CONSTRAINT balances_held_fen_check CHECK (held_fen >= 0);
ALTER TABLE balances SET (fillfactor = 70);             -- room for updates beside the row: no index is touched
ALTER TABLE journal_heads SET (fillfactor = 70);

-- Closed accounting days. A site's books are closed up to its newest row here; nothing is dated on a closed day any more.
CREATE TABLE ledger_days (
    site_id       text NOT NULL REFERENCES sites,
    day           date NOT NULL,
    entries       bigint NOT NULL,
    debit_fen     bigint NOT NULL,
    credit_fen    bigint NOT NULL,
    accounts      integer NOT NULL,                     -- accounts that moved
    customers_fen bigint NOT NULL,                      -- signed sum of all customers' accounts at the end of the day
    later_entry   bigint NOT NULL,                      -- no entry of a later day has a smaller id
    counted_fen   bigint,                               -- the cash that a person counted, equal to the books
    prev_digest   bytea NOT NULL,                       -- of the day before; empty for the first
    digest        bytea NOT NULL,                       -- over the totals, the entries and prev_digest; internal/ledger recomputes it
    closed_by     text NOT NULL,
    closed_at     timestamptz NOT NULL,
    closed_real   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (site_id, day),
    CHECK (debit_fen = credit_fen)
);

-- What each account moved by on a closed day, and where it stood at its end: old balances are read from here.
CREATE TABLE ledger_day_totals (
    site_id     text NOT NULL,
    code        text NOT NULL,
    day         date NOT NULL,
    debit_fen   bigint NOT NULL,
    credit_fen  bigint NOT NULL,
    balance_fen bigint NOT NULL,                        -- signed: positive is a debit balance
    PRIMARY KEY (code, day)
);
CREATE INDEX ledger_day_totals_day ON ledger_day_totals (site_id, day);

CREATE TRIGGER ledger_days_append_only BEFORE UPDATE OR DELETE ON ledger_days FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_days_no_truncate BEFORE TRUNCATE ON ledger_days EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_day_totals_append_only BEFORE UPDATE OR DELETE ON ledger_day_totals FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_day_totals_no_truncate BEFORE TRUNCATE ON ledger_day_totals EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_entries_no_truncate BEFORE TRUNCATE ON ledger_entries EXECUTE FUNCTION forbid_change();
CREATE TRIGGER ledger_postings_no_truncate BEFORE TRUNCATE ON ledger_postings EXECUTE FUNCTION forbid_change();
CREATE TRIGGER balances_no_truncate BEFORE TRUNCATE ON balances EXECUTE FUNCTION forbid_change();
CREATE TRIGGER journal_no_truncate BEFORE TRUNCATE ON journal EXECUTE FUNCTION forbid_change();

-- A balance moves only with a posting, its held part only with a hold: both come from inside a trigger. It begins at zero and stays.
DROP TRIGGER balances_guard ON balances;
CREATE OR REPLACE FUNCTION guard_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a balance moves only with a posting or a hold' USING ERRCODE = 'MF002';
END $$;
CREATE TRIGGER balances_guard BEFORE UPDATE ON balances FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION guard_balance();
CREATE TRIGGER balances_begin_at_zero BEFORE INSERT ON balances FOR EACH ROW WHEN (NEW.balance_fen <> 0 OR NEW.held_fen <> 0) EXECUTE FUNCTION guard_balance();
CREATE TRIGGER balances_stay BEFORE DELETE ON balances FOR EACH ROW EXECUTE FUNCTION guard_balance();

-- One call for all postings of a statement: they belong to an entry of this very transaction, and each customer's balance moves once,
-- in the order of account numbers, as everything does that locks several balances.
CREATE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_late bigint;
    v_now timestamptz := business_now();
    m record;
BEGIN
    SELECT n.entry_id INTO v_late FROM (SELECT DISTINCT entry_id FROM new_postings) n
    WHERE (SELECT e.xmin FROM ledger_entries e WHERE e.id = n.entry_id) IS DISTINCT FROM pg_current_xact_id()::xid LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'postings are written in the transaction of their entry (%)', v_late USING ERRCODE = 'MF004';
    END IF;
    FOR m IN SELECT substr(code, 10) AS account_id, -sum(amount_fen)::bigint AS fen FROM new_postings
        WHERE starts_with(code, 'customer/') GROUP BY code ORDER BY 1
    LOOP
        UPDATE balances SET balance_fen = balance_fen + m.fen, moved_at = v_now WHERE account_id = m.account_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'account % has no balance to move', m.account_id USING ERRCODE = 'MF002';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
DROP TRIGGER ledger_postings_move_balance ON ledger_postings;
DROP FUNCTION move_balance();
DROP TRIGGER ledger_postings_with_entry ON ledger_postings;
DROP FUNCTION check_posting_with_entry();
CREATE TRIGGER ledger_postings_move_balances AFTER INSERT ON ledger_postings REFERENCING NEW TABLE AS new_postings
    FOR EACH STATEMENT EXECUTE FUNCTION move_balances();

-- When the transaction ends, each of its entries balances, over accounts of its own site, on a day that is open. A day closes under a lock
-- that waits for all writers of entries, so what is open here stays open until the commit.
DROP TRIGGER ledger_entries_balanced ON ledger_entries;
DROP FUNCTION check_entry_balanced();
CREATE FUNCTION check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_sum numeric; v_count bigint; v_ours bigint; v_closed date;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'entries are posted in READ COMMITTED: an older snapshot can''t see that their day has closed' USING ERRCODE = 'MF006';
    END IF;
    SELECT coalesce(sum(p.amount_fen), 0), count(*),
        count(*) FILTER (WHERE (SELECT a.site_id FROM ledger_accounts a WHERE a.code = p.code) = NEW.site_id),
        (SELECT max(d.day) FROM ledger_days d WHERE d.site_id = NEW.site_id)
    INTO v_sum, v_count, v_ours, v_closed FROM ledger_postings p WHERE p.entry_id = NEW.id;
    IF v_sum <> 0 OR v_count < 2 THEN
        RAISE EXCEPTION 'ledger entry % does not balance: % fen over % postings', NEW.id, v_sum, v_count USING ERRCODE = 'MF003';
    END IF;
    IF v_ours <> v_count THEN
        RAISE EXCEPTION 'ledger entry % moves an account that site % does not have', NEW.id, NEW.site_id USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_postings_code';
    END IF;
    IF NEW.day <= v_closed THEN
        PERFORM ledger_refuse_day(NEW.day, v_closed);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entries_checked AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_entry();

CREATE FUNCTION ledger_refuse_day(p_day date, p_closed date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The books are closed up to %: nothing can be dated % any more; date it on an open day and name the day that it corrects.', p_closed, p_day
        USING ERRCODE = 'MF006';
END $$;

CREATE FUNCTION ledger_refuse_future(p_key text, p_day date, p_today date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The entry % is dated % and today is %: date it today or earlier.', p_key, p_day, p_today USING ERRCODE = 'MF006';
END $$;

CREATE FUNCTION ledger_refuse_key(p_key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'another entry was posted under the key % already: nothing was posted now', p_key USING ERRCODE = 'MF005';
END $$;

-- ledger_post writes one entry with its postings in one call. fresh is false when the same request was posted under the key before.
-- p_day is null for the day of p_now; a closed p_day is refused, or with p_or_correct becomes the day that an entry of today corrects.
CREATE FUNCTION ledger_post(
    p_site text, p_kind text, p_key text, p_hash bytea, p_subject text, p_reverses bigint, p_now timestamptz,
    p_day date, p_corrects date, p_or_correct boolean, p_codes text[], p_amounts bigint[], OUT id bigint, OUT fresh boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := coalesce(p_now, business_now());
    v_today date := (SELECT (v_now AT TIME ZONE time_zone)::date FROM sites s WHERE s.id = p_site);
    v_day date := coalesce(p_day, v_today);
    v_closed date;
    v_hash bytea;
BEGIN
    IF v_day > v_today THEN
        PERFORM ledger_refuse_future(p_key, v_day, v_today);
    END IF;
    IF v_day < v_today AND p_or_correct THEN
        SELECT max(d.day) INTO v_closed FROM ledger_days d WHERE d.site_id = p_site;
        IF v_day <= v_closed THEN
            p_corrects := v_day;
            v_day := v_today;
        END IF;
    END IF;
    INSERT INTO ledger_entries AS e (site_id, kind, idempotency_key, request_hash, business_at, subject, reverses, day, corrects)
    VALUES (p_site, p_kind, p_key, p_hash, v_now, p_subject, p_reverses, v_day, p_corrects)
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING e.id INTO id;
    fresh := id IS NOT NULL;
    IF NOT fresh THEN
        SELECT e.id, e.request_hash INTO id, v_hash FROM ledger_entries e WHERE e.idempotency_key = p_key;
        IF v_hash <> p_hash THEN
            PERFORM ledger_refuse_key(p_key);
        END IF;
        RETURN;
    END IF;
    IF v_day < v_today THEN
        SELECT max(d.day) INTO v_closed FROM ledger_days d WHERE d.site_id = p_site;
        IF v_day <= v_closed THEN
            PERFORM ledger_refuse_day(v_day, v_closed);
        END IF;
    END IF;
    INSERT INTO ledger_postings (entry_id, seq, code, amount_fen)
    SELECT ledger_post.id, p.seq, p.code, p.fen FROM unnest(p_codes, p_amounts) WITH ORDINALITY p (code, fen, seq);
END $$;

-- ledger_post_all is ledger_post for a page of entries: element i of each array is entry i; p_entry says to which entry a posting belongs.
-- It gives the ids in the order of the entries; a closed day is refused when the transaction ends. A key that was used before, or earlier on the page, gives the first id when the request
-- is the same, and refuses the whole page when it isn't.
CREATE FUNCTION ledger_post_all(
    p_site text[], p_kind text[], p_key text[], p_hash bytea[], p_subject text[], p_reverses bigint[], p_now timestamptz,
    p_day date[], p_corrects date[], p_or_correct boolean[], p_entry integer[], p_seq smallint[], p_code text[], p_fen bigint[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := coalesce(p_now, business_now());
    v_ids bigint[];
    v_new bigint[];
    k record;
BEGIN
    FOR k IN SELECT p_key[i] AS key, p_day[i] AS day, (v_now AT TIME ZONE s.time_zone)::date AS today
        FROM generate_subscripts(p_day, 1) i JOIN sites s ON s.id = p_site[i] WHERE p_day[i] > (v_now AT TIME ZONE s.time_zone)::date LIMIT 1
    LOOP
        PERFORM ledger_refuse_future(k.key, k.day, k.today);
    END LOOP;
    -- Ids are drawn before the insert; the lock that the insert takes anyway comes first, so that none is drawn while a day closes.
    LOCK TABLE ledger_entries IN ROW EXCLUSIVE MODE;
    v_ids := ARRAY(SELECT nextval('ledger_entries_id_seq') FROM generate_subscripts(p_key, 1));
    WITH sites_now AS MATERIALIZED (
        SELECT s.id, (v_now AT TIME ZONE s.time_zone)::date AS today, (SELECT max(d.day) FROM ledger_days d WHERE d.site_id = s.id) AS closed
        FROM sites s WHERE s.id = ANY (p_site)
    ), dated AS (
        SELECT i, n.today, n.closed, coalesce(p_day[i], n.today) AS day, coalesce(p_or_correct[i] AND p_day[i] <= n.closed, false) AS late
        FROM generate_subscripts(p_key, 1) i JOIN sites_now n ON n.id = p_site[i]
    ), ins AS (
        INSERT INTO ledger_entries AS e (id, site_id, kind, idempotency_key, request_hash, business_at, subject, reverses, day, corrects) OVERRIDING SYSTEM VALUE
        SELECT v_ids[i], p_site[i], p_kind[i], p_key[i], p_hash[i], v_now, p_subject[i], p_reverses[i],
            CASE WHEN late THEN today ELSE day END, CASE WHEN late THEN day ELSE p_corrects[i] END
        FROM dated ORDER BY i
        ON CONFLICT (idempotency_key) DO NOTHING RETURNING e.id
    )
    SELECT array_agg(ins.id) INTO v_new FROM ins;
    IF cardinality(v_new) = cardinality(v_ids) THEN
        INSERT INTO ledger_postings (entry_id, seq, code, amount_fen)
        SELECT v_ids[p.entry], p.seq, p.code, p.fen FROM unnest(p_entry, p_seq, p_code, p_fen) p (entry, seq, code, fen);
        RETURN v_ids;
    END IF;
    INSERT INTO ledger_postings (entry_id, seq, code, amount_fen)
    SELECT v_ids[p.entry], p.seq, p.code, p.fen FROM unnest(p_entry, p_seq, p_code, p_fen) p (entry, seq, code, fen)
    WHERE v_ids[p.entry] IN (SELECT unnest(v_new));
    FOR k IN SELECT i, e.id, e.request_hash = p_hash[i] AS same FROM generate_subscripts(p_key, 1) i
        JOIN ledger_entries e ON e.idempotency_key = p_key[i] WHERE e.id <> v_ids[i]
    LOOP
        IF NOT k.same THEN
            PERFORM ledger_refuse_key(p_key[k.i]);
        END IF;
        v_ids[k.i] := k.id;
    END LOOP;
    RETURN v_ids;
END $$;

-- What a journal row hashes to; internal/journal recomputes it in Go.
CREATE FUNCTION journal_hash(
    p_prev bytea, p_site text, p_chain text, p_seq bigint, p_event text, p_from text, p_to text, p_actor text, p_reason text,
    p_workflow text, p_run text, p_business timestamptz, p_real timestamptz, p_refs text[], p_data jsonb
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(p_prev || convert_to(
        journal_field(p_site) || journal_field(p_chain) || journal_field(p_seq::text) || journal_field(p_event)
        || journal_field(p_from) || journal_field(p_to) || journal_field(p_actor) || journal_field(p_reason)
        || journal_field(p_workflow) || journal_field(p_run)
        || journal_field((extract(epoch from p_business) * 1000000)::bigint::text)
        || journal_field((extract(epoch from p_real) * 1000000)::bigint::text)
        || journal_field(array_to_string(p_refs, ' ')) || journal_field(p_data::text), 'UTF8'))
$$;

-- As before, with fewer writes: a new chain's head is written once, and one that exists isn't inserted in vain.
CREATE OR REPLACE FUNCTION journal_append(
    p_site text, p_kind text, p_entity text, p_event text, p_from text, p_to text, p_actor text, p_reason text,
    p_workflow text, p_run text, p_refs text[], p_data jsonb
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_chain text := p_kind || '/' || p_entity;
    v_seq bigint; v_prev bytea; v_hash bytea; v_id bigint; v_there boolean;
    v_business timestamptz := business_now();
    v_real timestamptz;
    v_refs text[] := (SELECT array_agg(DISTINCT r ORDER BY r) FROM unnest(p_refs || p_entity) r WHERE r <> '');
BEGIN
    LOOP
        SELECT seq, hash INTO v_seq, v_prev FROM journal_heads WHERE chain = v_chain FOR UPDATE;
        v_there := FOUND;
        v_seq := coalesce(v_seq, 0) + 1;
        v_prev := coalesce(v_prev, '\x');
        v_real := clock_timestamp();
        v_hash := journal_hash(v_prev, p_site, v_chain, v_seq, p_event, p_from, p_to, p_actor, p_reason, p_workflow, p_run, v_business, v_real, v_refs, p_data);
        IF v_there THEN
            UPDATE journal_heads SET seq = v_seq, hash = v_hash WHERE chain = v_chain;
            EXIT;
        END IF;
        INSERT INTO journal_heads (chain, site_id, seq, hash) VALUES (v_chain, p_site, v_seq, v_hash) ON CONFLICT (chain) DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;
    INSERT INTO journal (site_id, chain, seq, kind, entity, event, from_state, to_state, actor, reason, workflow_id, run_id,
        business_at, real_at, refs, data, prev_hash, hash)
    VALUES (p_site, v_chain, v_seq, p_kind, p_entity, p_event, p_from, p_to, p_actor, p_reason, p_workflow, p_run,
        v_business, v_real, v_refs, p_data, v_prev, v_hash)
    RETURNING id INTO v_id;
    RETURN v_id;
END $$;

-- journal_append_all is journal_append for a page of rows: element i of each array is row i. Rows of one chain follow each other in the
-- order of the page; the hashes are the same as those of single calls. It returns the number of rows.
CREATE FUNCTION journal_append_all(
    p_workflow text, p_run text, p_site text[], p_kind text[], p_entity text[], p_event text[], p_from text[], p_to text[],
    p_actor text[], p_reason text[], p_refs jsonb[], p_data jsonb[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_business timestamptz := business_now();
    v_real timestamptz;
    v_chains text[] := ARRAY(SELECT p_kind[i] || '/' || p_entity[i] FROM generate_subscripts(p_entity, 1) i ORDER BY i);
    v_rounds bigint := (SELECT max(n) FROM (SELECT count(*) AS n FROM unnest(v_chains) c GROUP BY c) x);
    v_due bigint; v_done bigint;
BEGIN
    PERFORM 1 FROM journal_heads h WHERE h.chain = ANY (v_chains) ORDER BY h.chain FOR UPDATE;
    v_real := clock_timestamp();
    FOR v_round IN 1 .. coalesce(v_rounds, 0) LOOP
        WITH due AS (
            SELECT * FROM (SELECT i, v_chains[i] AS chain, row_number() OVER (PARTITION BY v_chains[i] ORDER BY i) AS n FROM generate_subscripts(v_chains, 1) i) x WHERE n = v_round
        ), linked AS (
            SELECT d.i, d.chain, coalesce(h.seq, 0) + 1 AS seq, coalesce(h.hash, '\x') AS prev,
                (SELECT array_agg(DISTINCT r ORDER BY r) FROM (SELECT jsonb_array_elements_text(p_refs[d.i]) UNION ALL SELECT p_entity[d.i]) f (r) WHERE r <> '') AS refs
            FROM due d LEFT JOIN journal_heads h ON h.chain = d.chain
        ), hashed AS MATERIALIZED (
            SELECT l.*, journal_hash(l.prev, p_site[i], l.chain, l.seq, p_event[i], p_from[i], p_to[i], p_actor[i], p_reason[i], p_workflow, p_run,
                v_business, v_real, l.refs, p_data[i]) AS hash FROM linked l ORDER BY l.i
        ), written AS (
            INSERT INTO journal (site_id, chain, seq, kind, entity, event, from_state, to_state, actor, reason, workflow_id, run_id,
                business_at, real_at, refs, data, prev_hash, hash)
            SELECT p_site[i], chain, seq, p_kind[i], p_entity[i], p_event[i], p_from[i], p_to[i], p_actor[i], p_reason[i], p_workflow, p_run,
                v_business, v_real, refs, p_data[i], prev, hash FROM hashed ORDER BY i
        ), headed AS (
            INSERT INTO journal_heads AS x (chain, site_id, seq, hash) SELECT chain, p_site[i], seq, hash FROM hashed ORDER BY chain
            ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE x.seq = excluded.seq - 1
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM hashed), (SELECT count(*) FROM headed) INTO v_due, v_done;
        IF v_done <> v_due THEN
            RAISE EXCEPTION 'a journal chain of this page was begun by another transaction meanwhile: try again' USING ERRCODE = 'serialization_failure';
        END IF;
    END LOOP;
    RETURN cardinality(v_chains);
END $$;

-- ledger_close_day closes the next open day of a site: nothing can be dated on it, or before it, any more. False when it is closed already.
CREATE FUNCTION ledger_close_day(p_site text, p_day date, p_by text, p_counted bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_today date; v_next date; v_now timestamptz;
    v_prev bytea; v_customers bigint; v_later bigint; v_entries bigint; v_members bytea; v_text text; v_cash bigint;
    v_codes text[]; v_debits bigint[]; v_credits bigint[]; v_balances bigint[];
BEGIN
    -- Waits for every writer of entries and keeps new ones waiting: what is summed here is all that there will ever be.
    LOCK TABLE ledger_entries IN SHARE ROW EXCLUSIVE MODE;
    v_now := business_now();
    SELECT (v_now AT TIME ZONE time_zone)::date INTO STRICT v_today FROM sites WHERE id = p_site;
    SELECT d.day + 1, d.digest, d.customers_fen INTO v_next, v_prev, v_customers FROM ledger_days d WHERE d.site_id = p_site ORDER BY d.day DESC LIMIT 1;
    IF p_day < v_next THEN
        RETURN false;
    END IF;
    v_next := coalesce(v_next, (SELECT min(day) FROM ledger_entries WHERE site_id = p_site), p_day);
    IF p_day >= v_today THEN
        RAISE EXCEPTION 'The day % is not over: it can be closed from the next day on.', p_day USING ERRCODE = 'MF009';
    END IF;
    IF p_day <> v_next THEN
        RAISE EXCEPTION 'Days are closed in order: close % before %.', v_next, p_day USING ERRCODE = 'MF009';
    END IF;
    SELECT count(*), sha256(coalesce(string_agg(request_hash, ''::bytea ORDER BY id), '')) INTO v_entries, v_members
    FROM ledger_entries WHERE site_id = p_site AND day = p_day;
    SELECT coalesce(min(id), (SELECT coalesce(max(id), 0) + 1 FROM ledger_entries)) INTO v_later FROM ledger_entries WHERE site_id = p_site AND day > p_day;
    SELECT coalesce(array_agg(code), '{}'), coalesce(array_agg(debit), '{}'), coalesce(array_agg(credit), '{}'), coalesce(array_agg(before + debit - credit), '{}'),
        coalesce(v_customers, 0) + coalesce(sum(debit - credit) FILTER (WHERE starts_with(code, 'customer/')), 0)
    INTO v_codes, v_debits, v_credits, v_balances, v_customers
    FROM (SELECT m.*, coalesce((SELECT t.balance_fen FROM ledger_day_totals t WHERE t.code = m.code ORDER BY t.day DESC LIMIT 1), 0) AS before
        FROM (SELECT p.code, coalesce(sum(p.amount_fen) FILTER (WHERE p.amount_fen > 0), 0)::bigint AS debit, coalesce(-sum(p.amount_fen) FILTER (WHERE p.amount_fen < 0), 0)::bigint AS credit
            FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id WHERE e.site_id = p_site AND e.day = p_day GROUP BY p.code) m
        ORDER BY m.code COLLATE "C") x;
    IF p_counted IS NOT NULL THEN
        v_cash := coalesce((SELECT v_balances[i] FROM generate_subscripts(v_codes, 1) i WHERE v_codes[i] = p_site || '/cash'),
            (SELECT t.balance_fen FROM ledger_day_totals t WHERE t.code = p_site || '/cash' ORDER BY t.day DESC LIMIT 1), 0);
        IF v_cash <> p_counted THEN
            RAISE EXCEPTION 'The cash that was counted for % is % yuan and the books say %: find the difference before you close the day.',
                p_day, to_char(p_counted / 100.0, 'FM999999999990.00'), to_char(v_cash / 100.0, 'FM999999999990.00') USING ERRCODE = 'MF009';
        END IF;
    END IF;
    v_text := journal_field(p_site) || journal_field(p_day::text) || journal_field(encode(coalesce(v_prev, ''), 'hex'))
        || journal_field(v_entries::text) || journal_field(encode(v_members, 'hex'))
        || coalesce((SELECT string_agg(journal_field(v_codes[i]) || journal_field(v_debits[i]::text) || journal_field(v_credits[i]::text) || journal_field(v_balances[i]::text), '' ORDER BY i)
            FROM generate_subscripts(v_codes, 1) i), '');
    INSERT INTO ledger_days (site_id, day, entries, debit_fen, credit_fen, accounts, customers_fen, later_entry, counted_fen, prev_digest, digest, closed_by, closed_at)
    VALUES (p_site, p_day, v_entries, (SELECT coalesce(sum(d), 0) FROM unnest(v_debits) d), (SELECT coalesce(sum(c), 0) FROM unnest(v_credits) c),
        cardinality(v_codes), v_customers, v_later, p_counted, coalesce(v_prev, ''), sha256(convert_to(v_text, 'UTF8')), p_by, v_now);
    INSERT INTO ledger_day_totals (site_id, code, day, debit_fen, credit_fen, balance_fen)
    SELECT p_site, t.code, p_day, t.debit, t.credit, t.balance FROM unnest(v_codes, v_debits, v_credits, v_balances) t (code, debit, credit, balance);
    RETURN true;
END $$;

-- A day closes in order, over what was posted and nothing else, whoever writes the row.
CREATE FUNCTION check_day() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v record; t record; v_before date;
BEGIN
    SELECT count(DISTINCT e.id) AS entries, coalesce(sum(p.amount_fen) FILTER (WHERE p.amount_fen > 0), 0) AS debit, count(DISTINCT p.code) AS accounts
    INTO v FROM ledger_entries e JOIN ledger_postings p ON p.entry_id = e.id WHERE e.site_id = NEW.site_id AND e.day = NEW.day;
    SELECT count(*) AS accounts, coalesce(sum(debit_fen), 0) AS debit, coalesce(sum(credit_fen), 0) AS credit INTO t
    FROM ledger_day_totals WHERE site_id = NEW.site_id AND day = NEW.day;
    IF (v.entries, v.debit, v.debit, v.accounts) IS DISTINCT FROM (NEW.entries, NEW.debit_fen::numeric, NEW.credit_fen::numeric, NEW.accounts::bigint)
        OR (t.accounts, t.debit, t.credit) IS DISTINCT FROM (NEW.accounts::bigint, NEW.debit_fen::numeric, NEW.credit_fen::numeric) THEN
        RAISE EXCEPTION 'the totals of % on % are not those of its postings', NEW.site_id, NEW.day USING ERRCODE = 'MF009';
    END IF;
    SELECT max(day) INTO v_before FROM ledger_days WHERE site_id = NEW.site_id AND day < NEW.day;
    IF v_before <> NEW.day - 1 OR EXISTS (SELECT 1 FROM ledger_days WHERE site_id = NEW.site_id AND day > NEW.day)
        OR v_before IS NULL AND EXISTS (SELECT 1 FROM ledger_entries WHERE site_id = NEW.site_id AND day < NEW.day) THEN
        RAISE EXCEPTION 'days of % are closed in order', NEW.site_id USING ERRCODE = 'MF009';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_days_checked AFTER INSERT ON ledger_days DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_day();

-- Whoever closes a day holds the writers off, also without ledger_close_day; and totals are written with their day, never later.
CREATE FUNCTION hold_writers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE ledger_entries IN SHARE ROW EXCLUSIVE MODE;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_days_hold_writers BEFORE INSERT ON ledger_days EXECUTE FUNCTION hold_writers();
CREATE FUNCTION check_totals_with_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM (SELECT DISTINCT site_id, day FROM new_totals) n
    WHERE (SELECT d.xmin FROM ledger_days d WHERE d.site_id = n.site_id AND d.day = n.day) IS DISTINCT FROM pg_current_xact_id()::xid LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'totals are written in the transaction that closes their day' USING ERRCODE = 'MF004';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_day_totals_with_day AFTER INSERT ON ledger_day_totals REFERENCING NEW TABLE AS new_totals
    FOR EACH STATEMENT EXECUTE FUNCTION check_totals_with_day();

-- Holds: an amount of a customer's credit that is kept back until it is posted (all of it or a part), voided, or expires.
CREATE SEQUENCE hold_no;
CREATE TABLE holds (
    id              text PRIMARY KEY,                   -- 'H<yyyymmdd>-<number>'
    site_id         text NOT NULL REFERENCES sites,
    account_id      text NOT NULL REFERENCES accounts,
    amount_fen      bigint NOT NULL CHECK (amount_fen > 0),
    purpose         text NOT NULL CHECK (purpose IN ('refund', 'transfer', 'dispute')),
    subject         text NOT NULL CHECK (subject <> ''),
    state           text NOT NULL CHECK (state IN ('open', 'posted', 'voided', 'expired')),
    idempotency_key text NOT NULL UNIQUE,
    request_hash    bytea NOT NULL,
    placed_by       text NOT NULL,                      -- user id, or 'workflow'
    placed_at       timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    posted_fen      bigint NOT NULL DEFAULT 0,
    entry_id        bigint UNIQUE REFERENCES ledger_entries,
    settled_by      text,
    settled_at      timestamptz,
    reason          text NOT NULL DEFAULT '',           -- why it was settled so
    CHECK (expires_at > placed_at),
    CHECK ((state = 'open') = (settled_at IS NULL) AND (state = 'open') = (settled_by IS NULL)),
    CHECK ((state = 'posted') = (entry_id IS NOT NULL) AND (state = 'posted') = (posted_fen > 0)),
    CONSTRAINT hold_posts_its_amount_at_most CHECK (posted_fen BETWEEN 0 AND amount_fen),
    CONSTRAINT hold_placer_is_not_poster CHECK (state <> 'posted' OR placed_by = 'workflow' OR placed_by <> settled_by)
);
CREATE INDEX holds_account ON holds (account_id, placed_at);
CREATE INDEX holds_open ON holds (site_id, expires_at) WHERE state = 'open';

CREATE FUNCTION guard_hold() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_available bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'open' THEN
            RAISE EXCEPTION 'a hold begins open' USING ERRCODE = 'MF007';
        END IF;
        UPDATE balances SET held_fen = held_fen + NEW.amount_fen WHERE account_id = NEW.account_id RETURNING balance_fen - held_fen INTO v_available;
        IF v_available IS NULL OR v_available < 0 THEN
            RAISE EXCEPTION 'Account % has % yuan available: % yuan can''t be held.', NEW.account_id,
                to_char((coalesce(v_available, 0) + NEW.amount_fen) / 100.0, 'FM999999999990.00'), to_char(NEW.amount_fen / 100.0, 'FM999999999990.00') USING ERRCODE = 'MF008';
        END IF;
        RETURN NULL;
    END IF;
    IF OLD.state <> 'open' OR NEW.state = 'open' THEN
        RAISE EXCEPTION 'Hold % is % already: a hold is settled once.', OLD.id, OLD.state USING ERRCODE = 'MF007';
    END IF;
    IF (OLD.id, OLD.site_id, OLD.account_id, OLD.amount_fen, OLD.purpose, OLD.subject, OLD.idempotency_key, OLD.request_hash, OLD.placed_by, OLD.placed_at, OLD.expires_at)
        IS DISTINCT FROM (NEW.id, NEW.site_id, NEW.account_id, NEW.amount_fen, NEW.purpose, NEW.subject, NEW.idempotency_key, NEW.request_hash, NEW.placed_by, NEW.placed_at, NEW.expires_at) THEN
        RAISE EXCEPTION 'a hold stays what it was placed for' USING ERRCODE = 'MF007';
    END IF;
    UPDATE balances SET held_fen = held_fen - OLD.amount_fen WHERE account_id = OLD.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER holds_guard AFTER INSERT OR UPDATE ON holds FOR EACH ROW EXECUTE FUNCTION guard_hold();
CREATE TRIGGER holds_never_go BEFORE DELETE ON holds FOR EACH ROW EXECUTE FUNCTION forbid_change();
CREATE TRIGGER holds_no_truncate BEFORE TRUNCATE ON holds EXECUTE FUNCTION forbid_change();

-- What a hold posted is what its entry took from the customer's credit.
CREATE FUNCTION check_hold_posted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'posted' AND NEW.posted_fen IS DISTINCT FROM (
        SELECT sum(p.amount_fen) FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
        WHERE p.entry_id = NEW.entry_id AND p.code = 'customer/' || NEW.account_id AND e.subject = NEW.id) THEN
        RAISE EXCEPTION 'hold % does not post what its entry takes', NEW.id USING ERRCODE = 'MF007';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER holds_posted AFTER UPDATE ON holds DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_hold_posted();
