package proof

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// billsJournaled: the states of every bill join up over the journal's rows and end in the one that the table shows; and a row that
// stands for a page of bills has the digest that the bills, as they stand in the tables, give.
//
// A bill is journaled by rows of its own (kind "bill") and by rows that stand for a page (kind "bills"), which name their members among
// their refs.
func (c *checker) billsJournaled(ctx context.Context, inv *Invariant) error {
	bills, err := c.loadBills(ctx)
	if err != nil {
		return err
	}
	inv.check(int64(len(bills)))
	rows, err := c.tx.Query(ctx, `SELECT id, kind, entity, event, from_state, to_state, refs, coalesce(data->>'digest', '') FROM journal
		WHERE kind IN ('bill', 'bills') AND to_state <> '' ORDER BY id`)
	if err != nil {
		return err
	}
	var r billRow
	var pages []page
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.kind, &r.entity, &r.event, &r.from, &r.to, &r.refs, &r.digest}, func() error {
		members := []string{r.entity}
		if r.kind == "bills" {
			members = bills.among(r.refs)
			pages = append(pages, page{row: r.id, event: r.event, digest: r.digest, members: members})
		}
		for _, id := range members {
			bills.move(inv, id, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, b := range bills {
		if b.journaled != b.state {
			inv.violate("bill %s is %s; its last journal row says %s", id, b.state, orNothing(b.journaled))
		}
	}
	for _, p := range pages {
		bills.checkDigest(inv, p)
	}
	return nil
}

// JournalOfBills looks at the bills alone, in the caller's transaction, and gives what it finds wrong.
func JournalOfBills(ctx context.Context, tx pgx.Tx) ([]string, error) {
	inv := Invariant{Name: JournalComplete}
	err := (&checker{tx: tx}).billsJournaled(ctx, &inv)
	return inv.Details, err
}

func orNothing(state string) string {
	if state == "" {
		return "nothing"
	}
	return state
}

// billRow is a journal row about one bill or a page of them.
type billRow struct {
	id                            int64
	kind, entity, event, from, to string
	refs                          []string
	digest                        string
}

// page is a journal row that stands for several bills.
type page struct {
	row           int64
	event, digest string
	members       []string
}

// billFacts is a bill as the tables have it, and the state that its journal has come to.
type billFacts struct {
	state, journaled         string
	quantity, total, charged int64
	lines                    string // digest of the stored lines, computed here
	ratedAgain               bool   // after its page was rated
}

type billBook map[string]*billFacts

// among finds the bills among a row's refs, in the order in which they are stored: sorted by number.
func (b billBook) among(refs []string) []string {
	var members []string
	for _, ref := range refs {
		if _, ok := b[ref]; ok {
			members = append(members, ref)
		}
	}
	return members
}

func (b billBook) move(inv *Invariant, id string, r billRow) {
	f, known := b[id]
	if !known {
		inv.violate("journal row %d tells of bill %s, which isn't there", r.id, id)
		return
	}
	if r.from != f.journaled {
		inv.violate("bill %s: journal row %d goes from %q, but the row before ended in %q", id, r.id, r.from, f.journaled)
	}
	f.journaled = r.to
	f.ratedAgain = f.ratedAgain || r.kind == "bill" && r.event != "held"
}

// checkDigest computes a page's digest from the tables. A page of drafts of which one was rated again can't be computed any more; the
// rows of that bill, and the page with which it was issued, tell what it is.
func (b billBook) checkDigest(inv *Invariant, p page) {
	if p.digest == "" {
		return
	}
	h := sha256.New()
	for _, id := range p.members {
		f := b[id]
		switch p.event {
		case "rated":
			if f.ratedAgain {
				return
			}
			fmt.Fprintf(h, "%s %d %d %s\n", id, f.quantity, f.total, f.lines)
		case "issued":
			fmt.Fprintf(h, "%s %d %d %d %s\n", id, f.quantity, f.total, f.charged, f.lines)
		default:
			return
		}
	}
	inv.check(1)
	if got := hex.EncodeToString(h.Sum(nil)); got != p.digest {
		inv.violate("journal row %d stands for %d bills that were %s: they, or their lines, were changed since", p.row, len(p.members), p.event)
	}
}

func (c *checker) loadBills(ctx context.Context) (billBook, error) {
	bills := billBook{}
	rows, err := c.tx.Query(ctx, `SELECT id, state, quantity, total_fen, charged_fen FROM bills`)
	if err != nil {
		return nil, err
	}
	none := sha256.Sum256(nil)
	var id string
	var f billFacts
	if _, err := pgx.ForEachRow(rows, []any{&id, &f.state, &f.quantity, &f.total, &f.charged}, func() error {
		one := f
		one.lines = hex.EncodeToString(none[:])
		bills[id] = &one
		return nil
	}); err != nil {
		return nil, err
	}
	return bills, c.digestLines(ctx, bills)
}

// digestLines hashes each bill's stored lines: one text per line, its decimals without the zeros that numeric columns add.
func (c *checker) digestLines(ctx context.Context, bills billBook) error {
	rows, err := c.tx.Query(ctx, `SELECT bill_id, seq, component, register, tier, quantity::text, price::text, factor::text, amount_fen, unit, thirtieths FROM bill_lines ORDER BY bill_id, seq`)
	if err != nil {
		return err
	}
	var bill, component, quantity, price, factor, unit, last string
	var seq, register, tier, thirtieths int
	var amount int64
	var text []string
	close := func() {
		if f, ok := bills[last]; ok && len(text) > 0 {
			sum := sha256.Sum256([]byte(strings.Join(text, "\n")))
			f.lines = hex.EncodeToString(sum[:])
		}
		text = text[:0]
	}
	_, err = pgx.ForEachRow(rows, []any{&bill, &seq, &component, &register, &tier, &quantity, &price, &factor, &amount, &unit, &thirtieths}, func() error {
		if bill != last {
			close()
			last = bill
		}
		text = append(text, fmt.Sprintf("%d %s %d %d %s %s %s %d %s %d", seq, component, register, tier, plain(quantity), plain(price), plain(factor), amount, unit, thirtieths))
		return nil
	})
	close()
	return err
}

// plain is a decimal without zeros at its end.
func plain(decimal string) string {
	if !strings.Contains(decimal, ".") {
		return decimal
	}
	return strings.TrimSuffix(strings.TrimRight(decimal, "0"), ".")
}
