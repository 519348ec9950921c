package document

import (
	"io"
	"strings"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/document/pdf"
	"github.com/meterflow/meterflow/internal/store"
)

// Paper is what a document is printed on.
type Paper string

// The papers: sheets of A4, and a roll of 80 mm.
const (
	A4   Paper = "a4"
	Roll Paper = "80mm"
)

// Options say how a document is to look. The zero value is one copy in Chinese on A4.
type Options struct {
	Lang    Language
	Paper   Paper
	Copies  int // of each bill or list; each says whose it is
	Printed time.Time
	Site    store.Site // whose zone dates are in, and whose name stands on top
}

func (o Options) copies() int { return max(o.Copies, 1) }

func (o Options) siteName() string { return o.Lang.name(o.Site.NameZH, o.Site.NameEN) }

func (o Options) time(t time.Time) string { return t.In(o.Site.Zone).Format("2006-01-02 15:04") }

func (o Options) day(t time.Time) string { return billing.DateOf(t, o.Site.Zone).String() }

// copyName says which copy this is and whose.
func (o Options) copyName(n int, whose []string) string {
	numbers := []string{"一", "二", "三"}
	if o.Lang == EN {
		numbers = []string{"1", "2", "3"}
	}
	return o.Lang.say("copy", numbers[n], o.Lang.say(whose[n]))
}

// Whose the copies are: of a bill and of a run's payment list, and of the counter's list.
var (
	twoCopies   = []string{"for_customer", "for_file"}
	threeCopies = []string{"for_desk", "for_customer", "for_finance"}
)

// Sizes in points. A4 is 210 × 297 mm.
const (
	a4Width, a4Height = 595.28, 841.89
	rollWidth         = 226.77 // 80 mm
	margin            = 42.0
	rollMargin        = 12.0
	bodySize          = 8.5
	smallSize         = 7.5
	rowHeight         = 14.0
	black, grey       = 0.0, 0.4
	lineGrey          = 0.7
	headGrey          = 0.93
)

// canvas is a document that is being drawn from top to bottom, page after page.
type canvas struct {
	o     Options
	w     *pdf.Writer
	p     *pdf.Page
	y     float64
	page  int    // of this copy
	copyN string // whose copy it is, at the head of each page
	title string
	no    string
}

func begin(out io.Writer, o Options, title string) (*canvas, error) {
	f, err := fonts()
	if err != nil {
		return nil, err
	}
	return &canvas{o: o, w: pdf.New(out, f, pdf.Info{Title: title, Created: o.Printed})}, nil
}

// front begins a copy of a document on a page of its own.
func (s *canvas) front(title, number, copyName string) {
	s.title, s.no, s.copyN, s.page = title, number, copyName, 0
	s.turn()
}

// turn begins the next page of the copy, with its head and foot.
func (s *canvas) turn() {
	s.page++
	s.p = s.w.NewPage(a4Width, a4Height)
	s.center(margin+6, 9, s.o.siteName())
	s.center(margin+26, 15, s.title)
	s.p.Text(margin, margin+42, bodySize, black, s.o.Lang.say("number")+" "+s.no)
	s.right(a4Width-margin, margin+42, bodySize, black, s.copyN)
	s.p.Line(margin, margin+48, a4Width-margin, margin+48, 0.8, black)
	foot := a4Height - margin + 14
	s.p.Text(margin, foot, smallSize, grey, s.o.Lang.say("printed")+" "+s.o.time(s.o.Printed))
	s.right(a4Width-margin, foot, smallSize, grey, s.o.Lang.say("page", s.page))
	s.y = margin + 64
}

// room turns the page when less than height is left, and says whether it did.
func (s *canvas) room(height float64) bool {
	if s.y+height <= a4Height-margin {
		return false
	}
	s.turn()
	return true
}

func (s *canvas) center(y, size float64, text string) {
	s.p.Text((a4Width-s.w.Width(text, size))/2, y, size, black, text)
}

func (s *canvas) right(x, y, size, grey float64, text string) {
	s.p.Text(x-s.w.Width(text, size), y, size, grey, text)
}

// fit cuts a text that is too wide, and says so with dots.
func (s *canvas) fit(text string, size, width float64) string {
	if s.w.Width(text, size) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && s.w.Width(string(runes)+"…", size) > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// fact is a label with its value.
type fact struct{ label, value string }

// facts writes labels and values in two columns; a value that is too long for its column takes the whole line.
func (s *canvas) facts(list []fact) {
	const labelWidth = 92.0
	half := (a4Width - 2*margin) / 2
	column := 0
	for _, f := range list {
		wide := s.w.Width(f.value, bodySize) > half-labelWidth-8
		if wide && column == 1 {
			column, s.y = 0, s.y+rowHeight
		}
		s.room(rowHeight)
		x, width := margin+float64(column)*half, half
		if wide {
			width = 2 * half
		}
		s.p.Text(x, s.y, bodySize, grey, f.label)
		beside := max(labelWidth, s.w.Width(f.label, bodySize)+8)
		s.p.Text(x+beside, s.y, bodySize, black, s.fit(f.value, bodySize, width-beside-4))
		if column = 1 - column; column == 0 || wide {
			column, s.y = 0, s.y+rowHeight
		}
	}
	if column == 1 {
		s.y += rowHeight
	}
	s.y += 4
}

// col is a column of a table: its share of the width, and whether it holds numbers.
type col struct {
	title string
	share float64
	num   bool
}

// table is a table that is being written row by row; its head is repeated on each page.
type table struct {
	s    *canvas
	cols []col
	sum  float64
	head string
}

// table begins one under a headline of its own; both keep together with the first row.
func (s *canvas) table(headline string, cols []col) *table {
	t := &table{s: s, cols: cols, head: headline}
	for _, c := range cols {
		t.sum += c.share
	}
	s.room(4 * rowHeight)
	if headline != "" {
		s.y += 6
	}
	t.begin()
	return t
}

func (t *table) begin() {
	s := t.s
	if t.head != "" {
		s.p.Text(margin, s.y, 9.5, black, t.head)
		s.y += rowHeight - 4
	}
	s.p.Box(margin, s.y-4, a4Width-2*margin, rowHeight, headGrey)
	t.cells(titles(t.cols), smallSize, grey)
}

func titles(cols []col) []string {
	list := make([]string, len(cols))
	for i, c := range cols {
		list[i] = c.title
	}
	return list
}

// row writes one row.
func (t *table) row(cells ...string) {
	if t.s.room(rowHeight) {
		t.begin()
	}
	t.cells(cells, bodySize, black)
	t.s.p.Line(margin, t.s.y-4.5, a4Width-margin, t.s.y-4.5, 0.3, lineGrey)
}

// foot writes the row of totals.
func (t *table) foot(cells ...string) {
	if t.s.room(rowHeight) {
		t.begin()
	}
	t.s.p.Line(margin, t.s.y-4.5, a4Width-margin, t.s.y-4.5, 0.8, black)
	t.cells(cells, bodySize, black)
	t.s.y += 6
}

func (t *table) cells(cells []string, size, grey float64) {
	s := t.s
	x, width := margin, a4Width-2*margin
	for i, c := range t.cols {
		w := width * c.share / t.sum
		if i < len(cells) && cells[i] != "" {
			text := s.fit(cells[i], size, w-4)
			if c.num {
				s.right(x+w-2, s.y+6, size, grey, text)
			} else {
				s.p.Text(x+2, s.y+6, size, grey, text)
			}
		}
		x += w
	}
	s.y += rowHeight
}

// note writes a small line, broken where it is too long.
func (s *canvas) note(text string) {
	line := ""
	flush := func() {
		if s.room(11) {
			s.y += 4
		}
		s.p.Text(margin, s.y+4, smallSize, grey, strings.TrimSpace(line))
		s.y, line = s.y+11, ""
	}
	for _, r := range text {
		if s.w.Width(line+string(r), smallSize) > a4Width-2*margin {
			flush()
		}
		line += string(r)
	}
	flush()
	s.y += 8
}

// use writes raw units with the decimals of their service, thousands separated.
func use(raw int64, service billing.Service) string { return group(service.Format(raw)) }

// group separates the thousands of a plain decimal.
func group(text string) string {
	sign, digits := "", text
	if strings.HasPrefix(text, "-") {
		sign, digits = "-", text[1:]
	}
	whole, rest, _ := strings.Cut(digits, ".")
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}
