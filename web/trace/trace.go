// Package trace leads from any number to its story: what it names, where that has its page, and every change of state that
// mentions it, with the chain of each recomputed on request. It reads the journal and nothing of Temporal.
package trace

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// Routes serves the page.
func Routes(r chi.Router, d page.Deps) {
	h := handler{d}
	r.Get(page.TracePath, d.Handle(h.show))
}

type handler struct{ page.Deps }

// perPage is how many changes a page of the timeline shows.
const perPage = 100

// maxNumber is the longest number that is looked up, in bytes.
const maxNumber = 200

// view is what a number led to.
type view struct {
	query    string
	things   []thing
	timeline *components.TimelineView
	unknown  bool
	// chains says what recomputing them gave; empty when nobody asked.
	chains     []chain
	verifyHref string
	moreHref   string
}

// thing is something that the number names.
type thing struct{ kind, id, site, note, href string }

// chain is the hash chain of one thing, recomputed.
type chain struct {
	kind, id string
	intact   bool
}

func (h handler) show(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := view{query: Number(r.FormValue("q"))}
	if v.query != "" {
		if err := h.follow(r, &v); err != nil {
			return err
		}
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "trace.title"), Nav: page.TracePath, Query: v.query, Body: show(v)})
}

// follow fills the view with what the number leads to, over all sites of the person: who searches a number shouldn't have to
// know which site it belongs to.
func (h handler) follow(r *http.Request, v *view) error {
	ctx := r.Context()
	if len(v.query) > maxNumber {
		v.unknown = true
		return nil
	}
	sites := page.Actor(ctx).Sites
	found, err := h.Store.Find(ctx, sites, v.query)
	if err != nil {
		return err
	}
	for _, f := range found {
		v.things = append(v.things, thing{kind: f.Kind, id: f.ID, site: page.SiteName(ctx, f.Site), note: noteOf(ctx, f), href: page.Home(f.Kind, f.ID)})
	}
	ref := Ref(v.query, found)
	before, _ := strconv.ParseInt(r.FormValue("before"), 10, 64)
	events, err := h.Store.Timeline(ctx, sites, ref, max(before, 0), perPage)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		v.unknown = len(found) == 0
		return nil
	}
	kind, id := subject(ref, found)
	t := page.Timeline(ctx, kind, id, events)
	v.timeline = &t
	list := page.ListOf(r)
	v.verifyHref = list.Href("verify", "1")
	if len(events) == perPage {
		v.moreHref = list.Href("before", strconv.FormatInt(events[len(events)-1].ID, 10))
	}
	if list.Get("verify") != "" {
		v.chains, err = h.verify(ctx, events)
	}
	return err
}

// Number tidies what people paste: spaces, full-width digits and letters.
func Number(typed string) string {
	return strings.Map(func(r rune) rune {
		if r >= '！' && r <= '～' {
			return r - '！' + '!'
		}
		return r
	}, strings.TrimSpace(typed))
}

// Ref is the number under which the journal knows what was found: a serial or a receipt leads to its meter or recharge. Several
// things have no common number, so the typed one stays.
func Ref(typed string, found []store.Found) string {
	if len(found) == 1 {
		return found[0].ID
	}
	return typed
}

// subject is the thing that a timeline is about; empty for a number that several things, or a process, answer to.
func subject(ref string, found []store.Found) (kind, id string) {
	if len(found) == 1 {
		return found[0].Kind, ref
	}
	return "", ""
}

// noteOf is what stands beside a thing: a state in its word, anything else as it is.
func noteOf(ctx context.Context, f store.Found) string {
	if kind, ok := page.Vocabulary(f.Kind); ok {
		return locale.State(ctx, kind, f.Note)
	}
	if f.Kind == "user" {
		return locale.State(ctx, locale.Role, f.Note)
	}
	return f.Note
}

// verify recomputes the chain of each thing that the shown changes belong to.
func (h handler) verify(ctx context.Context, events []store.Event) ([]chain, error) {
	var chains []chain
	for _, e := range events {
		if slices.ContainsFunc(chains, func(c chain) bool { return c.kind == e.Kind && c.id == e.Entity }) {
			continue
		}
		intact, err := h.Store.ChainIntact(ctx, e.Kind, e.Entity)
		if err != nil {
			return nil, err
		}
		chains = append(chains, chain{kind: e.Kind, id: e.Entity, intact: intact})
	}
	return chains, nil
}

// verdict sums the chains up in one notice.
func verdict(ctx context.Context, chains []chain) components.NoticeView {
	var broken []string
	for _, c := range chains {
		if !c.intact {
			broken = append(broken, c.kind+"/"+c.id)
		}
	}
	if len(broken) > 0 {
		return components.NoticeView{Tone: components.Danger, Title: locale.T(ctx, "trace.broken"), Body: strings.Join(broken, ", ")}
	}
	return components.NoticeView{Tone: components.Good, Title: locale.T(ctx, "trace.intact", len(chains))}
}

// process is the kind and key of a workflow id, for the sentence above its timeline; ok is false for any other number.
func process(number string) (kind, key string, ok bool) { return workflows.Subject(number) }

// things as a table.
func thingTable(ctx context.Context, things []thing) components.Table {
	t := components.Table{ID: "found", Caption: locale.T(ctx, "trace.found"), Cols: []components.Col{
		{Label: locale.T(ctx, "trace.number")}, {Label: locale.T(ctx, "trace.kind")}, {Label: locale.T(ctx, "trace.note")},
		{Label: locale.T(ctx, "trace.site"), WideOnly: true}, {Label: locale.T(ctx, "trace.story")},
	}}
	for _, x := range things {
		t.Rows = append(t.Rows, components.Row{ID: x.id, Href: x.href, Cells: cells(ctx, x)})
	}
	return t
}
