package demo

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/proof"
)

func TestMakeReport_ofTheFirstDay(t *testing.T) {
	ctx := context.Background()
	s, _ := seeded(t)
	for _, statement := range []string{
		`INSERT INTO cycles (id, site_id, day, freeze_at, window_end, state, opened_at) VALUES ('garden/2026-09-01', 'garden', '2026-09-01', '2026-08-31T16:00Z', '2026-08-31T22:00Z', 'closed', '2026-08-31T16:05Z')`,
		`INSERT INTO cycle_meters (cycle_id, meter_id, gateway_id) SELECT 'garden/2026-09-01', id, gateway_id FROM meters WHERE id IN ('M1000001', 'M1000002')`,
		`SELECT ensure_reading_partition('2026-08-31T16:00Z')`,
		`INSERT INTO readings (meter_id, freeze_at, version, taken_at, taken_real, quality, registers, recorded_by) VALUES
			('M1000001', '2026-08-31T16:00Z', 1, '2026-08-31T16:05Z', now(), 'actual', '{1,0,1,0,0,0}', 'workflow'),
			('M1000001', '2026-08-31T16:00Z', 2, '2026-08-31T16:05Z', now(), 'manual', '{2,0,2,0,0,0}', 'clerk1')`,
		`INSERT INTO cases (id, site_id, kind, cause, blocking, state, opened_at, due_at) VALUES ('X1', 'garden', 'missing', 'c', true, 'open', now(), now())`,
	} {
		_, err := s.Pool.Exec(ctx, statement)
		require.NoError(t, err, statement)
	}
	r, err := MakeReport(ctx, s, Outside{
		Devices: DeviceCounts{Requests: 7, Timeouts: 1}, Faults: simulator.FaultCounts{Injected: map[simulator.FaultKind]int{"silent": 2, "slow": 1}},
		Invariants: []proof.Invariant{{Name: "x", Checked: 1}}, Took: 1500 * time.Millisecond,
	})
	require.NoError(t, err)
	require.Equal(t, 1, r.BusinessDays)
	require.Equal(t, ReadingCounts{Planned: 2, Stored: 1, Manual: 1, Missing: 1}, r.Readings, "the newest version counts, once")
	require.Equal(t, ExceptionCounts{Opened: 1, Open: 1, ByKind: map[string]int64{"missing": 1}}, r.Exceptions)
	require.Equal(t, DeviceCounts{Requests: 7, Timeouts: 1, FaultsInjected: 3}, r.Devices)
	require.EqualValues(t, 300, r.Ledger.Entries)
	require.True(t, r.Ledger.Balanced)
	require.Positive(t, r.Ledger.DebitFen)
	require.True(t, r.Journal.ChainOK)
	require.Empty(t, r.Failures())

	// The names are a contract with whoever reads reports.
	text, err := json.Marshal(r)
	require.NoError(t, err)
	for _, field := range []string{
		`"business_days":1`, `"readings":{"planned":2,"stored":1,`, `"exceptions":{"opened":1,"resolved":0,"open":1,"by_kind":{"missing":1}}`,
		`"bills":{"issued":0,"cancelled":0,"total_fen":0}`, `"reminders":{"sent":0,"delivered":0}`,
		`"recharges":{"requested":0,"credited":0,"rejected":0,"in_doubt":0,"total_fen":0}`, `"cutoffs":{"verified":0,"prevented":0,"cancelled":0,"unknown":0}`,
		`"restores":{"verified":0,"unknown":0}`, `"balanced":true`, `"chain_ok":true`, `"faults_injected":3`,
		`"invariants":[{"name":"x","checked":1,"violations":0}]`, `"took_seconds":1.5`,
	} {
		require.Contains(t, string(text), field)
	}
}

func TestFailures(t *testing.T) {
	good := Report{
		BusinessDays: 35, Readings: ReadingCounts{Stored: 1}, Exceptions: ExceptionCounts{Resolved: 1}, Runs: RunCounts{Issued: 2},
		Reminders: ReminderCounts{Delivered: 1}, Recharges: RechargeCounts{Credited: 1}, Cutoffs: CutoffCounts{Verified: 1}, Restores: RestoreCounts{Verified: 1},
		Ledger: LedgerCounts{Entries: 1, Balanced: true}, Journal: JournalCounts{ChainOK: true}, Invariants: []proof.Invariant{{Name: "x", Checked: 1}},
	}
	require.Empty(t, good.Failures())
	for name, spoil := range map[string]func(*Report){
		"second site":        func(r *Report) { r.Runs.Issued = 1 },
		"no cut":             func(r *Report) { r.Cutoffs.Verified = 0 },
		"no restore":         func(r *Report) { r.Restores.Verified = 0 },
		"books":              func(r *Report) { r.Ledger.Balanced = false },
		"chain":              func(r *Report) { r.Journal.ChainOK = false },
		"1 of 1 violated":    func(r *Report) { r.Invariants = []proof.Invariant{{Name: "x", Checked: 1, Violations: 1}} },
		"nothing to check":   func(r *Report) { r.Invariants = []proof.Invariant{{Name: "x"}} },
		"no invariant":       func(r *Report) { r.Invariants = nil },
		"exception decided":  func(r *Report) { r.Exceptions.Resolved = 0 },
		"days no reading cy": func(r *Report) { r.Readings.Stored = 0 },
	} {
		bad := good
		spoil(&bad)
		require.Len(t, bad.Failures(), 1, name)
		require.Contains(t, strings.Join(bad.Failures(), ""), name)
	}
	short := good
	short.BusinessDays, short.Runs.Issued, short.Cutoffs.Verified, short.Restores.Verified = 5, 0, 0, 0
	require.Empty(t, short.Failures(), "five days are too short for a cut or a bill")
}
