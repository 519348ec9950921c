package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/meterflow/meterflow/internal/billing"
)

// Box is a multi-circuit box: one device on a gateway's line with a run of consecutive unit ids, whose circuits are meters.
type Box struct {
	ID       string
	Site     billing.SiteID    `db:"site_id"`
	Gateway  billing.GatewayID `db:"gateway_id"`
	Base     int               `db:"base_unit"` // first unit id: 1 + k × Circuits
	Circuits int               // 12, 24 or 36
}

// Last is its last unit id.
func (b Box) Last() int { return b.Base + b.Circuits - 1 }

const selectBox = `SELECT id, site_id, gateway_id, base_unit, circuits FROM boxes`

// Box reads one box.
func (s *Store) Box(ctx context.Context, id string) (Box, error) {
	rows, _ := s.Pool.Query(ctx, selectBox+` WHERE id = $1`, id)
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Box])
	return b, translate(err)
}

// Boxes reads the boxes on a gateway's line, by unit id.
func (s *Store) Boxes(ctx context.Context, gateway billing.GatewayID) ([]Box, error) {
	rows, _ := s.Pool.Query(ctx, selectBox+` WHERE gateway_id = $1 ORDER BY base_unit`, gateway)
	bs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Box])
	return bs, translate(err)
}

// AddBox registers a box on the line of its gateway, whose site it belongs to. Its unit ids must be free on the line: billing.CodeConflict.
func (s *Store) AddBox(ctx context.Context, by By, b Box) error {
	if err := checkAsset(b.ID); err != nil {
		return err
	}
	switch {
	case b.Circuits != 12 && b.Circuits != 24 && b.Circuits != 36:
		return billing.Errorf(billing.CodeInvalidInput, "a box has 12, 24 or 36 circuits, not %d", b.Circuits)
	case b.Base < 1 || (b.Base-1)%b.Circuits != 0 || b.Base+b.Circuits > 248:
		return billing.Errorf(billing.CodeInvalidInput, "a box of %d circuits begins at unit 1, %d and so on up to 247, not at %d", b.Circuits, b.Circuits+1, b.Base)
	}
	return s.Change(ctx, by, func(tx *Tx) error {
		if err := tx.QueryRow(ctx, `SELECT site_id FROM gateways WHERE id = $1`, b.Gateway).Scan(&b.Site); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO boxes (id, site_id, gateway_id, base_unit, circuits) VALUES ($1, $2, $3, $4, $5)`, b.ID, b.Site, b.Gateway, b.Base, b.Circuits); err != nil {
			return err
		}
		return tx.Journal(ctx, Entry{Site: b.Site, Kind: "gateway", ID: string(b.Gateway), Event: "box_added", Refs: []string{b.ID},
			Data: map[string]any{"box": b.ID, "base_unit": b.Base, "circuits": b.Circuits}})
	})
}
