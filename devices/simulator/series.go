package simulator

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the load series
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed data/electricity.csv.gz
var electricityData []byte

//go:embed data/water.csv.gz
var waterData []byte

// series is one measured load in half-hour slots, repeated when it ends. Slots are Wh or litres.
type series struct {
	id       string
	slots    []int64
	glitches []glitch
}

// glitch is a stretch of seconds into the series where the published register was wrong by offset litres.
type glitch struct {
	from, to int64
	offset   int64
}

func (s *series) days() int { return len(s.slots) / slotsPerDay }

type library struct{ electricity, water map[string]*series }

var loadLibrary = sync.OnceValues(func() (library, error) {
	electricity, err := loadElectricity()
	if err != nil {
		return library{}, fmt.Errorf("electricity series: %w", err)
	}
	water, err := loadWater()
	if err != nil {
		return library{}, fmt.Errorf("water series: %w", err)
	}
	return library{electricity: electricity, water: water}, nil
})

// SeriesIDs lists the load series of electricity or water, in alphabetical order.
func SeriesIDs(water bool) ([]string, error) {
	lib, err := loadLibrary()
	if err != nil {
		return nil, err
	}
	all := lib.electricity
	if water {
		all = lib.water
	}
	ids := make([]string, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids, nil
}

func findSeries(water bool, id string) (*series, error) {
	lib, err := loadLibrary()
	if err != nil {
		return nil, err
	}
	all := lib.electricity
	if water {
		all = lib.water
	}
	found, ok := all[id]
	if !ok {
		return nil, fmt.Errorf("there is no load series %q", id)
	}
	return found, nil
}

func readRows(data []byte, comma rune) ([][]string, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		return nil, err
	}
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comma = comma
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) < 2 {
		return nil, errors.New("no rows")
	}
	return rows[1:], nil // without the head
}

// loadElectricity reads energies per half hour. A missing half hour stays zero. A half hour that occurs twice (the
// clock's change) counts with both values: the energy was really used.
func loadElectricity() (map[string]*series, error) {
	rows, err := readRows(electricityData, ',')
	if err != nil {
		return nil, err
	}
	all := make(map[string]*series)
	starts := make(map[string]time.Time)
	for i, row := range rows {
		at, err := time.Parse(time.DateTime, row[1])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		wh, err := thousandths(row[2])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		s, ok := all[row[0]]
		if !ok {
			s = &series{id: row[0]}
			all[row[0]], starts[row[0]] = s, at.Truncate(24*time.Hour)
		}
		slot := int(at.Sub(starts[row[0]]) / slotLength)
		for len(s.slots) <= slot {
			s.slots = append(s.slots, make([]int64, slotsPerDay)...)
		}
		s.slots[slot] += wh
	}
	return all, nil
}

// thousandths reads a plain decimal with up to three places as an integer.
func thousandths(text string) (int64, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) > 3 {
		return 0, fmt.Errorf("%q has more than three places", text)
	}
	return strconv.ParseInt(whole+(fraction + "000")[:3], 10, 64)
}

type registerRow struct {
	at     int64 // seconds since the series' first midnight
	litres int64
}

func loadWater() (map[string]*series, error) {
	rows, err := readRows(waterData, ';')
	if err != nil {
		return nil, err
	}
	all := make(map[string]*series)
	var pending []registerRow
	var start time.Time
	for i, row := range rows {
		at, err := time.Parse("02/01/2006 15:04:05", row[1])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		litres, err := wholeNumber(row[2])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		if len(pending) == 0 {
			start = at.Truncate(24 * time.Hour)
		}
		pending = append(pending, registerRow{at: int64(at.Sub(start) / time.Second), litres: litres})
		if i+1 == len(rows) || rows[i+1][0] != row[0] {
			all[row[0]] = waterSeries(row[0], pending)
			pending = nil
		}
	}
	return all, nil
}

// wholeNumber reads litres; the publication writes a few of them as 4e+05.
func wholeNumber(text string) (int64, error) {
	value, ok := new(big.Rat).SetString(text)
	if !ok || !value.IsInt() || !value.Num().IsInt64() {
		return 0, fmt.Errorf("%q is no whole number of litres", text)
	}
	return value.Num().Int64(), nil
}

// waterSeries turns register rows into litres per half hour. What the water really did is the longest chain of rows in
// which the register never falls; the rows outside of it (steps back, a foreign register, -12288) are glitches of
// reading, kept with their distance from the truth.
func waterSeries(id string, rows []registerRow) *series {
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].at < rows[j].at })
	truth := longestRise(rows)
	s := &series{id: id}
	last := rows[len(rows)-1].at
	s.slots = make([]int64, (last/86400+1)*slotsPerDay)
	const slotSeconds = int64(slotLength / time.Second)
	previous := truth[0].litres
	for slot := range s.slots {
		now := interpolate(truth, int64(slot+1)*slotSeconds)
		s.slots[slot] = now - previous
		previous = now
	}
	for i, row := range rows {
		if real := interpolate(truth, row.at); real != row.litres && !contains(truth, row) {
			until := last
			if i+1 < len(rows) {
				until = rows[i+1].at
			}
			s.glitches = append(s.glitches, glitch{from: row.at, to: until, offset: row.litres - real})
		}
	}
	return s
}

// longestRise finds a longest subsequence whose register never falls.
func longestRise(rows []registerRow) []registerRow {
	tails := make([]int, 0, len(rows)) // tails[k]: row that ends the best chain of length k+1
	before := make([]int, len(rows))
	for i, row := range rows {
		k := sort.Search(len(tails), func(k int) bool { return rows[tails[k]].litres > row.litres })
		before[i] = -1
		if k > 0 {
			before[i] = tails[k-1]
		}
		if k == len(tails) {
			tails = append(tails, i)
		} else {
			tails[k] = i
		}
	}
	chain := make([]registerRow, len(tails))
	for i, k := tails[len(tails)-1], len(tails)-1; k >= 0; i, k = before[i], k-1 {
		chain[k] = rows[i]
	}
	return chain
}

// interpolate gives the register at an instant, linear between rows and constant outside of them.
func interpolate(rows []registerRow, at int64) int64 {
	next := sort.Search(len(rows), func(i int) bool { return rows[i].at > at })
	if next == 0 {
		return rows[0].litres
	}
	from := rows[next-1]
	if next == len(rows) {
		return from.litres
	}
	to := rows[next]
	return from.litres + (to.litres-from.litres)*(at-from.at)/(to.at-from.at)
}

func contains(rows []registerRow, row registerRow) bool {
	i := sort.Search(len(rows), func(i int) bool { return rows[i].at >= row.at })
	for ; i < len(rows) && rows[i].at == row.at; i++ {
		if rows[i].litres == row.litres {
			return true
		}
	}
	return false
}
