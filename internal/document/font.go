package document

import (
	_ "embed"
	"sync"

	"golang.org/x/image/font/gofont/goregular"

	"github.com/meterflow/meterflow/internal/document/pdf"
)

// Chinese comes from Google's Droid Sans Fallback, made smaller by font/make-subset; digits and Latin letters, which it lacks, from the
// Go project's font, whose digits are all of one width. Licences stand in NOTICE.
//
//go:embed font/DroidSansFallback-GBK.ttf
var chinese []byte

var fonts = sync.OnceValues(func() ([]*pdf.Font, error) {
	latin, err := pdf.ParseFont("GoRegular", goregular.TTF)
	if err != nil {
		return nil, err
	}
	han, err := pdf.ParseFont("DroidSansFallback", chinese)
	return []*pdf.Font{latin, han}, err
})
