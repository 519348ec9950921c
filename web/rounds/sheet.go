package rounds

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/workflows"
)

// The columns of a file, in the order in which the template has them. A column's name is one of these in any language of ours.
const (
	colSeq     = "seq"
	colMeter   = "meter"
	colAddress = "address"
	colTakenAt = "read_at"
	colReason  = "reason"
	colNote    = "note"
)

// columnNames are the names of the columns in Chinese; in English they are the keys themselves.
var columnNames = map[string]string{
	colSeq: "序号", colMeter: "表号", colAddress: "地址", "total": "总", "sharp": "尖", "peak": "峰", "flat": "平", "valley": "谷", "deep_valley": "深谷",
	colTakenAt: "抄表时间", colReason: "原因", colNote: "备注",
}

// reasonNames are the reasons in Chinese, as a file may have them.
var reasonNames = map[string]billing.NoReading{
	"无法进入": billing.NoAccess, "表坏": billing.MeterBroken, "表盘被遮": billing.DialCovered, "找不到表": billing.MeterNotFound, "其他": billing.NoReadingElse,
}

// sheet is a file that was read: its header, and its rows with what is wrong with each.
type sheet struct {
	header []string // as written
	rows   []sheetRow
}

// sheetRow is one row. Problem is what is wrong with it, in Column; a row that is Empty was left open by the reader.
type sheetRow struct {
	line    int
	cells   []string
	item    store.RoundItem
	value   workflows.RoundValue
	empty   bool
	column  string
	problem error
	verdict workflows.RoundVerdict
}

// good says that the row goes in.
func (r sheetRow) good() bool { return r.problem == nil && !r.empty }

// decode gives the text of a file: UTF-8 with or without its mark, else GBK as Chinese spreadsheets write it.
func decode(raw []byte) (string, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if utf8.Valid(raw) {
		return string(raw), nil
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(raw)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return "", billing.Errorf(billing.CodeInvalidInput, "the file is neither UTF-8 nor GBK text: save it as CSV UTF-8")
	}
	return string(text), nil
}

// parseSheet reads a file about the given list. An error is about the whole file; everything else stands at its row, with line and column.
func parseSheet(text string, items []store.RoundItem, zone *time.Location) (sheet, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = -1
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return sheet{}, billing.Errorf(billing.CodeInvalidInput, "the file is empty: download the template and fill it in")
	}
	if err != nil {
		return sheet{}, csvError(err)
	}
	s := sheet{header: header}
	p := sheetParser{zone: zone, items: map[billing.MeterID]store.RoundItem{}, seen: map[billing.MeterID]int{}}
	for _, i := range items {
		p.items[i.Meter] = i
	}
	if p.columns, err = readHeader(header); err != nil {
		return s, err
	}
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, csvError(err)
		}
		line, _ := reader.FieldPos(0)
		if len(s.rows) == store.MaxRouteMeters {
			return s, billing.Errorf(billing.CodeInvalidInput, "line %d: a file has at most %d rows", line, store.MaxRouteMeters)
		}
		s.rows = append(s.rows, p.row(line, cells))
	}
	if len(s.rows) == 0 {
		return s, billing.Errorf(billing.CodeInvalidInput, "the file has no rows below its header: fill in the template")
	}
	return s, nil
}

func csvError(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return billing.Errorf(billing.CodeInvalidInput, "line %d: the file is no CSV there (%v): save it as CSV again", e.Line, e.Err)
	}
	return err
}

// readHeader finds the columns by their names, in any order.
func readHeader(header []string) (map[string]int, error) {
	columns := map[string]int{}
	for at, cell := range header {
		name := strings.ToLower(strings.TrimSpace(cell))
		key := ""
		for k, zh := range columnNames {
			if name == k || name == zh {
				key = k
			}
		}
		if name == "" {
			continue
		}
		if key == "" {
			return nil, billing.Errorf(billing.CodeInvalidInput, "line 1: the column %q is unknown: use the header of the template", cell)
		}
		if _, twice := columns[key]; twice {
			return nil, billing.Errorf(billing.CodeInvalidInput, "line 1: the column %q stands there twice: leave one", cell)
		}
		columns[key] = at
	}
	for _, key := range []string{colMeter, "total", colTakenAt} {
		if _, ok := columns[key]; !ok {
			return nil, billing.Errorf(billing.CodeInvalidInput, "line 1: the column %s is missing: use the header of the template", key+" ("+columnNames[key]+")")
		}
	}
	return columns, nil
}

// sheetParser reads rows one after the other: order and repeats are seen across them.
type sheetParser struct {
	zone    *time.Location
	columns map[string]int
	items   map[billing.MeterID]store.RoundItem
	seen    map[billing.MeterID]int // line
	lastSeq int
}

func (p *sheetParser) row(line int, cells []string) sheetRow {
	r := sheetRow{line: line, cells: cells}
	r.column, r.problem = p.read(&r)
	return r
}

func (p *sheetParser) cell(cells []string, column string) string {
	at, ok := p.columns[column]
	if !ok || at >= len(cells) {
		return ""
	}
	return strings.TrimSpace(cells[at])
}

// read fills a row and gives the first thing that is wrong with it.
func (p *sheetParser) read(r *sheetRow) (column string, err error) {
	id := billing.MeterID(p.cell(r.cells, colMeter))
	if id == "" {
		return colMeter, billing.Errorf(billing.CodeInvalidInput, "the meter number is missing")
	}
	item, listed := p.items[id]
	if !listed {
		return colMeter, billing.Errorf(billing.CodeInvalidInput, "meter %s is not on the list of this round: check the number", id)
	}
	r.item = item
	if first, twice := p.seen[id]; twice {
		return colMeter, billing.Errorf(billing.CodeInvalidInput, "meter %s stands in line %d already: leave one of the two", id, first)
	}
	p.seen[id] = r.line
	if text := p.cell(r.cells, colSeq); text != "" {
		seq, err := strconv.Atoi(text)
		if err != nil || seq != item.Seq {
			return colSeq, billing.Errorf(billing.CodeInvalidInput, "meter %s is number %d of the list, not %s: don't move cells from row to row", id, item.Seq, text)
		}
	}
	if item.Seq < p.lastSeq {
		return colSeq, billing.Errorf(billing.CodeInvalidInput, "number %d comes after number %d: put the rows back in the order of the list", item.Seq, p.lastSeq)
	}
	p.lastSeq = item.Seq
	return p.values(r)
}

func (p *sheetParser) values(r *sheetRow) (column string, err error) {
	r.value = workflows.RoundValue{Meter: r.item.Meter, Note: p.cell(r.cells, colNote)}
	var given []string
	for i := range len(billing.Bands) + 1 {
		if p.cell(r.cells, billing.Register(i).String()) != "" {
			given = append(given, billing.Register(i).String())
		}
	}
	reason := p.cell(r.cells, colReason)
	switch {
	case reason != "" && len(given) > 0:
		return colReason, billing.Errorf(billing.CodeInvalidInput, "give a value or a reason why there is none, not both")
	case reason != "":
		if r.value.NoReading = reasonOf(reason); r.value.NoReading == "" {
			return colReason, billing.Errorf(billing.CodeInvalidInput, "%q is no reason: choose one of the list", reason)
		}
	case len(given) == 0:
		r.empty = true
		return "", nil
	default:
		if column, err := p.registers(r, given); err != nil {
			return column, err
		}
	}
	at, err := instant(p.cell(r.cells, colTakenAt), p.zone)
	if err != nil {
		return colTakenAt, err
	}
	r.value.TakenAt = at
	return "", nil
}

// registers reads the values of a row: exactly those that the meter shows, each no finer than its register.
func (p *sheetParser) registers(r *sheetRow, given []string) (column string, err error) {
	r.value.Registers = make(billing.Registers, r.item.Count)
	for _, name := range given {
		if i := registerIndex(name); i >= r.item.Count {
			return name, billing.Errorf(billing.CodeInvalidInput, "meter %s shows %d registers, %d were given: enter all of them", r.item.Meter, r.item.Count, len(given))
		}
	}
	for i := range r.item.Count {
		name := billing.Register(i).String()
		text := p.cell(r.cells, name)
		if text == "" {
			return name, billing.Errorf(billing.CodeInvalidInput, "meter %s shows %d registers, %d were given: enter all of them", r.item.Meter, r.item.Count, len(given))
		}
		if r.value.Registers[i], err = rawValue(r.item.Service, text); err != nil {
			return name, err
		}
	}
	return "", nil
}

func registerIndex(name string) int {
	var r billing.Register
	if r.UnmarshalText([]byte(name)) != nil {
		return -1
	}
	return int(r)
}

func reasonOf(text string) billing.NoReading {
	if n := billing.NoReading(strings.ToLower(text)); slices.Contains(billing.NoReadings, n) {
		return n
	}
	return reasonNames[text]
}

// instantForms are how people and spreadsheets write an instant.
var instantForms = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006/1/2 15:04:05", "2006/1/2 15:04"}

func instant(text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, billing.Errorf(billing.CodeInvalidInput, "the time at which the meter was read is missing: write it such as 2026-10-31 08:15")
	}
	for _, form := range instantForms {
		if t, err := time.ParseInLocation(form, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, billing.Errorf(billing.CodeInvalidInput, "%q is no time: write it such as 2026-10-31 08:15", text)
}

// writeTemplate makes the file that a reader fills in: the list in walking order, with what is entered already. Last values don't stand in it.
func writeTemplate(w io.Writer, items []store.RoundItem, zone *time.Location, lang locale.Language) error {
	columns := []string{colSeq, colMeter, colAddress, "total"}
	if slices.ContainsFunc(items, func(i store.RoundItem) bool { return i.Count > 1 }) {
		for _, b := range billing.Bands {
			columns = append(columns, b.String())
		}
	}
	columns = append(columns, colTakenAt, colReason, colNote)
	records := [][]string{make([]string, len(columns))}
	for i, c := range columns {
		records[0][i] = c
		if lang == locale.ZH {
			records[0][i] = columnNames[c]
		}
	}
	for _, item := range items {
		record := make([]string, len(columns))
		for i, c := range columns {
			record[i] = templateCell(item, c, zone)
		}
		records = append(records, record)
	}
	return writeCSV(w, records)
}

func templateCell(i store.RoundItem, column string, zone *time.Location) string {
	switch column {
	case colSeq:
		return strconv.Itoa(i.Seq)
	case colMeter:
		return string(i.Meter)
	case colAddress:
		return plainText(i.Address)
	case colReason:
		return string(i.NoReading)
	case colNote:
		return plainText(i.Note)
	case colTakenAt:
		if i.TakenAt == nil {
			return ""
		}
		return i.TakenAt.In(zone).Format("2006-01-02 15:04:05")
	}
	if n := registerIndex(column); n >= 0 && n < len(i.Registers) {
		return i.Service.Format(i.Registers[n])
	}
	return ""
}

// plainText keeps a spreadsheet from taking what somebody typed for a formula.
func plainText(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// writeCSV begins with the mark by which spreadsheets know UTF-8.
func writeCSV(w io.Writer, records [][]string) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return err
	}
	c := csv.NewWriter(w)
	c.UseCRLF = true
	return c.WriteAll(records)
}
