// Package journal is the hash chain over every state change: what a row hashes to, and how a chain is checked.
//
// Rows are appended inside PostgreSQL by journal_append (migration 0001), in the transaction that changes the state; this package
// recomputes the same hashes in Go, so that a mistake or a hand in the database shows. It owns no storage: the caller streams rows in.
package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Row is one journal row as stored.
type Row struct {
	ID         int64
	Site       string
	Chain      string // "<kind>/<id>" of the entity that is locked anyway
	Seq        int64  // 1, 2, 3 … within the chain
	Event      string
	From, To   string
	Actor      string
	Reason     string
	WorkflowID string
	RunID      string
	BusinessAt time.Time
	RealAt     time.Time
	Refs       []string
	Data       string // the jsonb as PostgreSQL prints it
	PrevHash   []byte
	Hash       []byte
}

// Sum is the hash that the row must carry, given the hash of the row before it in its chain (empty for the first).
func (r Row) Sum(prev []byte) []byte {
	h := sha256.New()
	h.Write(prev)
	for _, f := range []string{
		r.Site, r.Chain, strconv.FormatInt(r.Seq, 10), r.Event, r.From, r.To, r.Actor, r.Reason, r.WorkflowID, r.RunID,
		strconv.FormatInt(r.BusinessAt.UnixMicro(), 10), strconv.FormatInt(r.RealAt.UnixMicro(), 10),
		strings.Join(r.Refs, " "), r.Data,
	} {
		// Length first, so that no two different rows print the same text.
		fmt.Fprintf(h, "%d:%s", len(f), f)
	}
	return h.Sum(nil)
}

// Break says where a chain no longer holds and why.
type Break struct {
	ID    int64 // journal id of the first bad row; 0 when a row is missing at the end
	Chain string
	Seq   int64
	Why   string
}

func (b Break) String() string {
	return fmt.Sprintf("chain %s breaks at row %d (journal id %d): %s", b.Chain, b.Seq, b.ID, b.Why)
}

// Checker verifies chains from a stream of rows that is ordered by id.
// It keeps one head per chain, so its memory grows with the number of entities, not of rows.
type Checker struct {
	heads map[string]head
	rows  int64
	first *Break
}

type head struct {
	seq  int64
	hash []byte
}

// NewChecker returns a checker that has seen no rows.
func NewChecker() *Checker { return &Checker{heads: map[string]head{}} }

// Add checks the next row. After the first break it keeps counting and remembers only that first one.
func (c *Checker) Add(r Row) {
	c.rows++
	h := c.heads[r.Chain]
	sum := r.Sum(h.hash)
	why := ""
	switch {
	case r.Seq != h.seq+1:
		why = fmt.Sprintf("row %d is missing", h.seq+1)
	case string(r.PrevHash) != string(h.hash):
		why = "it doesn't carry the hash of the row before it"
	case string(sum) != string(r.Hash):
		why = "its content doesn't give its hash"
	}
	if why != "" {
		c.fail(Break{ID: r.ID, Chain: r.Chain, Seq: r.Seq, Why: why})
	}
	c.heads[r.Chain] = head{r.Seq, r.Hash}
}

// Head compares a stored head with the end of the chain that was read; call it for every stored head after the last row.
func (c *Checker) Head(chain string, seq int64, hash []byte) {
	h := c.heads[chain]
	if h.seq != seq || string(h.hash) != string(hash) {
		c.fail(Break{Chain: chain, Seq: h.seq + 1, Why: fmt.Sprintf("the chain ends at row %d but its head says %d: rows were cut off", h.seq, seq)})
	}
}

// Seal compares a day's seal with the root computed from the rows that it covers.
func (c *Checker) Seal(site, day string, want, got []byte) {
	if string(want) != string(got) {
		c.fail(Break{Chain: "seal " + site + " " + day, Why: "the sealed root " + hex.EncodeToString(want)[:12] + " isn't that of the rows it covers"})
	}
}

func (c *Checker) fail(b Break) {
	if c.first == nil {
		c.first = &b
	}
}

// Result gives the rows and chains seen and the first break, nil when all of it holds.
func (c *Checker) Result() (rows, chains int64, first *Break) {
	return c.rows, int64(len(c.heads)), c.first
}

// Root is the one hash over a site's chain heads, which the caller gives in the order of their names.
func Root(heads []Head) []byte {
	h := sha256.New()
	for _, e := range heads {
		fmt.Fprintf(h, "%d:%s%d:%d%d:%x", len(e.Chain), e.Chain, len(strconv.FormatInt(e.Seq, 10)), e.Seq, 2*len(e.Hash), e.Hash)
	}
	return h.Sum(nil)
}

// Head is the end of one chain at the moment of a seal.
type Head struct {
	Chain string
	Seq   int64
	Hash  []byte
}
