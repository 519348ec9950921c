package pdf

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// Font is a TrueType font to write with; it may serve any number of writers at once.
type Font struct {
	name   string // PostScript name
	tables map[string][]byte
	parsed *sfnt.Font
	units  int // per em
	long   bool
}

// ParseFont reads a TrueType font with outlines in a glyf table. name is its PostScript name.
func ParseFont(name string, data []byte) (*Font, error) {
	parsed, err := sfnt.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("font %s: %w", name, err)
	}
	tables, err := tablesOf(data)
	if err != nil {
		return nil, fmt.Errorf("font %s: %w", name, err)
	}
	for table, least := range map[string]int{"head": 54, "hhea": 36, "maxp": 6, "hmtx": 4, "loca": 2, "glyf": 0} {
		if content, ok := tables[table]; !ok || len(content) < least {
			return nil, fmt.Errorf("font %s has no usable %s table: give a TrueType font with outlines", name, table)
		}
	}
	f := &Font{name: name, tables: tables, parsed: parsed, units: int(parsed.UnitsPerEm()), long: u16(tables["head"], 50) == 1}
	return f, nil
}

func u16(b []byte, at int) int { return int(binary.BigEndian.Uint16(b[at:])) }

func u32(b []byte, at int) int { return int(binary.BigEndian.Uint32(b[at:])) }

// tablesOf cuts a font file at its directory.
func tablesOf(data []byte) (map[string][]byte, error) {
	if len(data) < 12 {
		return nil, fmt.Errorf("the file ends before its table directory")
	}
	tables := map[string][]byte{}
	for i := range u16(data, 4) {
		entry := 12 + 16*i
		if entry+16 > len(data) {
			return nil, fmt.Errorf("the table directory is cut off")
		}
		from, size := u32(data, entry+8), u32(data, entry+12)
		if from+size > len(data) {
			return nil, fmt.Errorf("table %s lies beyond the end of the file", data[entry:entry+4])
		}
		tables[string(data[entry:entry+4])] = data[from : from+size]
	}
	return tables, nil
}

// glyph is the outline of a glyph; empty for a blank one.
func (f *Font) glyph(id int) []byte {
	loca, glyf := f.tables["loca"], f.tables["glyf"]
	at := func(i int) int {
		if f.long {
			if 4*i+4 > len(loca) {
				return 0
			}
			return u32(loca, 4*i)
		}
		if 2*i+2 > len(loca) {
			return 0
		}
		return 2 * u16(loca, 2*i)
	}
	from, to := at(id), at(id+1)
	if from >= to || to > len(glyf) {
		return nil
	}
	return glyf[from:to]
}

// metric is the advance and left bearing of a glyph, as they stand in hmtx.
func (f *Font) metric(id int) []byte {
	hmtx, n := f.tables["hmtx"], u16(f.tables["hhea"], 34)
	advance := 4 * min(id, n-1)
	bearing := advance + 2
	if id >= n {
		bearing = 4*n + 2*(id-n)
	}
	if bearing+2 > len(hmtx) {
		return []byte{hmtx[advance], hmtx[advance+1], 0, 0}
	}
	return []byte{hmtx[advance], hmtx[advance+1], hmtx[bearing], hmtx[bearing+1]}
}

// Bits of a composite glyph's component.
const (
	wordArguments  = 0x0001
	haveScale      = 0x0008
	moreComponents = 0x0020
	haveTwoScales  = 0x0040
	haveMatrix     = 0x0080
)

// eachComponent calls see with the place of each component's glyph number in a composite outline.
func eachComponent(outline []byte, see func(at int)) {
	if len(outline) < 10 || int16(binary.BigEndian.Uint16(outline)) >= 0 { //nolint:gosec // the sign says composite
		return
	}
	for at := 10; at+4 <= len(outline); {
		flags := u16(outline, at)
		see(at + 2)
		at += 6
		if flags&wordArguments != 0 {
			at += 2
		}
		switch {
		case flags&haveScale != 0:
			at += 2
		case flags&haveTwoScales != 0:
			at += 4
		case flags&haveMatrix != 0:
			at += 8
		}
		if flags&moreComponents == 0 {
			return
		}
	}
}

// subset is the font file with the given glyphs only, renumbered in their order; glyph 0 is the sign for a missing one. Glyphs that
// others are composed of follow after them.
func (f *Font) subset(glyphs []sfnt.GlyphIndex) []byte {
	old := make([]int, len(glyphs))
	number := map[int]int{}
	for i, g := range glyphs {
		old[i] = int(g)
		number[int(g)] = i
	}
	var glyf, loca, hmtx []byte
	for i := 0; i < len(old); i++ {
		outline := slices.Clone(f.glyph(old[i]))
		eachComponent(outline, func(at int) {
			part := u16(outline, at)
			if _, known := number[part]; !known {
				number[part] = len(old)
				old = append(old, part)
			}
			binary.BigEndian.PutUint16(outline[at:], uint16(number[part])) //nolint:gosec // fewer than the font has
		})
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf))) //nolint:gosec // smaller than the font
		glyf = append(glyf, outline...)
		for len(glyf)%4 != 0 {
			glyf = append(glyf, 0)
		}
		hmtx = append(hmtx, f.metric(old[i])...)
	}
	loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf))) //nolint:gosec // smaller than the font
	count := uint16(len(old))                                     //nolint:gosec // fewer than the font has
	head, hhea, maxp := slices.Clone(f.tables["head"]), slices.Clone(f.tables["hhea"]), slices.Clone(f.tables["maxp"])
	binary.BigEndian.PutUint32(head[8:], 0)
	binary.BigEndian.PutUint16(head[50:], 1)
	binary.BigEndian.PutUint16(hhea[34:], count)
	binary.BigEndian.PutUint16(maxp[4:], count)
	tables := map[string][]byte{"glyf": glyf, "head": head, "hhea": hhea, "hmtx": hmtx, "loca": loca, "maxp": maxp}
	for _, hints := range []string{"cvt ", "fpgm", "prep"} {
		if content, ok := f.tables[hints]; ok {
			tables[hints] = content
		}
	}
	return fontFile(tables)
}

// fontFile joins tables to a font file.
func fontFile(tables map[string][]byte) []byte {
	names := make([]string, 0, len(tables))
	for name := range tables {
		names = append(names, name)
	}
	slices.Sort(names)
	n, power, log := len(names), 1, 0
	for power*2 <= n {
		power, log = power*2, log+1
	}
	out := []byte{0, 1, 0, 0}
	for _, v := range []int{n, power * 16, log, (n - power) * 16} {
		out = binary.BigEndian.AppendUint16(out, uint16(v)) //nolint:gosec // a dozen tables
	}
	at := 12 + 16*n
	for _, name := range names {
		content := tables[name]
		out = append(out, name...)
		for _, v := range []uint32{checksum(content), uint32(at), uint32(len(content))} { //nolint:gosec // font files are small
			out = binary.BigEndian.AppendUint32(out, v)
		}
		at += (len(content) + 3) &^ 3
	}
	for _, name := range names {
		out = append(out, tables[name]...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	return out
}

func checksum(b []byte) uint32 {
	var sum uint32
	for i := 0; i < len(b); i += 4 {
		var word [4]byte
		copy(word[:], b[i:])
		sum += binary.BigEndian.Uint32(word[:])
	}
	return sum
}

// face is a font as one file uses it: each glyph gets its number when it is first used.
type face struct {
	*Font
	buffer  sfnt.Buffer
	numbers map[rune]int
	glyphs  []sfnt.GlyphIndex // by number; 0 is the sign for a missing glyph
	runes   []rune            // by number, for copying text out of the file
	widths  []int             // by number, in thousandths of the size
}

func newFace(f *Font) *face {
	c := &face{Font: f, numbers: map[rune]int{}}
	c.add(0, 0)
	return c
}

func (c *face) add(r rune, g sfnt.GlyphIndex) int {
	advance, err := c.parsed.GlyphAdvance(&c.buffer, g, fixed.I(c.units), font.HintingNone)
	if err != nil {
		advance = fixed.I(c.units)
	}
	c.glyphs, c.runes = append(c.glyphs, g), append(c.runes, r)
	c.widths = append(c.widths, advance.Round()*1000/c.units)
	return len(c.glyphs) - 1
}

// number is that of a rune's glyph in the file; ok is false when the font has none.
func (c *face) number(r rune) (n int, ok bool) {
	if n, ok := c.numbers[r]; ok {
		return n, n > 0
	}
	g, err := c.parsed.GlyphIndex(&c.buffer, r)
	if err != nil || g == 0 {
		c.numbers[r] = 0
		return 0, false
	}
	n = c.add(r, g)
	c.numbers[r] = n
	return n, true
}
