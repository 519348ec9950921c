package download_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/download"
)

func TestSend(t *testing.T) {
	failed := errors.New("the database went away")
	serve := func(write func(io.Writer) error) (*http.Response, []byte, error) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if err := download.Send(w, download.File{Name: "账单.pdf", ContentType: "application/pdf", Inline: true}, write); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		}))
		defer s.Close()
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
	big := bytes.Repeat([]byte("x"), 1<<20)

	resp, body, err := serve(func(w io.Writer) error { _, err := w.Write(big); return err })
	require.NoError(t, err)
	require.Equal(t, big, body)
	require.Equal(t, "application/pdf", resp.Header.Get("Content-Type"))
	require.Equal(t, "inline; filename*=utf-8''%E8%B4%A6%E5%8D%95.pdf", resp.Header.Get("Content-Disposition"))

	resp, body, err = serve(func(w io.Writer) error { _, _ = w.Write([]byte("a little")); return failed })
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, resp.StatusCode, "nothing was sent yet: it is a refusal")
	require.NotContains(t, string(body), "a little")

	_, _, err = serve(func(w io.Writer) error { _, _ = w.Write(big); return failed })
	require.Error(t, err, "half a file must not look like a whole one")
}
