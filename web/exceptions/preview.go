package exceptions

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// previewView is a decision on one or several cases before it is made.
type previewView struct {
	head  components.Head
	facts []components.Fact
	table components.Table
	bulk  components.BulkView
	none  string // why nothing is left to decide; empty when something is
}

// pick is a row of the preview: a meter of a case, or a case without meters.
type pick struct {
	id    billing.CaseID
	meter billing.MeterID
}

func (p pick) String() string { return string(p.id) + "/" + string(p.meter) }

// picks reads the chosen rows; without any, nothing is chosen.
func picks(values []string) map[pick]bool {
	chosen := map[pick]bool{}
	for _, v := range values {
		id, meter, _ := strings.Cut(v, "/")
		chosen[pick{billing.CaseID(id), billing.MeterID(meter)}] = true
	}
	return chosen
}

// chosenCase is a case of the preview with what is decided of it.
type chosenCase struct {
	row     store.CaseRow
	meters  []billing.MeterID // open ones; none when the case is about no reading
	chosen  []billing.MeterID
	left    bool // wholly taken out
	preview workflows.Preview
}

// decision is what would be sent for the case. All its open meters together need no list.
func (c chosenCase) decision(by billing.UserID, decision string) workflows.Decision {
	d := workflows.Decision{CaseID: c.row.ID, By: by, Decision: decision}
	if len(c.chosen) < len(c.meters) {
		d.Meters = c.chosen
	}
	return d
}

// choose leads from the queue to the preview of a decision on the chosen cases.
func (h handler) choose(r *http.Request) (page.Done, error) {
	in := page.Read(r)
	decision, ids := in.OneOf("action", several...), in.Texts("id")
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if _, err := h.chosen(r, decision, ids); err != nil {
		return page.Done{}, err
	}
	q := r.URL.Query()
	q.Set("decision", decision)
	q["case"] = ids
	return page.Done{To: base + "/decide?" + url.Values(q).Encode()}, nil
}

// chosen reads cases for a decision on all of them; it refuses none, too many, several kinds, and kinds that can't be decided so.
func (h handler) chosen(r *http.Request, decision string, ids []string) ([]store.CaseRow, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.DecideException, ""); err != nil {
		return nil, err
	}
	if len(ids) == 0 || len(ids) > page.PerPage {
		return nil, billing.Errorf(billing.CodeInvalidInput, "choose at least one case and at most %d", page.PerPage)
	}
	f := store.CaseFilter{Sites: page.Actor(ctx).Sites}
	for _, id := range ids {
		f.IDs = append(f.IDs, billing.CaseID(id))
	}
	rows, _, err := h.Store.CasePage(ctx, f, page.PerPage, 0)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, billing.Errorf(billing.CodeNotFound, "there is no such record")
	}
	for _, k := range rows {
		if !allowed(k.Kind, decision) {
			if k.Kind == rows[0].Kind {
				return nil, billing.Errorf(billing.CodeInvalidInput, "cases of this kind can't be decided so: open one to see what can be decided")
			}
			return nil, billing.Errorf(billing.CodeInvalidInput, "the chosen cases are of several kinds: choose cases of one kind, with the filter above")
		}
	}
	return rows, nil
}

// taken reads the cases of the address with their members, and what is chosen of them: all at first, then what the person picked.
func (h handler) taken(r *http.Request, only map[pick]bool) (string, []chosenCase, error) {
	ctx := r.Context()
	q := r.URL.Query()
	decision := q.Get("decision")
	rows, err := h.chosen(r, decision, slices.Compact(slices.Sorted(slices.Values(q["case"]))))
	if err != nil {
		return decision, nil, err
	}
	cases := make([]chosenCase, 0, len(rows))
	for _, row := range rows {
		_, members, err := h.Store.Case(ctx, row.ID)
		if err != nil {
			return decision, nil, err
		}
		c := chosenCase{row: row, meters: openMeters(members)}
		c.chosen = c.meters
		if only != nil {
			c.chosen = slices.DeleteFunc(slices.Clone(c.meters), func(m billing.MeterID) bool { return !only[pick{row.ID, m}] })
			c.left = len(c.chosen) == 0 && !only[pick{row.ID, ""}]
		}
		if row.State == billing.CaseOpen && !c.left {
			if c.preview, err = h.Workflows.PreviewDecision(ctx, c.decision(page.Actor(ctx).UserID, decision)); err != nil {
				return decision, nil, err
			}
		}
		cases = append(cases, c)
	}
	return decision, cases, nil
}

// preview shows what a decision on the chosen cases would do, value by value and in yuan, and asks why.
func (h handler) preview(w http.ResponseWriter, r *http.Request) error {
	r = withPath(r, base+"/decide")
	only := picks(r.URL.Query()["only"])
	if f := page.FormOf(r, "several"); f.Tried() {
		only = picks(f.Values("id"))
	} else if !r.URL.Query().Has("only") {
		only = nil
	}
	decision, cases, err := h.taken(r, only)
	if err != nil {
		return err
	}
	var ids []billing.MeterID
	for _, c := range cases {
		ids = append(ids, c.meters...)
	}
	rows, err := h.Store.MeterRows(r.Context(), ids)
	if err != nil {
		return err
	}
	meters := map[billing.MeterID]store.MeterRow{}
	for _, m := range rows {
		meters[m.ID] = m
	}
	v := previewOf(r, decision, cases, meters)
	return h.Render(w, r, page.View{Title: v.head.Title, Nav: base, Body: preview(v)})
}

func previewOf(r *http.Request, decision string, cases []chosenCase, meters map[billing.MeterID]store.MeterRow) previewView {
	ctx := r.Context()
	q, f := r.URL.Query(), page.FormOf(r, "several")
	v := previewView{head: components.Head{
		Title:    locale.T(ctx, "exceptions.several", len(cases), decisionWord(ctx, decision)),
		Subtitle: locale.State(ctx, locale.Rule, cases[0].row.Kind), BackHref: base + filterQuery(r), BackLabel: locale.T(ctx, "exceptions.title"),
	}}
	v.table = components.Table{ID: "chosen", Select: true, Caption: v.head.Title, Cols: []components.Col{
		{Label: locale.T(ctx, "exceptions.about")}, {Label: locale.T(ctx, "exceptions.freeze")}, {Label: locale.T(ctx, "vee.before"), Align: components.Number},
		{Label: locale.T(ctx, "vee.after"), Align: components.Number}, {Label: locale.T(ctx, "vee.use"), Align: components.Number}, {Label: locale.T(ctx, "vee.how")},
		{Label: locale.T(ctx, "vee.effect_label"), Unit: locale.T(ctx, "unit.yuan"), Align: components.Number},
	}}
	var all []workflows.Preview
	left := 0
	for _, c := range cases {
		if c.row.State != billing.CaseOpen {
			v.table.Rows = append(v.table.Rows, components.Row{ID: pick{c.row.ID, ""}.String(), Href: page.Home("case", string(c.row.ID)), Cells: []templ.Component{
				components.Lines(components.Text(string(c.row.ID)), about(c.row)), nil, nil, nil, nil, components.StateBadge(locale.Case, c.row.State), nil}})
			continue
		}
		if !c.left {
			left++
			all = append(all, c.preview)
		}
		v.table.Rows = append(v.table.Rows, previewRows(ctx, c, decision, meters)...)
	}
	for i, row := range v.table.Rows {
		for j, cell := range row.Cells {
			if cell == nil {
				v.table.Rows[i].Cells[j] = components.Muted("–")
			}
		}
	}
	v.facts = append([]components.Fact{{ID: "cases", Label: locale.T(ctx, "exceptions.cases"), Value: components.Count(left)}}, previewFacts(ctx, all)...)
	if left == 0 {
		v.none = locale.T(ctx, "exceptions.none_left")
	}
	reason := reasonOf(ctx, f)
	reason.Value = f.Value("reason", q.Get("reason"))
	v.bulk = components.BulkView{URL: base + "/decide?" + q.Encode(), Error: f.Error(), Hidden: []components.Hidden{f.Nonce()}, Fields: []components.Field{reason}, Open: true, Actions: []components.BulkAction{
		{Value: "confirm", Label: locale.T(ctx, "vee.confirm", decisionWord(ctx, decision)), Key: "s"},
		{Value: "again", Label: locale.T(ctx, "vee.preview_again"), Key: "p", Tone: components.Watch},
	}}
	return v
}

// previewRows are one line per meter of a case, or one for a case without meters.
func previewRows(ctx context.Context, c chosenCase, decision string, meters map[billing.MeterID]store.MeterRow) []components.Row {
	effects := map[billing.AccountID]workflows.AccountPreview{}
	for _, a := range c.preview.Accounts {
		effects[a.Account] = a
	}
	subject := func(id billing.MeterID) templ.Component {
		m := meters[id]
		return components.Lines(components.Text(strings.TrimSpace(string(id)+" "+m.Customer)), string(c.row.ID)+" · "+locale.State(ctx, locale.Rule, c.row.Kind))
	}
	if len(c.meters) == 0 {
		how := components.Text(decisionWord(ctx, decision))
		if c.preview.Refused != "" {
			how = components.Badge(components.Danger, locale.Sentence(ctx, c.preview.Refused))
		}
		return []components.Row{{ID: pick{c.row.ID, ""}.String(), Href: page.Home("case", string(c.row.ID)), Picked: !c.left, Cells: []templ.Component{
			components.Lines(components.Text(about(c.row)), string(c.row.ID)+" · "+locale.State(ctx, locale.Rule, c.row.Kind)), nil, nil, nil, nil, how, nil}}}
	}
	var rows []components.Row
	for _, id := range c.meters {
		row := components.Row{ID: pick{c.row.ID, id}.String(), Href: page.Home("case", string(c.row.ID)), Picked: slices.Contains(c.chosen, id)}
		cells := []templ.Component{subject(id), nil, nil, nil, nil, nil, nil}
		switch {
		case !row.Picked:
			cells[5] = components.Muted(locale.T(ctx, "vee.left_out"))
		case c.preview.Refused != "":
			cells[5] = components.Badge(components.Danger, locale.Sentence(ctx, c.preview.Refused))
		case c.preview.Asks:
			cells[5] = components.Muted(locale.T(ctx, "exceptions.reread_hint"))
		default:
			newest(ctx, cells, c.preview, id)
			if e, ok := effects[meters[id].Account]; ok && e.Known {
				cells[6] = components.MoneySigned(e.EffectFen)
			} else if ok {
				cells[6] = components.Muted(locale.T(ctx, "vee.later"))
			}
		}
		row.Cells = cells
		rows = append(rows, row)
	}
	return rows
}

// newest fills in the value of a meter's newest reading in the preview, and how many before it change too.
func newest(ctx context.Context, cells []templ.Component, p workflows.Preview, id billing.MeterID) {
	var last *workflows.MemberPreview
	count := 0
	for i := range p.Members {
		if m := &p.Members[i]; m.Meter == id {
			count++
			if last == nil || !m.FreezeAt.Before(last.FreezeAt) {
				last = m
			}
		}
	}
	if last == nil {
		return
	}
	cells[1] = components.When(last.FreezeAt)
	if count > 1 {
		cells[1] = components.Lines(components.When(last.FreezeAt), locale.T(ctx, "vee.and_before", count-1))
	}
	cells[2], cells[3] = registerCell(last.Before, last.Service), registerCell(last.After, last.Service)
	if use, ok := useOf(*last); ok {
		cells[4] = components.Quantity(use, last.Service.Scale(), last.Service.Unit())
	}
	how := outcomeWord(ctx, last.Outcome)
	if last.Method != "" {
		how = methodWord(ctx, last.Method)
	}
	cells[5] = components.Text(how)
}

// decideSeveral decides one case after the other. Those that refuse stay open and are named.
func (h handler) decideSeveral(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	in := page.Read(r)
	only := picks(in.Texts("id"))
	q := r.URL.Query()
	if in.OneOf("action", "confirm", "again") == "again" {
		q["only"] = in.Texts("id")
		q.Set("reason", in.Text("reason"))
		return page.Done{To: base + "/decide?" + q.Encode()}, nil
	}
	reason := in.Reason()
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	if len(only) == 0 {
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "choose at least one case and at most %d", page.PerPage)
	}
	decision, cases, err := h.taken(r, only)
	if err != nil {
		return page.Done{}, err
	}
	var first error
	done, refused := 0, []string{}
	for _, c := range cases {
		if c.row.State != billing.CaseOpen || c.left {
			continue
		}
		d := c.decision(page.Actor(ctx).UserID, decision)
		d.Reason, d.Nonce = reason, in.Nonce()+"/"+string(c.row.ID)
		if len(cases) > 1 {
			d.Batch = "decision/" + in.Nonce()
		}
		if err := h.Workflows.DecideCase(ctx, c.row.ID, d); err != nil {
			refused = append(refused, string(c.row.ID))
			if first == nil {
				first = err
			}
			continue
		}
		done++
	}
	if first != nil {
		return page.Done{}, billing.Errorf(billing.CodeOf(first), "%d cases were decided; %s stayed open: %s", done, strings.Join(refused, ", "), page.Sentence(ctx, first))
	}
	return page.Done{To: base + filterQuery(r), Said: locale.T(ctx, "exceptions.decided_many", done)}, nil
}
