package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/ledger"
)

// postAll writes many entries with their postings in the caller's transaction, in two statements and one COPY, and gives their ids by
// key. Each entry obeys the rules of Post: a repeat under the same key gets the first id.
func postAll(ctx context.Context, tx *Tx, entries []ledger.Entry) (map[string]int64, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	n := len(entries)
	sites, kinds, keys, hashes, subjects := make([]string, n), make([]string, n), make([]string, n), make([][]byte, n), make([]string, n)
	for i, e := range entries {
		if err := e.Validate(); err != nil {
			return nil, err
		}
		if e.Reverses != 0 {
			return nil, errors.New("a reversal is posted by itself")
		}
		sites[i], kinds[i], keys[i], hashes[i], subjects[i] = string(e.Site), string(e.Kind), e.Key, e.RequestHash(), e.Subject
	}
	rows, _ := tx.Query(ctx, `INSERT INTO ledger_entries (site_id, kind, idempotency_key, request_hash, business_at, subject)
		SELECT site, kind, key, hash, $6, subject FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[]) AS e (site, kind, key, hash, subject)
		ON CONFLICT (idempotency_key) DO NOTHING RETURNING idempotency_key, id`, sites, kinds, keys, hashes, subjects, tx.Now)
	ids := make(map[string]int64, n)
	var key string
	var id int64
	if _, err := pgx.ForEachRow(rows, []any{&key, &id}, func() error {
		ids[key] = id
		return nil
	}); err != nil {
		return nil, err
	}
	var postings [][]any
	for _, e := range entries {
		id, fresh := ids[e.Key]
		if !fresh {
			first, err := firstPosting(ctx, tx, e)
			if err != nil {
				return nil, err
			}
			ids[e.Key] = first
			continue
		}
		for seq, p := range e.Postings {
			postings = append(postings, []any{id, seq + 1, string(p.Code), int64(p.Amount)})
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"ledger_postings"}, []string{"entry_id", "seq", "code", "amount_fen"}, pgx.CopyFromRows(postings))
	return ids, err
}
