package runs_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
	"github.com/meterflow/meterflow/workflows"
)

// The progress stands on the page while a run rates and while it posts, and nowhere else. It comes from the tables: there is no engine here.
func TestProgress(t *testing.T) {
	s, _ := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	require.Zero(t, b.Get(path).Find("progress").Length(), "nothing runs while it waits")
	ctx, run := context.Background(), "compound/2026-09/1"
	set := func(sql string) {
		_, err := s.Store.Pool.Exec(ctx, sql, run)
		require.NoError(t, err)
	}
	set(`UPDATE billing_runs SET state = 'rating' WHERE id = $1`)
	set(`UPDATE billing_chunks SET accounts = 1200, rated = 500 WHERE run_id = $1`)
	rating := b.Get(path)
	require.Contains(t, rating.Find("progress").Text(), "500 / 1,200")
	require.Contains(t, rating.Find("run").Find("[data-testid=progress]").Text(), "Accounts rated", "inside the region that is renewed")

	set(`UPDATE billing_runs SET state = 'verified', verified_by = 'sup1', issued_by = 'sup2' WHERE id = $1`)
	set(`UPDATE billing_chunks SET bills = 1100, issued = 300 WHERE run_id = $1`)
	require.Contains(t, b.Get(path).Find("progress").Text(), "300 / 1,100")
	require.Zero(t, b.Get(path).Find("action-cancel").Length(), "too late")
}

func TestCancel(t *testing.T) {
	s, rec := rated(t)
	b := s.SignIn(t, webtest.Supervisor)
	a := b.Post(path+"/cancel", "reason", "")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Post(path+"/cancel", "reason", "x").Status)
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Post(path+"/cancel", "reason", "x").Status)
	require.Empty(t, rec.Updates)
	require.Equal(t, http.StatusSeeOther, b.Post(path+"/cancel", "reason", "the tariff was wrong").Status)
	require.Equal(t, workflows.UpdateCancelRun, rec.Updates[0].UpdateName)

	require.NoError(t, s.Store.CancelRun(context.Background(), store.By{Actor: webtest.Supervisor}, "compound/2026-09/1", "the tariff was wrong"))
	page := b.Get(path)
	require.Zero(t, page.Find("action-cancel").Length())
	require.Zero(t, page.Find("action-verify").Length())
}
