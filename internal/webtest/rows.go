package webtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Rows puts one of each thing into the compound, around account A1, and account B1 into the plaza. The rows have no workflows.
func (s *Server) Rows(t testing.TB) {
	t.Helper()
	s.Account(t, Compound, "A1", 5_000)
	s.Account(t, Plaza, "B1", 5_000)
	for _, sql := range []string{
		`INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES
			('compound/2026-09-09', 'compound', '2026-09-09', '2026-09-08T16:00Z', '2026-09-08T22:00Z', 'sweeping', '2026-09-08T16:05Z')`,
		`INSERT INTO cycle_meters (cycle_id, meter_id, gateway_id, outcome) VALUES ('compound/2026-09-09', 'MA1', 'G-compound', 'silent')`,
		`INSERT INTO cases (id, site_id, kind, cause, blocking, state, cycle_id, meter_id, account_id, opened_at, due_at) VALUES
			('X1', 'compound', 'missing', 'compound/2026-09-09/missing/MA1', true, 'open', 'compound/2026-09-09', 'MA1', 'A1', '2026-09-08T22:00Z', '2026-09-09T22:00Z')`,
		`INSERT INTO case_members (case_id, meter_id, freeze_at, rule) VALUES ('X1', 'MA1', '2026-09-08T16:00Z', 'missing')`,
		`INSERT INTO billing_runs (id, site_id, period_from, period_to, version, state, opened_at, opened_by) VALUES
			('compound/2026-08/1', 'compound', '2026-08-01', '2026-09-01', 1, 'awaiting_verification', '2026-09-01T00:00Z', 'workflow')`,
		`INSERT INTO bills (id, run_id, site_id, account_id, period_from, period_to, version, state, tariff_id, engine, quantity, readings, input, total_fen) VALUES
			('BA1-202608-1', 'compound/2026-08/1', 'compound', 'A1', '2026-08-01', '2026-09-01', 1, 'draft', 'zj-residential', '1', 10000, '[]', '{}', 5380)`,
		`INSERT INTO recharges (id, site_id, account_id, amount_fen, channel, evidence, state, idempotency_key, request_hash, entered_by, entered_at, expires_at) VALUES
			('R1', 'compound', 'A1', 10000, 'cash', '', 'entered', 'k1', '\x00', 'clerk2', '2026-09-10T00:00Z', '2026-09-13T00:00Z')`,
		`INSERT INTO cutoffs (id, site_id, account_id, state, planned_at, opened_at) VALUES ('C1', 'compound', 'A1', 'awaiting_manager', '2026-09-11T02:00Z', '2026-09-09T00:00Z')`,
		`INSERT INTO uncharged (account_id, site_id, reason, since_at) VALUES ('A1', 'compound', 'The kVA of account A1 are not known.', '2026-09-09T00:00Z')`,
		`INSERT INTO messages (id, site_id, account_id, kind, cause, phone, body, state, queued_at) VALUES
			('S1', 'compound', 'A1', 'level1', 'N1/level1', '13900000001', 'low', 'queued', '2026-09-09T00:00Z')`,
		`INSERT INTO holds (id, site_id, account_id, amount_fen, purpose, subject, state, idempotency_key, request_hash, placed_by, placed_at, expires_at) VALUES
			('H1', 'compound', 'A1', 500, 'refund', 'RF-1', 'open', 'h1', '\x00', 'clerk2', '2026-09-09T00:00Z', '2026-10-01T00:00Z'),
			('H2', 'compound', 'A1', 300, 'refund', 'RF-2', 'open', 'h2', '\x00', 'clerk2', '2026-09-09T00:00Z', '2026-10-01T00:00Z')`,
	} {
		_, err := s.Store.Pool.Exec(context.Background(), sql)
		require.NoError(t, err, sql)
	}
}
