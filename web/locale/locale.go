// Package locale owns every word that a person reads on the pages: one catalogue for 简体中文 and English, the choice of
// language for a request, and the way that money, quantities, dates and waiting times are written.
//
// The catalogue is the set of files messages/*.json, one per area of the pages, each {"key": {"zh": "…", "en": "…"}}.
// A key belongs to one file only. "one" may be added beside "en" for the English singular of the first argument:
//
//	{"cases.count": {"zh": "%d 张工单", "en": "%d cases", "one": "%d case"}}
//
// A test of this package reads all .templ and .go files below web/ and fails on a key that is used and missing, present
// and unused, without a language, or with different placeholders in the two. It finds keys as literals in
// locale.T(ctx, "key") and, where a key travels as data, in the marker locale.Key("key").
//
// Sentences that are made where nobody knows a language (refusals, reasons, what devices answered) get their Chinese from sentences.json; a
// test reads the code for them and fails on one that has none.
//
// It refuses to know pages, the database or business rules: it turns values into text, nothing else.
package locale

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// Language is one of the two languages that the pages speak.
type Language string

// The languages. Chinese is the default: it is what the users work in.
const (
	ZH Language = "zh"
	EN Language = "en"
)

// Tag is the BCP 47 tag for the html lang attribute, which decides the glyphs that browsers choose.
func (l Language) Tag() string {
	if l == EN {
		return "en"
	}
	return "zh-CN"
}

// Other is the language that a switch on the page leads to.
func (l Language) Other() Language {
	if l == EN {
		return ZH
	}
	return EN
}

// Entry is one message in both languages; One is the optional English singular.
type Entry struct {
	ZH  string `json:"zh"`
	EN  string `json:"en"`
	One string `json:"one,omitempty"`
}

//go:embed messages/*.json
var files embed.FS

type book struct {
	entries  map[string]Entry
	printers map[Language]*message.Printer
}

// load reads the embedded catalogue once. It panics on a broken file: the files are part of the program, and the
// test of this package is where such a fault is meant to be met.
var load = sync.OnceValue(func() book {
	entries, err := readEntries(files)
	if err != nil {
		panic(err)
	}
	b, err := newBook(entries)
	if err != nil {
		panic(err)
	}
	return b
})

func readEntries(fsys fs.FS) (map[string]Entry, error) {
	names, err := fs.Glob(fsys, "messages/*.json")
	if err != nil {
		return nil, err
	}
	all := map[string]Entry{}
	from := map[string]string{}
	for _, name := range names {
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		var part map[string]Entry
		if err := json.Unmarshal(raw, &part); err != nil {
			return nil, fmt.Errorf("locale: %s is no catalogue of messages: %w", name, err)
		}
		for key, entry := range part {
			if other, taken := from[key]; taken {
				return nil, fmt.Errorf("locale: key %q is in both %s and %s; keep it in one", key, other, name)
			}
			from[key], all[key] = name, entry
		}
	}
	return all, nil
}

func newBook(entries map[string]Entry) (book, error) {
	b := catalog.NewBuilder(catalog.Fallback(language.Chinese))
	for key, e := range entries {
		if err := b.SetString(language.Chinese, key, e.ZH); err != nil {
			return book{}, fmt.Errorf("locale: %s (zh): %w", key, err)
		}
		english := []catalog.Message{catalog.String(e.EN)}
		if e.One != "" {
			english = []catalog.Message{plural.Selectf(1, "%d", "=1", e.One, "other", e.EN)}
		}
		if err := b.Set(language.English, key, english...); err != nil {
			return book{}, fmt.Errorf("locale: %s (en): %w", key, err)
		}
	}
	return book{entries: entries, printers: map[Language]*message.Printer{
		ZH: message.NewPrinter(language.Chinese, message.Catalog(b)),
		EN: message.NewPrinter(language.English, message.Catalog(b)),
	}}, nil
}

type ctxKey int

const (
	langKey ctxKey = iota
	zoneKey
)

// WithLang returns a context whose texts are in l.
func WithLang(ctx context.Context, l Language) context.Context {
	return context.WithValue(ctx, langKey, l)
}

// Lang is the language of the context: Chinese unless something else was set.
func Lang(ctx context.Context) Language {
	if l, ok := ctx.Value(langKey).(Language); ok && l == EN {
		return EN
	}
	return ZH
}

// china is the zone of a page that belongs to no site. China keeps one zone without summer time, so a fixed offset is
// exact for every instant since 1992 and needs no zone files on the machine.
var china = time.FixedZone("Asia/Shanghai", 8*60*60)

// WithZone returns a context whose dates are in the zone of a site. A nil zone leaves the context as it is.
func WithZone(ctx context.Context, zone *time.Location) context.Context {
	if zone == nil {
		return ctx
	}
	return context.WithValue(ctx, zoneKey, zone)
}

// Zone is the zone that dates of this context are written in: Asia/Shanghai unless a site's was set.
func Zone(ctx context.Context) *time.Location {
	if z, ok := ctx.Value(zoneKey).(*time.Location); ok {
		return z
	}
	return china
}

// T is the message of key in the language of ctx with its placeholders filled. Integers get thousands separators from
// %d; pass numbers of accounts and receipts as strings. An unknown key is shown as itself, so that a slip is seen and
// nothing breaks; the test keeps such slips out.
func T(ctx context.Context, key string, args ...any) string {
	b := load()
	if _, known := b.entries[key]; !known {
		return key
	}
	return b.printers[Lang(ctx)].Sprintf(message.Key(key, key), args...)
}

// Has says whether the catalogue holds key. It serves texts whose key is built from a value that comes from outside.
func Has(key string) bool {
	_, ok := load().entries[key]
	return ok
}

// Key marks a literal as a catalogue key where it travels as data (a table of navigation items, a switch) and reaches
// T as a variable. It returns its argument; the test of this package counts it as a use.
func Key(key string) string { return key }
