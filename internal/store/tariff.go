package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// AddTariff takes a validated tariff over with all its versions, as a first installation or a test does. Taking over the same
// definition again changes nothing; another one under the same id is billing.CodeConflict, because bills were rated by the first:
// prices of a tariff that exists change by a TariffChange only.
func (s *Store) AddTariff(ctx context.Context, by By, t billing.Tariff) error {
	if err := t.Validate(); err != nil {
		return err
	}
	definition, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		var same bool
		err := tx.QueryRow(ctx, `SELECT definition = $2::jsonb FROM tariffs WHERE id = $1`, t.ID, string(definition)).Scan(&same)
		if err == nil && same {
			return nil
		}
		if err == nil {
			return billing.Errorf(billing.CodeConflict, "the tariff %s exists with other prices: publish the new prices under a new id or as a later version", t.ID)
		}
		if err != pgx.ErrNoRows {
			return err
		}
		if err := insertTariff(ctx, tx, t); err != nil {
			return err
		}
		for _, v := range t.Versions {
			if err := insertVersion(ctx, tx, t.ID, v, nil); err != nil {
				return err
			}
		}
		return tx.Journal(ctx, Entry{Site: "-", Kind: "tariff", ID: string(t.ID), Event: "published", Data: json.RawMessage(definition)})
	})
}

// insertTariff adds the row of a tariff without versions.
func insertTariff(ctx context.Context, tx *Tx, t billing.Tariff) error {
	t.Versions = []billing.TariffVersion{}
	definition, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO tariffs (id, service, name_zh, name_en, definition) VALUES ($1, $2, $3, $4, $5)`,
		t.ID, t.Service, t.Name.ZH, t.Name.EN, string(definition))
	return err
}

// insertVersion publishes a version for good; change is nil for one that is taken over.
func insertVersion(ctx context.Context, tx *Tx, id billing.TariffID, v billing.TariffVersion, change *billing.TariffChangeID) error {
	version, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO tariff_versions (tariff_id, from_day, version, change_id, published_at) VALUES ($1, $2, $3, $4, $5)`,
		id, v.From, string(version), change, tx.Now)
	return err
}

// Tariff reads one tariff with all its published versions, as known now.
func (s *Store) Tariff(ctx context.Context, id billing.TariffID) (billing.Tariff, error) {
	t, err := readTariff(ctx, s.Pool, id)
	return t, translate(err)
}

func readTariff(ctx context.Context, q querier, id billing.TariffID) (billing.Tariff, error) {
	var t billing.Tariff
	var definition []byte
	if err := q.QueryRow(ctx, `SELECT definition FROM tariffs WHERE id = $1`, id).Scan(&definition); err != nil {
		return t, err
	}
	return t, json.Unmarshal(definition, &t)
}

// Tariffs reads all tariffs with their published versions, by id.
func (s *Store) Tariffs(ctx context.Context) (map[billing.TariffID]billing.Tariff, error) {
	rows, _ := s.Pool.Query(ctx, `SELECT definition FROM tariffs`)
	definitions, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, translate(err)
	}
	all := map[billing.TariffID]billing.Tariff{}
	for _, d := range definitions {
		var t billing.Tariff
		if err := json.Unmarshal(d, &t); err != nil {
			return nil, err
		}
		all[t.ID] = t
	}
	return all, nil
}
