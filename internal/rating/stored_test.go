package rating_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// Bills that engine rating/1 made and stored come out the same, line by line. testdata/rating1.jsonl was written by that engine.
func TestAgain_billsOfTheFirstEngine(t *testing.T) {
	data, err := os.ReadFile("testdata/rating1.jsonl")
	require.NoError(t, err)
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, 1<<20)
	count := 0
	for ; scanner.Scan(); count++ {
		var bill struct {
			Engine   string          `json:"engine"`
			TotalFen billing.Money   `json:"total_fen"`
			Quantity int64           `json:"quantity"`
			Lines    json.RawMessage `json:"lines"`
			Input    json.RawMessage `json:"input"`
		}
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &bill))
		require.Equal(t, "rating/1", bill.Engine)
		again, err := rating.Again(bill.Engine, bill.Input)
		require.NoError(t, err)
		require.Equal(t, bill.TotalFen, again.Total)
		require.Equal(t, bill.Quantity, again.Use.Total())
		lines, err := json.Marshal(again.Lines)
		require.NoError(t, err)
		require.JSONEq(t, string(bill.Lines), string(lines))
	}
	require.Equal(t, 50, count)
	_, err = rating.Again("rating/9", []byte(`{}`))
	require.ErrorContains(t, err, "use the program that made it")
}

// Whatever is rated comes out of its stored input again, to the last byte.
func TestAgain_isIdentical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawAny(t)
		first, err := rating.Rate(in)
		require.NoError(t, err)
		stored, err := json.Marshal(in.Store())
		require.NoError(t, err)
		again, err := rating.Again(rating.Engine, stored)
		require.NoError(t, err)
		a, err := json.Marshal(first)
		require.NoError(t, err)
		b, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(a), string(b))
	})
}

// A Rater that has priced others gives what a fresh one gives.
func TestRater_remembersNothingOfOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var used rating.Rater
		for range rapid.IntRange(1, 4).Draw(t, "accounts") {
			in := drawAny(t)
			for range 2 {
				out, err := used.Rate(&in)
				require.NoError(t, err)
				fresh, err := rating.Rate(in)
				require.NoError(t, err)
				a, err := json.Marshal(fresh)
				require.NoError(t, err)
				b, err := json.Marshal(out)
				require.NoError(t, err)
				require.JSONEq(t, string(a), string(b))
			}
		}
	})
}
