package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store/storetest"
	"github.com/meterflow/meterflow/internal/webtest"
)

// A reader, who sees no other page, walks a round over the API.
func TestRounds_overTheAPI(t *testing.T) {
	s := webtest.NewWithEngine(t)
	meter := s.Account(t, webtest.Compound, "A1", 0)
	day := billing.MustDate("2026-09-11")
	s.Read(t, webtest.Compound, day, map[billing.MeterID]billing.Registers{meter: {1000, 0, 0, 1000, 0, 0}})
	storetest.SetClock(t, s.Store, day.At(8, 0, storetest.Zone))
	sup, reader, other := s.SignIn(t, webtest.Supervisor), s.SignIn(t, webtest.Reader), s.SignIn(t, webtest.Reader2)
	ask := func(b *webtest.Browser, path, body string, status int, out any) {
		t.Helper()
		a := b.JSON(http.MethodPost, "/api/v1"+path, body)
		require.Equal(t, status, a.Status, a.Body)
		if out != nil {
			require.NoError(t, json.Unmarshal([]byte(a.Body), out))
		}
	}
	var route, round struct{ ID, State string }
	ask(reader, "/sites/compound/routes", `{"name":"x","kind":"check","meters":["`+string(meter)+`"]}`, http.StatusForbidden, nil)
	ask(sup, "/sites/compound/routes", `{"name":"x","kind":"check","meters":["M0"]}`, http.StatusUnprocessableEntity, nil)
	ask(sup, "/sites/compound/routes", `{"name":"东区","kind":"check","meters":["`+string(meter)+`"]}`, http.StatusOK, &route)
	ask(sup, "/rounds", `{"route":"`+route.ID+`","due":"2026-09-10"}`, http.StatusUnprocessableEntity, nil)
	ask(sup, "/rounds", `{"route":"`+route.ID+`","due":"2026-09-11"}`, http.StatusCreated, &round)
	at := "/rounds/" + round.ID
	ask(sup, at+"/assign", `{"reader":"`+webtest.Reader+`"}`, http.StatusOK, nil)
	storetest.SetClock(t, s.Store, day.At(10, 0, storetest.Zone))

	require.Equal(t, http.StatusNotFound, other.JSON(http.MethodGet, "/api/v1"+at, "").Status)
	require.Equal(t, http.StatusOK, reader.JSON(http.MethodGet, "/api/v1/rounds?site=compound", "").Status)
	require.Equal(t, http.StatusForbidden, reader.JSON(http.MethodGet, "/api/v1/reader-findings", "").Status)
	var verdicts struct {
		Values []struct {
			Taken, Confirm bool
			Refused        string
			Warnings       []struct {
				Rule    string
				Numbers map[string]string
			}
		}
	}
	ask(reader, at+"/values", `{"values":[{"meter":"`+string(meter)+`","registers":[900,0,0,900,0,0]}]}`, http.StatusOK, &verdicts)
	require.True(t, verdicts.Values[0].Confirm)
	require.Equal(t, "negative", verdicts.Values[0].Warnings[0].Rule)
	require.Empty(t, verdicts.Values[0].Warnings[0].Numbers, "the numbers would tell the last value")
	ask(sup, at+"/values", `{"values":[{"meter":"`+string(meter)+`","registers":[1050,0,0,1050,0,0]}]}`, http.StatusForbidden, nil)
	ask(reader, at+"/values", `{"values":[{"meter":"`+string(meter)+`","registers":[1050,0,0,1050,0,0]}]}`, http.StatusOK, &verdicts)
	require.True(t, verdicts.Values[0].Taken)
	ask(reader, at+"/submit", `{}`, http.StatusOK, nil)
	ask(reader, at+"/accept", `{}`, http.StatusForbidden, nil)
	ask(sup, at+"/accept", `{}`, http.StatusOK, nil)
	require.Eventually(t, func() bool {
		r, err := s.Store.Round(t.Context(), billing.RoundID(round.ID))
		return err == nil && r.State == billing.RoundClosed
	}, webtest.Patience, webtest.Pause)
	ask(sup, at+"/cancel", `{"reason":"x"}`, http.StatusConflict, nil)
}
