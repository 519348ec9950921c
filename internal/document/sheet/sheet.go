// Package sheet writes lists for spreadsheets, row by row: CSV that Excel opens with its Chinese whole, and Excel files in which
// numbers are numbers with a format. It owns the two forms of a cell; it refuses to know what a list is about.
package sheet

import (
	"io"
	"strconv"
	"strings"
)

// Column is the head of a column. Width is in characters; 0 is the usual one.
type Column struct {
	Title string
	Width int
}

// Raw is a quantity of N·10^−Scale, such as raw register units. A nil cell is empty.
type Raw struct {
	N     int64
	Scale int
}

// Writer takes a list row by row. Cells are string, billing.Money, Raw, int, billing.Date or nil; another type is an error. Nothing
// is complete before Close.
type Writer interface {
	Row(cells ...any) error
	Close() error
}

// Format is a kind of file.
type Format string

// The formats, named as their files end.
const (
	CSV   Format = "csv"
	Excel Format = "xlsx"
)

// ContentType is what a browser is told.
func (f Format) ContentType() string {
	if f == Excel {
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	}
	return "text/csv; charset=utf-8"
}

// New begins a file; name is the sheet's in an Excel file.
func New(f Format, out io.Writer, name string, columns []Column) (Writer, error) {
	if f == Excel {
		return newExcel(out, name, columns)
	}
	return newCSV(out, columns)
}

// decimal writes a raw value as a plain decimal: 1234567 with scale 2 is "12345.67".
func (r Raw) decimal() string {
	digits, sign := strconv.FormatInt(r.N, 10), ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if r.Scale <= 0 {
		return sign + digits
	}
	if short := r.Scale + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	at := len(digits) - r.Scale
	return sign + digits[:at] + "." + digits[at:]
}
