package api_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/session"
	"github.com/meterflow/meterflow/internal/store"
)

var update = flag.Bool("update", false, "write the golden OpenAPI document anew")

// routes is an API whose database nobody listens at: enough for its routes and its document.
func routes(t *testing.T, demo bool) chi.Router {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := &store.Store{Pool: pool}
	r, ok := api.New(api.Config{Store: s, Sessions: session.New(session.Config{Store: s}), Demo: demo}).(chi.Router)
	require.True(t, ok)
	return r
}

func document(t *testing.T, r http.Handler) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.json", nil))
	require.Equal(t, http.StatusOK, w.Code)
	return append(w.Body.Bytes(), '\n')
}

func TestDocument_isGolden(t *testing.T) {
	golden := filepath.Join("openapi.golden.json")
	got := document(t, routes(t, true))
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "the API changed: look at the difference, then go test ./api -run Document -update")
}

func TestDocument_hasEveryRouteAndNoOther(t *testing.T) {
	for _, demo := range []bool{false, true} {
		r := routes(t, demo)
		var served []string
		require.NoError(t, chi.Walk(r, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			if route != "/openapi.json" {
				served = append(served, method+" "+route)
			}
			return nil
		}))
		var doc struct {
			Paths map[string]map[string]json.RawMessage `json:"paths"`
		}
		require.NoError(t, json.Unmarshal(document(t, r), &doc))
		var described []string
		for path, operations := range doc.Paths {
			for method := range operations {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
		slices.Sort(served)
		slices.Sort(described)
		require.Equal(t, described, served)
		require.Equal(t, demo, slices.Contains(served, "PUT /clock"), "a real utility's clock can't be steered")
	}
}

func TestDocument_hasNoBinaryFloat(t *testing.T) {
	var doc any
	require.NoError(t, json.Unmarshal(document(t, routes(t, true)), &doc))
	require.Empty(t, floats("", doc))
	planted := map[string]any{"a": []any{map[string]any{"type": "number"}, map[string]any{"type": []any{"number", "null"}}, map[string]any{"type": "integer", "format": "double"}}}
	require.Len(t, floats("", planted), 3, "the scan itself")
}

// floats finds the schemas that would carry a binary float.
func floats(at string, v any) []string {
	var found []string
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			isType := key == "type" && (x == "number" || isNumberOrNull(x))
			if isType || key == "format" && (x == "double" || x == "float") {
				found = append(found, at+"/"+key)
				continue
			}
			found = append(found, floats(at+"/"+key, x)...)
		}
	case []any:
		for _, x := range v {
			found = append(found, floats(at+"/[]", x)...)
		}
	}
	return found
}

func isNumberOrNull(v any) bool {
	list, ok := v.([]any)
	return ok && slices.Contains(list, any("number"))
}

func TestDocument_amountsAreWholeFen(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Type   any    `json:"type"`
					Format string `json:"format"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(document(t, routes(t, true)), &doc))
	amounts := 0
	for name, schema := range doc.Components.Schemas {
		for field, p := range schema.Properties {
			if strings.HasSuffix(field, "_fen") {
				amounts++
				require.Equal(t, "int64", p.Format, "%s.%s", name, field)
			}
		}
	}
	require.Greater(t, amounts, 10)
}
