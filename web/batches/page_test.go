package batches_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/internal/webtest"
)

func TestBatches_withoutTheEngine(t *testing.T) {
	s := webtest.New(t)
	meter := s.Account(t, webtest.Compound, "A1", 0)
	sup := s.SignIn(t, webtest.Supervisor)
	require.Equal(t, 1, sup.Get("/batches").Find("empty").Length())
	form := sup.Get("/batches/new?meters=" + string(meter))
	require.Equal(t, http.StatusOK, form.Status, form.Body)
	require.Equal(t, 6, form.Find("field-work").Find("input").Length(), "no answer takes supply away")
	require.Contains(t, form.Find("field-meters").Text(), string(meter))
	a := sup.Post("/batches", "site", "compound", "work", "relay/trip", "reason", "")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Find("error-work").Text(), "choose one of the answers")
	require.Contains(t, a.Find("error-reason").Text(), "say why")
	a = sup.Post("/batches", "site", "compound", "work", "relay/keep_on", "rate", "x", "reason", "storm")
	require.Contains(t, a.Find("error-rate").Text(), "whole number")
	require.Equal(t, http.StatusServiceUnavailable, sup.Post("/batches", "site", "compound", "work", "relay/keep_on", "reason", "storm").Status)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Clerk).Get("/batches/new").Status)
	require.Equal(t, http.StatusForbidden, s.SignIn(t, webtest.Reader).Get("/batches").Status)
}

// A batch of every state of its members is shown, in both languages, to those who work for its site.
func TestBatches_everyResultIsShown(t *testing.T) {
	s := webtest.New(t)
	ctx := context.Background()
	by := store.By{Actor: webtest.Supervisor}
	n := store.NewBatch{ID: "B-7", Site: webtest.Compound, Kind: billing.BatchRelay, Action: billing.BatchRelease, Rate: 30, Reason: "storm is over", Expires: 1e12}
	for i, skip := range billing.SkipReasons {
		account := billing.AccountID("A" + string(rune('a'+i)))
		meter := s.Account(t, webtest.Compound, account, 0)
		n.Members = append(n.Members, store.NewBatchMember{BatchFacts: store.BatchFacts{Meter: meter, Account: &account, Gateway: "G-compound"}, Skip: skip})
	}
	account := billing.AccountID("A1")
	n.Members = append(n.Members, store.NewBatchMember{BatchFacts: store.BatchFacts{Meter: s.Account(t, webtest.Compound, account, 0), Account: &account, Gateway: "G-compound"}})
	require.NoError(t, s.Store.PlanBatch(ctx, by, n))
	sup, sup2 := s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Supervisor2)
	require.Contains(t, sup.Get("/batches").Find("row-B-7").Text(), "release the hold")
	own := sup.Get("/batches/B-7")
	require.Equal(t, http.StatusOK, own.Status, own.Body)
	require.Contains(t, own.Find("why-start").Text(), "another person must start it")
	require.Contains(t, own.Find("notice").Text(), "nothing was sent")
	require.Equal(t, len(billing.SkipReasons), own.Find("table-skips").Find("tbody tr").Length())
	require.Contains(t, own.Find("row-would_trip").Text(), "cut its customer by itself")
	other := sup2.Get("/batches/B-7")
	require.Equal(t, 1, other.Find("action-start").Find("form").Length())
	require.Contains(t, other.Find("action-start").Text(), "Start: 1 meters")
	require.Equal(t, 1, sup2.Get("/batches/B-7?state=pending").Find("table-members").Find("tbody tr").Length())
	require.Equal(t, http.StatusNotFound, s.SignIn(t, webtest.OtherSupervisor).Get("/batches/B-7").Status)
	require.Contains(t, s.SignIn(t, webtest.Clerk).Get("/batches/B-7").Find("why-cancel").Text(), "may not order work on many meters")
	require.Equal(t, http.StatusNotFound, sup.Get("/batches/B-8").Status)
	_, err := s.Store.Pool.Exec(ctx, `UPDATE batch_members SET state = 'refused', note = 'the meter still holds its former prices; the meter refused function 0x10 with exception 0x03' WHERE batch_id = 'B-7' AND skip = ''`)
	require.NoError(t, err)
	sup2.Header.Set("Accept-Language", "zh")
	zh := sup2.Get("/batches/B-7").Body
	require.Contains(t, zh, "表内仍为原价格；表计拒绝功能码 0x10，异常码 0x03")
	for _, english := range []string{"Left alone", "Result per meter", "batches.", "state."} {
		require.False(t, strings.Contains(zh, ">"+english), english)
	}
}

// A list that was pasted becomes a preview, is started by another, and ends with a result per meter. The gateways here answer nothing.
func TestBatches_fromPreviewToResults(t *testing.T) {
	s := webtest.NewWithEngine(t)
	one, two := s.Account(t, webtest.Compound, "A1", 5000), s.Account(t, webtest.Compound, "A2", 5000)
	stranger := s.Account(t, webtest.Plaza, "A3", 5000)
	sup := s.SignIn(t, webtest.Supervisor)
	wish := []string{"site", "compound", "work", "relay/keep_on", "reason", "storm", "rate", "600", "nonce", "n1", "meters"}
	refused := sup.Post("/batches", append(wish, string(one)+"\r\n"+string(stranger))...)
	require.Equal(t, http.StatusUnprocessableEntity, refused.Status)
	require.Contains(t, refused.Find("action-error").Text(), "meter "+string(stranger)+" is not one of the fitted meters of site compound")
	require.Contains(t, refused.Find("field-meters").Text(), string(stranger), "what was pasted is kept")
	made := sup.Post("/batches", append(wish, string(one)+", "+string(two)+" "+string(one))...)
	require.Equal(t, http.StatusSeeOther, made.Status, made.Body)
	batch := made.Header.Get("Location")
	preview := sup.Get(batch)
	require.Equal(t, 2, preview.Find("table-members").Find("tbody tr").Length())
	require.Contains(t, preview.Find("row-"+string(one)).Text(), "To do")
	require.Equal(t, http.StatusSeeOther, sup.Post(batch+"/start", "nonce", "s1").Status)
	require.Eventually(t, func() bool {
		return sup.Get(batch).Doc().Find(`[data-kind="batch"][data-state="done"]`).Length() > 0
	}, webtest.Patience, webtest.Pause)
	done := sup.Get(batch)
	row := done.Find("row-" + string(one))
	require.Contains(t, row.Text(), "nothing was sent")
	require.Equal(t, 1, row.Find(`a[href^="/meters/"]`).Length())
	require.Equal(t, 1, row.Find(`a[href^="/trace?q=D"]`).Length(), "the command is a click away")
	require.Zero(t, done.Find("action-cancel").Length())
	require.Equal(t, http.StatusConflict, sup.Post(batch+"/cancel", "reason", "late").Status)
}
