package sheet

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/meterflow/meterflow/internal/billing"
)

// mostRows is how many lines a sheet of Excel holds, the head among them.
const mostRows = excelize.TotalRows

type excelFile struct {
	out     io.Writer
	book    *excelize.File
	stream  *excelize.StreamWriter
	columns int
	row     int
	styles  map[string]int // by number format
}

// usualWidth of a column, in characters.
const usualWidth = 14

func newExcel(out io.Writer, name string, columns []Column) (*excelFile, error) {
	f := &excelFile{out: out, book: excelize.NewFile(), columns: len(columns), row: 1, styles: map[string]int{}}
	if err := f.book.SetSheetName(f.book.GetSheetName(0), name); err != nil {
		return nil, err
	}
	var err error
	if f.stream, err = f.book.NewStreamWriter(name); err != nil {
		return nil, err
	}
	bold, err := f.book.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}})
	if err != nil {
		return nil, err
	}
	head := make([]any, len(columns))
	for i, c := range columns {
		width := c.Width
		if width == 0 {
			width = usualWidth
		}
		if err := f.stream.SetColWidth(i+1, i+1, float64(width)); err != nil {
			return nil, err
		}
		head[i] = excelize.Cell{StyleID: bold, Value: c.Title}
	}
	if err := f.stream.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return nil, err
	}
	return f, f.stream.SetRow("A1", head)
}

// Row writes one line.
func (f *excelFile) Row(cells ...any) error {
	if len(cells) != f.columns {
		return fmt.Errorf("a row of %d cells in a list of %d columns", len(cells), f.columns)
	}
	if f.row++; f.row > mostRows {
		return billing.Errorf(billing.CodeInvalidInput, "the list has more than %d rows, which is all that a sheet of Excel holds: narrow the filter, or take CSV", mostRows-1)
	}
	values := make([]any, len(cells))
	for i, cell := range cells {
		var err error
		if values[i], err = f.cell(cell); err != nil {
			return err
		}
	}
	at, err := excelize.CoordinatesToCellName(1, f.row)
	if err != nil {
		return err
	}
	return f.stream.SetRow(at, values)
}

func (f *excelFile) cell(cell any) (any, error) {
	switch v := cell.(type) {
	case nil, string:
		return v, nil
	case int:
		return f.styled("#,##0", v)
	case billing.Money:
		return f.number(Raw{N: int64(v), Scale: 2})
	case Raw:
		return f.number(v)
	case billing.Date:
		if v.IsZero() {
			return nil, nil
		}
		return f.styled("yyyy-mm-dd", v.Start(time.UTC))
	}
	return nil, fmt.Errorf("a list has no cell of type %T", cell)
}

// number is a decimal as Excel keeps it. A spreadsheet knows binary floats only; the shortest decimal of the float is the one that
// we mean, so that what is written into the file are its exact digits.
func (f *excelFile) number(r Raw) (any, error) {
	value, err := strconv.ParseFloat(r.decimal(), 64)
	if err != nil {
		return nil, err
	}
	format := "#,##0"
	for i := range r.Scale {
		if i == 0 {
			format += "."
		}
		format += "0"
	}
	return f.styled(format, value)
}

func (f *excelFile) styled(format string, value any) (any, error) {
	id, ok := f.styles[format]
	if !ok {
		var err error
		if id, err = f.book.NewStyle(&excelize.Style{CustomNumFmt: &format}); err != nil {
			return nil, err
		}
		f.styles[format] = id
	}
	return excelize.Cell{StyleID: id, Value: value}, nil
}

// Close writes the file; rows beyond a few megabytes have waited on disk until now.
func (f *excelFile) Close() error {
	err := f.stream.Flush()
	if err == nil {
		err = f.book.Write(f.out)
	}
	return errors.Join(err, f.book.Close())
}
