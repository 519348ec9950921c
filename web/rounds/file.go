package rounds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// fileView is the page on which a file is chosen.
type fileView struct {
	head    components.Head
	url     string
	problem string
}

// previewView is a file with the verdict on each row: nothing is stored before it is confirmed.
type previewView struct {
	head    components.Head
	tallies []components.Fact
	table   components.Table
	confirm components.Action
	refused string // where the refused rows can be had; empty when there are none
	text    string // the file, carried to the confirmation
}

// maxFile bounds a file, in bytes: the longest list is smaller, and a form carries it, three bytes for one.
const maxFile = 80 << 10

// mine reads a round that the person may enter values on, with its list.
func (h handler) mine(r *http.Request) (store.RoundRow, []store.RoundItem, error) {
	ctx := r.Context()
	rd, err := h.one(r)
	if err != nil {
		return rd, nil, err
	}
	if err := mayEnter(ctx, rd); err != nil {
		return rd, nil, err
	}
	items, err := h.Store.RoundItems(ctx, rd.ID)
	return rd, items, err
}

func (h handler) template(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rd, items, err := h.mine(r)
	if err != nil {
		return err
	}
	return h.download(w, string(rd.ID)+".csv", func(w io.Writer) error { return writeTemplate(w, items, page.SiteZone(ctx, rd.Site), locale.Lang(ctx)) })
}

func (h handler) download(w http.ResponseWriter, name string, write func(io.Writer) error) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	return write(w)
}

func (h handler) file(w http.ResponseWriter, r *http.Request) error {
	rd, _, err := h.mine(r)
	if err != nil {
		return err
	}
	return h.renderFile(w, r, rd, "")
}

func (h handler) renderFile(w http.ResponseWriter, r *http.Request, rd store.RoundRow, problem string) error {
	ctx := r.Context()
	v := fileView{url: href(rd.ID), problem: problem, head: components.Head{
		Title: locale.T(ctx, "rounds.file"), Subtitle: string(rd.ID) + " · " + rd.RouteName, BackHref: href(rd.ID), BackLabel: locale.T(ctx, "rounds.list"),
	}}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.file"), Nav: path, Narrow: true, Body: file(v)})
}

// preview shows what a chosen file would bring. What is wrong with the whole file is said beside the choice.
func (h handler) preview(w http.ResponseWriter, r *http.Request) error {
	rd, items, err := h.mine(r)
	if err != nil {
		return err
	}
	text, err := readUpload(w, r)
	if err == nil {
		err = h.renderPreview(w, r, rd, items, text)
	}
	if billing.CodeOf(err) == billing.CodeInvalidInput {
		return h.renderFile(w, r, rd, page.Sentence(r.Context(), err))
	}
	return err
}

// previewAgain draws the preview of a file whose confirmation was refused.
func (h handler) previewAgain(w http.ResponseWriter, r *http.Request) error {
	rd, items, err := h.mine(r)
	if err != nil {
		return err
	}
	return h.renderPreview(w, r, rd, items, r.PostFormValue("file"))
}

func readUpload(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFile+(8<<10))
	f, _, err := r.FormFile("file")
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return "", billing.Errorf(billing.CodeInvalidInput, "the file is too large: a round's list has at most %d rows", store.MaxRouteMeters)
	}
	if err != nil {
		return "", billing.Errorf(billing.CodeInvalidInput, "choose a file first")
	}
	defer f.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxFile {
		return "", billing.Errorf(billing.CodeInvalidInput, "the file is too large: a round's list has at most %d rows", store.MaxRouteMeters)
	}
	return decode(raw)
}

// judged parses a file and asks the round's workflow about its rows; store puts the good ones on the list.
func (h handler) judged(ctx context.Context, rd store.RoundRow, items []store.RoundItem, text string, store bool) (sheet, error) {
	s, err := parseSheet(text, items, page.SiteZone(ctx, rd.Site))
	if err != nil {
		return s, err
	}
	var open []int
	for i := range s.rows {
		if s.rows[i].good() {
			open = append(open, i)
		}
	}
	for from := 0; from < len(open); from += workflows.MaxRoundPage {
		part := open[from:min(from+workflows.MaxRoundPage, len(open))]
		in := workflows.RoundValues{RoundID: rd.ID, By: page.Actor(ctx).UserID, Source: "file", Preview: !store}
		for _, i := range part {
			in.Values = append(in.Values, s.rows[i].value)
		}
		verdicts, err := h.Workflows.EnterRoundValues(ctx, in)
		if err != nil {
			return s, err
		}
		for n, i := range part {
			s.rows[i].take(ctx, verdicts[n], seesLast(ctx, rd.Round))
		}
	}
	return s, nil
}

// take notes the verdict on a row. What a reader would have to look at again can't be confirmed from a file: nobody stands before the meter.
func (r *sheetRow) take(ctx context.Context, v workflows.RoundVerdict, open bool) {
	r.verdict = v
	switch {
	case v.Refused != "":
		r.column, r.problem = "total", billing.Errorf(billing.CodeInvalidReading, "%s", v.Refused)
	case v.Confirm:
		r.column, r.problem = "total", billing.Errorf(billing.CodeInvalidReading, "%s", warningTexts(ctx, v.Warnings, open, r.item.Service)+" "+locale.T(ctx, "rounds.look_again"))
	}
}

func (h handler) renderPreview(w http.ResponseWriter, r *http.Request, rd store.RoundRow, items []store.RoundItem, text string) error {
	ctx := r.Context()
	s, err := h.judged(ctx, rd, items, text, false)
	if err != nil {
		return err
	}
	good, empty, bad := s.count()
	v := previewView{
		head:  components.Head{Title: locale.T(ctx, "rounds.preview"), Subtitle: string(rd.ID) + " · " + rd.RouteName, BackHref: href(rd.ID) + "/file", BackLabel: locale.T(ctx, "rounds.file")},
		table: previewTable(ctx, rd.Round, s), text: text,
		tallies: []components.Fact{
			{ID: "good", Label: locale.T(ctx, "rounds.rows_good"), Value: components.Count(good)},
			{ID: "bad", Label: locale.T(ctx, "rounds.rows_bad"), Value: components.Count(bad)},
			{ID: "empty", Label: locale.T(ctx, "rounds.rows_empty"), Value: components.Count(empty)},
		},
	}
	f := page.FormOf(r, "import")
	v.confirm = components.Action{ID: "import", Title: locale.T(ctx, "rounds.import"), URL: href(rd.ID) + "/import", Submit: locale.T(ctx, "rounds.import_n", good), Error: f.Error(),
		Hidden: []components.Hidden{{Name: "file", Value: text}}, Consequence: components.Facts(v.tallies)}
	if good == 0 {
		v.confirm.Disabled = locale.T(ctx, "rounds.import_none")
	}
	if bad > 0 {
		v.refused = href(rd.ID) + "/refused.csv"
	}
	return h.Render(w, r, page.View{Title: locale.T(ctx, "rounds.preview"), Nav: path, Body: preview(v)})
}

func (s sheet) count() (good, empty, bad int) {
	for _, r := range s.rows {
		switch {
		case r.problem != nil:
			bad++
		case r.empty:
			empty++
		default:
			good++
		}
	}
	return good, empty, bad
}

// columnLabel names a column in the words of its file.
func (s sheet) columnLabel(column string) string {
	for _, cell := range s.header {
		if cell == column || cell == columnNames[column] {
			return cell
		}
	}
	return column
}

func previewTable(ctx context.Context, rd store.Round, s sheet) components.Table {
	t := components.Table{ID: "preview", Caption: locale.T(ctx, "rounds.preview"), Cols: []components.Col{
		{Label: locale.T(ctx, "rounds.line"), Align: components.Number}, {Label: locale.T(ctx, "rounds.meter")}, {Label: locale.T(ctx, "rounds.value"), Align: components.Number},
		{Label: locale.T(ctx, "rounds.taken_at")}, {Label: locale.T(ctx, "rounds.verdict")},
	}}
	for _, r := range s.rows {
		row := components.Row{ID: strconv.Itoa(r.line), Cells: []templ.Component{components.Count(r.line), components.Lines(components.Text(string(r.item.Meter)), r.item.Address)}}
		value, taken := components.Muted("–"), components.Muted("–")
		if r.value.NoReading != "" {
			value = components.Muted(locale.State(ctx, locale.NoReading, r.value.NoReading))
		} else if len(r.value.Registers) > 0 {
			value = valueCell(ctx, r.item.Service, r.value.Registers)
		}
		if !r.value.TakenAt.IsZero() {
			taken = components.When(r.value.TakenAt)
		}
		verdict := components.Badge(components.Good, locale.T(ctx, "rounds.row_good"))
		switch text := warningTexts(ctx, r.verdict.Warnings, seesLast(ctx, rd), r.item.Service); {
		case r.problem != nil:
			row.Tone = components.Danger
			verdict = components.Lines(components.Badge(components.Danger, locale.T(ctx, "rounds.row_bad", s.columnLabel(r.column))), page.Sentence(ctx, r.problem))
		case r.empty:
			verdict = components.Muted(locale.T(ctx, "rounds.row_empty"))
		case text != "":
			row.Tone = components.Watch
			verdict = components.Lines(components.Badge(components.Watch, locale.T(ctx, "rounds.row_noted")), text)
		}
		row.Cells = append(row.Cells, value, taken, verdict)
		t.Rows = append(t.Rows, row)
	}
	return t
}

// importFile puts the good rows of a previewed file on the list. It is judged anew: the preview promised nothing.
func (h handler) importFile(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	rd, items, err := h.mine(r)
	if err != nil {
		return page.Done{}, err
	}
	s, err := h.judged(ctx, rd, items, r.PostFormValue("file"), true)
	if err != nil {
		return page.Done{}, err
	}
	good, _, bad := s.count()
	if good == 0 {
		return page.Done{}, billing.Errorf(billing.CodeInvalidInput, "no row of the file can go in: correct it and choose it again")
	}
	return page.Done{To: href(rd.ID), Said: locale.T(ctx, "rounds.said_imported", good, bad)}, nil
}

// refusedFile gives back the rows that were refused, as they were, with line, column and reason, to be corrected and sent again.
func (h handler) refusedFile(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rd, items, err := h.mine(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 2*maxFile)
	s, err := h.judged(ctx, rd, items, r.PostFormValue("file"), false)
	if err != nil {
		return err
	}
	// The note is where the reason stands: with the file's own header the corrected rows can be sent as they are.
	records := [][]string{s.header}
	note := -1
	for i, cell := range s.header {
		if cell == colNote || cell == columnNames[colNote] {
			note = i
		}
	}
	for _, row := range s.rows {
		if row.problem == nil {
			continue
		}
		cells := make([]string, len(s.header))
		copy(cells, row.cells)
		why := locale.T(ctx, "rounds.refused_note", row.line, s.columnLabel(row.column), page.Sentence(ctx, row.problem))
		if note >= 0 {
			cells[note] = why
		} else {
			cells = append(cells, why)
		}
		records = append(records, cells)
	}
	return h.download(w, string(rd.ID)+"-refused.csv", func(w io.Writer) error { return writeCSV(w, records) })
}
