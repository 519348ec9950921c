package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// DayTotal is what one account moved by on an accounting day, and where it stood at the day's end.
type DayTotal struct {
	Code    Code
	Debit   billing.Money
	Credit  billing.Money // as a positive amount
	Balance billing.Money // signed: positive is a debit balance
}

// Day is a closed accounting day of a site as its seal covers it.
type Day struct {
	Site billing.SiteID
	Day  billing.Date
	// Prev is the digest of the day before; empty for the first closed day.
	Prev []byte
	// Requests are the hashes of the day's entries, in the order of their ids.
	Requests [][]byte
	Totals   []DayTotal
}

// Digest is the seal of the day: whoever changes an entry, a total or an earlier day changes it. PostgreSQL computes the same when the
// day closes (ledger_close_day).
func (d Day) Digest() []byte {
	members := sha256.New()
	for _, r := range d.Requests {
		members.Write(r)
	}
	totals := slices.Clone(d.Totals)
	slices.SortFunc(totals, func(a, b DayTotal) int { return strings.Compare(string(a.Code), string(b.Code)) })
	h := sha256.New()
	field := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	for _, f := range []string{string(d.Site), d.Day.String(), hex.EncodeToString(d.Prev), strconv.Itoa(len(d.Requests)), hex.EncodeToString(members.Sum(nil))} {
		field(f)
	}
	for _, t := range totals {
		field(string(t.Code))
		for _, m := range []billing.Money{t.Debit, t.Credit, t.Balance} {
			field(strconv.FormatInt(int64(m), 10))
		}
	}
	return h.Sum(nil)
}
