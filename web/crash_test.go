package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCrashPage_saysNothingOfTheCrash(t *testing.T) {
	var log bytes.Buffer
	h := crashPage(slog.New(slog.NewTextHandler(&log, nil)))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret of the inside") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(&recorder{ResponseWriter: w}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "secret")
	require.Contains(t, log.String(), "secret of the inside")
	require.Contains(t, log.String(), "crash_test.go", "the log has the stack")
}
