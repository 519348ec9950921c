// Package static holds the files that browsers fetch beside the pages: one stylesheet, one small script, htmx with its
// server-sent events extension (see LICENSES.md) and the icon. All are embedded in the program.
//
// A file's address carries the hash of its content, so browsers may keep it for a year and still get a new one at once.
// It refuses to serve anything that is not embedded.
package static

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"
)

//go:embed app.css app.js htmx.min.js sse.js icon.svg
var files embed.FS

// Prefix is where Handler must be mounted.
const Prefix = "/static/"

type asset struct {
	content []byte
	hash    string
}

var assets = sync.OnceValue(func() map[string]asset {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the embedded folder is part of the program
	}
	all := map[string]asset{}
	for _, e := range entries {
		content, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		all[e.Name()] = asset{content: content, hash: hex.EncodeToString(sum[:6])}
	}
	return all
})

// URL is the address of an embedded file with its hash: "/static/3f2a90c1d4e5/app.css". An unknown name gives an address
// that answers 404.
func URL(name string) string {
	return Prefix + assets()[name].hash + "/" + name
}

// Handler serves the embedded files below Prefix. An address with the right hash may be kept for a year; one with another
// hash, from a page that is older than this program, gets the present file and no permission to keep it.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Prefix), "/")
		a, ok := assets()[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if hash == a.hash {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		w.Header().Set("ETag", `"`+a.hash+`"`)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.content))
	})
}
