package api_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/store"
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
	{"set terms", "POST", "/accounts/A1/terms", `{"from":"2026-12-01","tariff":"zj-residential","persons":5,"reason":"registered"}`, []string{webtest.Administrator}, 201, false},
	{"enter a quantity", "POST", "/accounts/A1/quantities", `{"month":"2026-09","kind":"kvarh","value":"12.5","reason":"read at the meter"}`, []string{webtest.Supervisor}, 201, false},
	{"end a protection", "POST", "/protections/1/end", `{"reason":"moved out","second_user":"sup1","second_password":"correct horse","third_user":"sup2","third_password":"correct horse"}`, []string{webtest.Manager}, 200, false},
	{"allow commands", "POST", "/meters/MA1/allowances", `{"reason":"trial on site","until_at":"2026-10-01T00:00:00Z","second_user":"manager","second_password":"correct horse"}`,
		[]string{webtest.Administrator}, 201, false},
	{"verify the journal", "GET", "/journal/verification", "", []string{webtest.Manager, webtest.Administrator}, 200, false},
	{"close a day", "POST", "/ledger/days/compound/2026-09-09/close", `{}`, []string{webtest.Supervisor, webtest.Manager}, 503, false},
	{"place a hold", "POST", "/accounts/A1/holds", `{"amount":"1.00","purpose":"refund","subject":"RF1","expires_at":"2026-12-01T00:00:00Z","reason":"asked for"}`, []string{webtest.Clerk}, 201, false},
	{"approve a hold", "POST", "/holds/H1/approve", `{"reason":"checked"}`, []string{webtest.Supervisor, webtest.Manager}, 409, false}, // another has approved it
	{"pay out a hold", "POST", "/holds/H1/post", `{"amount":"1.00","channel":"transfer","reason":"paid"}`, []string{webtest.Supervisor, webtest.Manager}, 200, false},
	{"release a hold", "POST", "/holds/H2/void", `{"reason":"withdrawn"}`, []string{webtest.Supervisor, webtest.Manager}, 200, false},
	{"steer the clock", "PUT", "/clock", `{"paused":true,"wanted_pace":600}`, []string{webtest.Supervisor, webtest.Manager, webtest.Administrator}, 200, true},
	{"switch the colleagues", "PUT", "/colleagues", `{"on":true,"grace_seconds":30}`, []string{webtest.Supervisor, webtest.Manager, webtest.Administrator}, 200, true},
}

// reads are all operations that only read: of one thing of the compound, and those that everybody may ask.
var (
	readsOfOne = []string{
		"/cycles/compound/2026-09-09", "/cases/X1", "/runs/compound/2026-08/1", "/runs/compound/2026-08/1/bills", "/bills/BA1-202608-1", "/recharges/R1",
		"/accounts/A1", "/accounts/A1/holds", "/ledger/balance?code=customer/A1", "/ledger/entries?code=customer/A1", "/ledger/days/compound/2026-09-10", "/meters/MA1", "/meters/MA1/readings", "/meters/MA1/allowances", "/cutoffs/C1", "/trace?q=A1", "/accounts/A1/terms",
	}
	readsOfAny = []string{
		"/sites", "/cycles", "/cases", "/runs", "/recharges", "/accounts", "/meters", "/cutoffs", "/messages", "/ledger/trial-balance", "/ledger/chart", "/ledger/days", "/clock", "/colleagues",
	}
)

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
	s.Rows(t)
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
	s.Rows(t)
	unverified(t, s, "MA1")
	_, err := s.Store.ApproveHold(t.Context(), store.By{Actor: webtest.Supervisor2, Reason: "checked"}, "H1") // so that both of the others may pay it out
	require.NoError(t, err)
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
