package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/ledger"
)

// Post writes one entry with its postings, in the caller's transaction and in one call to the database, and returns its id. The same
// request under the same key is posted once: a repeat gets the first id. Another request under a used key is billing.CodeConflict, a
// closed day billing.CodeClosed. The database checks again, when the transaction ends, that the entry balances on an open day.
func Post(ctx context.Context, tx *Tx, e ledger.Entry) (int64, error) {
	if err := e.Validate(); err != nil {
		return 0, err
	}
	var id int64
	codes, amounts := columns(e)
	err := tx.QueryRow(ctx, `SELECT id FROM ledger_post($1, $2, $3, $4, $5, nullif($6, 0), $7, $8, $9, $10, $11, $12)`,
		e.Site, e.Kind, e.Key, e.RequestHash(), e.Subject, e.Reverses, tx.Now, e.Day, e.Corrects, e.OrCorrect, codes, amounts).Scan(&id)
	return id, err
}

// PostEntry posts one entry with the journal row of what it means, durable when it returns: one round trip, one transaction. It is for
// changes that are an entry and nothing else; the row's data gets the entry's id. A repeat of the same request gives the first id and
// journals nothing.
func (s *Store) PostEntry(ctx context.Context, by By, e ledger.Entry, j Entry) (int64, error) {
	if err := e.Validate(); err != nil {
		return 0, err
	}
	row, err := journalRow(by, j)
	if err != nil {
		return 0, err
	}
	var id int64
	codes, amounts := columns(e)
	err = s.Pool.QueryRow(ctx, `SELECT p.id, CASE WHEN p.fresh THEN
			journal_append($12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23::jsonb || jsonb_build_object('entry', p.id)) END
		FROM ledger_post($1, $2, $3, $4, $5, nullif($6, 0), NULL, $7, $8, $9, $10, $11) p`,
		e.Site, e.Kind, e.Key, e.RequestHash(), e.Subject, e.Reverses, e.Day, e.Corrects, e.OrCorrect, codes, amounts,
		j.Site, j.Kind, j.ID, j.Event, j.From, j.To, row.actor, row.reason, by.WorkflowID, by.RunID, row.refs, row.data).Scan(&id, nil)
	return id, translate(err)
}

func columns(e ledger.Entry) (codes []string, amounts []int64) {
	codes, amounts = make([]string, len(e.Postings)), make([]int64, len(e.Postings))
	for i, p := range e.Postings {
		codes[i], amounts[i] = string(p.Code), int64(p.Amount)
	}
	return codes, amounts
}

// PostAll is Post for a page of entries: one call, sets instead of rows, balances locked in the order of account numbers. It gives the ids
// in the order of the entries. A repeat gets the first ids, also of a page that was posted in part; another request under a used key
// refuses the whole page. Pages of some hundred to a few thousand entries are right. The caller journals the page.
//
// A charge of a day's use belongs to the day that the use ends on: Day = billing.DateOf(freeze instant − 1 ns, zone), OrCorrect = true.
func PostAll(ctx context.Context, tx *Tx, entries []ledger.Entry) ([]int64, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	p := newPostingPage(len(entries))
	for i, e := range entries {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		p.add(i, e)
	}
	var ids []int64
	err := tx.QueryRow(ctx, `SELECT ledger_post_all($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		p.site, p.kind, p.key, p.hash, p.subject, p.reverses, tx.Now, p.day, p.corrects, p.orCorrect, p.entry, p.seq, p.code, p.fen).Scan(&ids)
	return ids, err
}

// postingPage is a page of entries as columns.
type postingPage struct {
	site, kind, key, subject []string
	hash                     [][]byte
	reverses                 []*int64
	day, corrects            []billing.Date
	orCorrect                []bool
	entry                    []int32
	seq                      []int16
	code                     []string
	fen                      []int64
}

func newPostingPage(n int) *postingPage {
	return &postingPage{
		site: make([]string, n), kind: make([]string, n), key: make([]string, n), subject: make([]string, n), hash: make([][]byte, n),
		reverses: make([]*int64, n), day: make([]billing.Date, n), corrects: make([]billing.Date, n), orCorrect: make([]bool, n),
		entry: make([]int32, 0, 2*n), seq: make([]int16, 0, 2*n), code: make([]string, 0, 2*n), fen: make([]int64, 0, 2*n),
	}
}

func (p *postingPage) add(i int, e ledger.Entry) {
	p.site[i], p.kind[i], p.key[i], p.subject[i], p.hash[i] = string(e.Site), string(e.Kind), e.Key, e.Subject, e.RequestHash()
	p.day[i], p.corrects[i], p.orCorrect[i] = e.Day, e.Corrects, e.OrCorrect
	if e.Reverses != 0 {
		p.reverses[i] = &e.Reverses
	}
	for n, posting := range e.Postings {
		p.entry, p.seq = append(p.entry, int32(i+1)), append(p.seq, int16(n+1))
		p.code, p.fen = append(p.code, string(posting.Code)), append(p.fen, int64(posting.Amount))
	}
}

// ReverseEntry posts the entry that undoes another one whole. Undoing twice changes nothing.
func ReverseEntry(ctx context.Context, tx *Tx, id int64) (int64, error) {
	e, err := entryOf(ctx, tx, id)
	if err != nil {
		return 0, err
	}
	return Post(ctx, tx, ledger.Reverse(e, id))
}

func entryOf(ctx context.Context, tx pgx.Tx, id int64) (ledger.Entry, error) {
	var e ledger.Entry
	err := tx.QueryRow(ctx, `SELECT site_id, kind, idempotency_key, subject, coalesce(reverses, 0), day FROM ledger_entries WHERE id = $1`, id).
		Scan(&e.Site, &e.Kind, &e.Key, &e.Subject, &e.Reverses, &e.Day)
	if err != nil {
		return e, err
	}
	rows, _ := tx.Query(ctx, `SELECT code, amount_fen FROM ledger_postings WHERE entry_id = $1 ORDER BY seq`, id)
	e.Postings, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ledger.Posting])
	return e, err
}

// JournalAll appends a page of rows to the chains of their entities, in this transaction and in one call. Rows of one entity follow each
// other in the order given; the hashes are those that single appends give.
func (tx *Tx) JournalAll(ctx context.Context, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	n := len(entries)
	cols := make([][]string, 8)
	for i := range cols {
		cols[i] = make([]string, n)
	}
	refs, data := make([]string, n), make([]string, n)
	for i, e := range entries {
		row, err := journalRow(tx.By, e)
		if err != nil {
			return err
		}
		list, err := json.Marshal(row.refs)
		if err != nil {
			return err
		}
		for c, v := range []string{string(e.Site), e.Kind, e.ID, e.Event, e.From, e.To, row.actor, row.reason} {
			cols[c][i] = v
		}
		refs[i], data[i] = string(list), row.data
	}
	_, err := tx.Exec(ctx, `SELECT journal_append_all($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text[]::jsonb[], $12::text[]::jsonb[])`,
		tx.WorkflowID, tx.RunID, cols[0], cols[1], cols[2], cols[3], cols[4], cols[5], cols[6], cols[7], refs, data)
	return err
}
