package api_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/webtest"
)

// decisions are all operations that change something, with a request that is good in itself. done is what a role that may do it gets
// without a workflow engine: 503 for all that drive a process.
var decisions = []struct {
	name, method, path, body string
	may                      []string
	done                     int
	anywhere                 bool // belongs to no one site
}{
	{"start a cycle", "POST", "/sites/compound/cycles", "", []string{webtest.Supervisor, webtest.Manager}, 503, false},
	{"read a meter", "POST", "/meters/MA1/read", "", []string{webtest.Supervisor, webtest.Manager}, 503, false},
	{"decide a case", "POST", "/cases/X1/decision", `{"decision":"accept","reason":"checked"}`, []string{webtest.Supervisor}, 503, false},
	{"verify a run", "POST", "/runs/compound/2026-08/1/verify", "", []string{webtest.Supervisor}, 503, false},
	{"issue a run", "POST", "/runs/compound/2026-08/1/issue", "", []string{webtest.Supervisor}, 503, false},
	{"hold a bill", "POST", "/bills/BA1-202608-1/hold", `{"reason":"customer complains"}`, []string{webtest.Supervisor}, 503, false},
	{"release a bill", "POST", "/bills/BA1-202608-1/release", `{"reason":"settled"}`, []string{webtest.Supervisor}, 503, false},
	{"enter a recharge", "POST", "/recharges", `{"account":"A1","amount":"100.00","channel":"cash"}`, []string{webtest.Clerk}, 503, false},
	{"approve a recharge", "POST", "/recharges/R1/approve", "", []string{webtest.Clerk}, 503, false},
	{"reject a recharge", "POST", "/recharges/R1/reject", `{"reason":"wrong slip"}`, []string{webtest.Clerk}, 503, false},
	{"order a restore", "POST", "/accounts/A1/restore", `{"reason":"paid at the desk"}`, []string{webtest.Supervisor, webtest.Manager}, 503, false},
	{"approve a cut", "POST", "/cutoffs/C1/approve", "", []string{webtest.Manager}, 503, false},
	{"cancel a cut", "POST", "/cutoffs/C1/cancel", `{"reason":"holiday"}`, []string{webtest.Supervisor, webtest.Manager}, 503, false},
	{"protect", "POST", "/accounts/A1/protections", `{"kind":"medical","from_at":"2026-09-01T00:00:00Z","until_at":"2026-12-01T00:00:00Z","reason":"dialysis"}`,
		[]string{webtest.Supervisor, webtest.Manager}, 201, false},
	{"end a protection", "POST", "/protections/1/end", `{"reason":"moved out","second_user":"sup1","second_password":"correct horse"}`, []string{webtest.Manager}, 200, false},
	{"verify the journal", "GET", "/journal/verification", "", []string{webtest.Manager, webtest.Administrator}, 200, false},
	{"steer the clock", "PUT", "/clock", `{"paused":true,"wanted_pace":600}`, []string{webtest.Supervisor, webtest.Manager, webtest.Administrator}, 200, true},
	{"switch the colleagues", "PUT", "/colleagues", `{"on":true,"grace_seconds":30}`, []string{webtest.Supervisor, webtest.Manager, webtest.Administrator}, 200, true},
}

// reads are all operations that only read: of one thing of the compound, and those that everybody may ask.
var (
	readsOfOne = []string{
		"/cycles/compound/2026-09-09", "/cases/X1", "/runs/compound/2026-08/1", "/runs/compound/2026-08/1/bills", "/bills/BA1-202608-1", "/recharges/R1",
		"/accounts/A1", "/meters/MA1", "/meters/MA1/readings", "/cutoffs/C1", "/trace?q=A1",
	}
	readsOfAny = []string{
		"/sites", "/cycles", "/cases", "/runs", "/recharges", "/accounts", "/meters", "/cutoffs", "/messages", "/ledger/trial-balance", "/clock", "/colleagues",
	}
)

// rows puts one of each thing into the compound.
func rows(t *testing.T, s *webtest.Server) {
	t.Helper()
	s.Account(t, webtest.Compound, "A1", 5_000)
	s.Account(t, webtest.Plaza, "B1", 5_000)
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
		`INSERT INTO messages (id, site_id, account_id, kind, cause, phone, body, state, queued_at) VALUES
			('S1', 'compound', 'A1', 'level1', 'N1/level1', '13900000001', 'low', 'queued', '2026-09-09T00:00Z')`,
	} {
		_, err := s.Store.Pool.Exec(context.Background(), sql)
		require.NoError(t, err, sql)
	}
}

// everybody signs in one person of each role, one who works elsewhere, and nobody.
func everybody(t *testing.T, s *webtest.Server) map[string]*webtest.Browser {
	t.Helper()
	people := map[string]*webtest.Browser{nobody: s.Open(t)}
	for _, who := range []string{webtest.Supervisor, webtest.Clerk, webtest.Manager, webtest.Administrator, webtest.Customer, webtest.OtherSupervisor} {
		people[who] = s.SignIn(t, who)
	}
	return people
}

const nobody = "nobody"

func TestAuthority_reads(t *testing.T) {
	s := webtest.New(t)
	rows(t, s)
	for who, b := range everybody(t, s) {
		for _, path := range append(slices.Clone(readsOfOne), readsOfAny...) {
			want := http.StatusOK
			switch {
			case who == nobody:
				want = http.StatusUnauthorized
			case who == webtest.Customer:
				want = http.StatusForbidden
			case who == webtest.OtherSupervisor && slices.Contains(readsOfOne, path):
				want = http.StatusNotFound
			}
			a := b.Get("/api/v1" + path)
			require.Equal(t, want, a.Status, "%s reads %s: %s", who, path, a.Body)
			if who == webtest.OtherSupervisor {
				require.NotContains(t, a.Body, `"compound"`, "%s of the plaza reads %s", who, path)
			}
		}
	}
}

func TestAuthority_decisions(t *testing.T) {
	s := webtest.New(t)
	rows(t, s)
	people := everybody(t, s)
	for _, d := range decisions {
		for who, b := range people {
			want := http.StatusForbidden
			switch {
			case who == nobody:
				want = http.StatusUnauthorized
			case slices.Contains(d.may, who), d.anywhere && who == webtest.OtherSupervisor:
				want = d.done
			case who == webtest.OtherSupervisor && slices.Contains(d.may, webtest.Supervisor):
				want = http.StatusNotFound
			}
			a := b.JSON(d.method, "/api/v1"+d.path, d.body)
			require.Equal(t, want, a.Status, "%s tries to %s: %s", who, d.name, a.Body)
			if want == http.StatusServiceUnavailable {
				require.Contains(t, a.Body, "was not taken", "%s tries to %s", who, d.name)
			}
		}
	}
}
