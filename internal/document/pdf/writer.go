package pdf

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// Info is what a reader shows about the file.
type Info struct {
	Title   string
	Created time.Time
}

// Writer writes one file. Its first error stays: drawing goes on without effect and Close tells it.
type Writer struct {
	out     io.Writer
	at      int64
	offsets []int64 // by object number; 0 for one that isn't written yet
	pages   []int   // object numbers
	faces   []*face
	first   int // object number of the first face's objects
	info    Info

	page   *Page
	packed bytes.Buffer
	zip    *zlib.Writer
	err    error
}

// Objects of every file: the catalogue, the list of pages, what is known about it, and then five per face.
const (
	catalogObject = 1
	pagesObject   = 2
	infoObject    = 3
	facesObject   = 4
	perFace       = 5
)

// New begins a file. Text is written in the first font that has its sign.
func New(out io.Writer, fonts []*Font, info Info) *Writer {
	w := &Writer{out: out, info: info, first: facesObject, zip: zlib.NewWriter(io.Discard)}
	for _, f := range fonts {
		w.faces = append(w.faces, newFace(f))
	}
	w.offsets = make([]int64, facesObject+perFace*len(fonts))
	if len(fonts) == 0 {
		w.err = errors.New("a PDF file needs a font")
	}
	w.printf("%%PDF-1.7\n%%\xe2\xe3\xcf\xd3\n")
	return w
}

func (w *Writer) printf(format string, args ...any) {
	if w.err != nil {
		return
	}
	n, err := fmt.Fprintf(w.out, format, args...)
	w.at += int64(n)
	w.err = err
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.out.Write(b)
	w.at += int64(n)
	w.err = err
}

// object writes one object under a number that was kept for it.
func (w *Writer) object(number int, body string) {
	w.offsets[number] = w.at
	w.printf("%d 0 obj\n%s\nendobj\n", number, body)
}

// stream writes an object with packed content; dictionary is what it says beside its length.
func (w *Writer) stream(number int, dictionary string, content []byte) {
	w.packed.Reset()
	w.zip.Reset(&w.packed)
	_, err := w.zip.Write(content)
	if err = errors.Join(err, w.zip.Close()); err != nil && w.err == nil {
		w.err = err
	}
	w.offsets[number] = w.at
	w.printf("%d 0 obj\n<<%s/Filter/FlateDecode/Length %d>>\nstream\n", number, dictionary, w.packed.Len())
	w.write(w.packed.Bytes())
	w.printf("\nendstream\nendobj\n")
}

func (w *Writer) next() int {
	w.offsets = append(w.offsets, 0)
	return len(w.offsets) - 1
}

// NewPage sends the page before on its way and begins one of the given size, in points.
func (w *Writer) NewPage(width, height float64) *Page {
	w.endPage()
	w.page = &Page{w: w, width: width, height: height}
	return w.page
}

// PageCount is how many pages were begun.
func (w *Writer) PageCount() int {
	if w.page != nil {
		return len(w.pages) + 1
	}
	return len(w.pages)
}

// Err is the first error so far: a reader who went away need not be written for.
func (w *Writer) Err() error { return w.err }

func (w *Writer) endPage() {
	p := w.page
	if p == nil {
		return
	}
	w.page = nil
	content, page := w.next(), w.next()
	w.stream(content, "", p.content.Bytes())
	w.object(page, fmt.Sprintf("<</Type/Page/Parent %d 0 R/MediaBox[0 0 %s %s]/Resources<</Font<<%s>>>>/Contents %d 0 R>>",
		pagesObject, point(p.width), point(p.height), w.fontNames(), content))
	w.pages = append(w.pages, page)
}

func (w *Writer) fontNames() string {
	var b strings.Builder
	for i := range w.faces {
		fmt.Fprintf(&b, "/F%d %d 0 R", i, w.first+perFace*i)
	}
	return b.String()
}

// Close sends the last page, the fonts and the directory. A file without a page is an error.
func (w *Writer) Close() error {
	w.endPage()
	if len(w.pages) == 0 && w.err == nil {
		w.err = errors.New("a PDF file needs a page")
	}
	for i, c := range w.faces {
		w.face(w.first+perFace*i, c)
	}
	var kids strings.Builder
	for _, p := range w.pages {
		fmt.Fprintf(&kids, "%d 0 R ", p)
	}
	w.object(pagesObject, fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]>>", len(w.pages), strings.TrimSpace(kids.String())))
	w.object(catalogObject, fmt.Sprintf("<</Type/Catalog/Pages %d 0 R/Lang(zh-CN)>>", pagesObject))
	w.object(infoObject, fmt.Sprintf("<</Title %s/Producer(Meterflow)/CreationDate(D:%sZ)>>", textString(w.info.Title), w.info.Created.UTC().Format("20060102150405")))
	start := w.at
	w.printf("xref\n0 %d\n0000000000 65535 f \n", len(w.offsets))
	for _, at := range w.offsets[1:] {
		w.printf("%010d 00000 n \n", at)
	}
	w.printf("trailer\n<</Size %d/Root %d 0 R/Info %d 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(w.offsets), catalogObject, infoObject, start)
	return w.err
}

// face writes the five objects of a font: the composite font, its descendant, descriptor, file, and the way back to Unicode.
func (w *Writer) face(number int, c *face) {
	name, head, hhea := "AAAAAA+"+c.name, c.tables["head"], c.tables["hhea"]
	scaled := func(b []byte, at int) int { return int(int16(u16(b, at))) * 1000 / c.units } //nolint:gosec // a signed field
	w.object(number, fmt.Sprintf("<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[%d 0 R]/ToUnicode %d 0 R>>", name, number+1, number+4))
	w.object(number+1, fmt.Sprintf("<</Type/Font/Subtype/CIDFontType2/BaseFont/%s/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"+
		"/CIDToGIDMap/Identity/DW 1000/W[0[%s]]/FontDescriptor %d 0 R>>", name, strings.Trim(fmt.Sprint(c.widths), "[]"), number+2))
	w.object(number+2, fmt.Sprintf("<</Type/FontDescriptor/FontName/%s/Flags 4/FontBBox[%d %d %d %d]/ItalicAngle 0/Ascent %d/Descent %d/CapHeight %d/StemV 80/FontFile2 %d 0 R>>",
		name, scaled(head, 36), scaled(head, 38), scaled(head, 40), scaled(head, 42), scaled(hhea, 4), scaled(hhea, 6), scaled(hhea, 4), number+3))
	file := c.subset(c.glyphs)
	w.stream(number+3, fmt.Sprintf("/Length1 %d", len(file)), file)
	w.stream(number+4, "", toUnicode(c.runes))
}

// toUnicode says which sign each glyph stands for, so that text can be searched and copied. Blocks hold at most a hundred.
func toUnicode(runes []rune) []byte {
	var b bytes.Buffer
	b.WriteString("/CIDInit/ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def\n" +
		"/CMapName/Adobe-Identity-UCS def\n/CMapType 2 def\n1 begincodespacerange\n<0000><FFFF>\nendcodespacerange\n")
	const block = 100
	for from := 1; from < len(runes); from += block {
		to := min(from+block, len(runes))
		fmt.Fprintf(&b, "%d beginbfchar\n", to-from)
		for n := from; n < to; n++ {
			fmt.Fprintf(&b, "<%04X><%s>\n", n, utf16Hex(string(runes[n])))
		}
		b.WriteString("endbfchar\n")
	}
	b.WriteString("endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n")
	return b.Bytes()
}

func utf16Hex(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, "%04X", unit)
	}
	return b.String()
}

func textString(s string) string { return "<FEFF" + utf16Hex(s) + ">" }

// point writes a length with two decimals at most.
func point(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

// Page is the page that is being drawn. Places are in points from its upper left corner.
type Page struct {
	w             *Writer
	width, height float64
	content       bytes.Buffer
}

// Text writes one line of text whose baseline begins at x, y. Grey 0 is black.
func (p *Page) Text(x, y, size, grey float64, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(&p.content, "BT %s g 1 0 0 1 %s %s Tm", point(grey), point(x), point(p.height-y))
	for _, run := range p.w.runs(text) {
		fmt.Fprintf(&p.content, " /F%d %s Tf <%s> Tj", run.face, point(size), hex.EncodeToString(run.codes))
	}
	p.content.WriteString(" ET\n")
}

// Line draws a straight line.
func (p *Page) Line(x1, y1, x2, y2, width, grey float64) {
	fmt.Fprintf(&p.content, "%s G %s w %s %s m %s %s l S\n", point(grey), point(width), point(x1), point(p.height-y1), point(x2), point(p.height-y2))
}

// Box fills a rectangle.
func (p *Page) Box(x, y, width, height, grey float64) {
	fmt.Fprintf(&p.content, "%s g %s %s %s %s re f\n", point(grey), point(x), point(p.height-y-height), point(width), point(height))
}

// run is a piece of text in one face.
type run struct {
	face  int
	codes []byte
}

func (w *Writer) runs(text string) []run {
	var list []run
	for _, r := range text {
		at, n := w.find(r)
		if len(list) == 0 || list[len(list)-1].face != at {
			list = append(list, run{face: at})
		}
		last := &list[len(list)-1]
		last.codes = append(last.codes, byte(n>>8), byte(n)) //nolint:gosec // a font has 65,535 glyphs at most
	}
	return list
}

// find is the face that has a sign, and the number of its glyph; without any it is the sign for a missing one.
func (w *Writer) find(r rune) (at, number int) {
	for i, c := range w.faces {
		if n, ok := c.number(r); ok {
			return i, n
		}
	}
	return 0, 0
}

// Width is how wide a text is, in points.
func (w *Writer) Width(text string, size float64) float64 {
	sum := 0
	for _, r := range text {
		at, n := w.find(r)
		sum += w.faces[at].widths[n]
	}
	return float64(sum) * size / 1000
}
