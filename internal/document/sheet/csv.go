package sheet

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/meterflow/meterflow/internal/billing"
)

// byteOrderMark tells Excel that a CSV file is UTF-8; without it Chinese comes out as rubbish.
const byteOrderMark = "\ufeff"

type csvFile struct {
	w       *csv.Writer
	columns int
}

func newCSV(out io.Writer, columns []Column) (*csvFile, error) {
	if _, err := io.WriteString(out, byteOrderMark); err != nil {
		return nil, err
	}
	f := &csvFile{w: csv.NewWriter(out), columns: len(columns)}
	f.w.UseCRLF = true
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.Title
	}
	return f, f.w.Write(titles)
}

// Row writes one line.
func (f *csvFile) Row(cells ...any) error {
	if len(cells) != f.columns {
		return fmt.Errorf("a row of %d cells in a list of %d columns", len(cells), f.columns)
	}
	texts := make([]string, len(cells))
	for i, cell := range cells {
		var err error
		if texts[i], err = csvText(cell); err != nil {
			return err
		}
	}
	return f.w.Write(texts)
}

// csvText writes a cell. A text that a spreadsheet would take for a formula gets an apostrophe in front: names come from outside.
func csvText(cell any) (string, error) {
	switch v := cell.(type) {
	case nil:
		return "", nil
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			return "'" + v, nil
		}
		return v, nil
	case billing.Money:
		return v.String(), nil
	case Raw:
		return v.decimal(), nil
	case int:
		return strconv.Itoa(v), nil
	case billing.Date:
		return v.String(), nil
	}
	return "", fmt.Errorf("a list has no cell of type %T", cell)
}

// Close sends what is left.
func (f *csvFile) Close() error {
	f.w.Flush()
	return f.w.Error()
}
