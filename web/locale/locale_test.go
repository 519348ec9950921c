package locale

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// Uses that the catalogue test finds: a literal handed to T, and the marker for keys that travel as data.
var (
	callOfT   = regexp.MustCompile(`\b(?:locale\.)?T\(\s*[\w.()]+,\s*"([^"]+)"`)
	markOfKey = regexp.MustCompile(`\b(?:locale\.)?Key\("([^"]+)"\)`)
	verb      = regexp.MustCompile(`%(\[\d+\])?[-+# 0]*\d*(?:\.\d+)?([a-zA-Z%])`)
)

// usedKeys maps each key in the sources below root to one file that uses it.
func usedKeys(t *testing.T, root fs.FS) map[string]string {
	t.Helper()
	used := map[string]string{}
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		source := strings.HasSuffix(path, ".templ") ||
			strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_templ.go") && !strings.HasSuffix(path, "_test.go")
		if !source {
			return nil
		}
		raw, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(raw), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			for _, re := range []*regexp.Regexp{callOfT, markOfKey} {
				for _, m := range re.FindAllStringSubmatch(line, -1) {
					used[m[1]] = path
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	return used
}

// faults compares a catalogue with the keys that sources use.
func faults(entries map[string]Entry, used map[string]string) []string {
	var out []string
	for key, path := range used {
		if _, ok := entries[key]; !ok {
			out = append(out, "missing: "+key+" (used in "+path+"); add it to web/locale/messages")
		}
	}
	for key, e := range entries {
		if _, ok := used[key]; !ok && !strings.HasPrefix(key, "state.") {
			out = append(out, "unused: "+key+"; delete it or mark its use with locale.Key")
		}
		if strings.TrimSpace(e.ZH) == "" || strings.TrimSpace(e.EN) == "" {
			out = append(out, "one language only: "+key)
		}
		if !slices.Equal(placeholders(e.ZH), placeholders(e.EN)) {
			out = append(out, "placeholders differ: "+key)
		}
		if e.One != "" && len(placeholders(e.EN)) == 0 {
			out = append(out, "a singular without a number: "+key)
		}
	}
	slices.Sort(out)
	return out
}

func placeholders(text string) []string {
	var out []string
	for _, m := range verb.FindAllStringSubmatch(text, -1) {
		if m[2] != "%" {
			out = append(out, m[2])
		}
	}
	slices.Sort(out)
	return out
}

func TestCatalogue_matchesSources(t *testing.T) {
	entries, err := readEntries(files)
	require.NoError(t, err)
	require.Empty(t, faults(entries, usedKeys(t, os.DirFS(filepath.Join("..")))))
}

func TestCatalogue_faultsAreFound(t *testing.T) {
	used := usedKeys(t, fstest.MapFS{
		"page.templ":    {Data: []byte(`<p>{ locale.T(ctx, "a.ok") } { locale.T(r.Context(), "a.gone", 3) }</p>`)},
		"nav.go":        {Data: []byte(`var x = locale.Key("a.verbs")`)},
		"nav_test.go":   {Data: []byte(`locale.Key("not.counted")`)},
		"page_templ.go": {Data: []byte(`locale.T(ctx, "generated.not.counted")`)},
	})
	require.Equal(t, []string{
		"missing: a.gone (used in page.templ); add it to web/locale/messages",
		"one language only: a.half",
		"placeholders differ: a.verbs",
		"unused: a.half; delete it or mark its use with locale.Key",
	}, faults(map[string]Entry{
		"a.ok":    {ZH: "好", EN: "fine"},
		"a.verbs": {ZH: "%d 张", EN: "%d of %d"},
		"a.half":  {ZH: "半"},
	}, used))
}

func TestCatalogue_stateWordsAreComplete(t *testing.T) {
	entries, err := readEntries(files)
	require.NoError(t, err)
	want := map[string]bool{}
	for _, kind := range Kinds() {
		for _, word := range Words(kind) {
			key := stateKey(kind, word)
			want[key] = true
			require.Contains(t, entries, key)
		}
	}
	for key := range entries {
		if strings.HasPrefix(key, "state.") {
			require.True(t, want[key], "%s is in the catalogue but not in the words of its kind", key)
		}
	}
}

func TestReadEntries_refusesAKeyInTwoFiles(t *testing.T) {
	_, err := readEntries(fstest.MapFS{
		"messages/a.json": {Data: []byte(`{"k": {"zh": "一", "en": "one"}}`)},
		"messages/b.json": {Data: []byte(`{"k": {"zh": "二", "en": "two"}}`)},
	})
	require.ErrorContains(t, err, `key "k" is in both messages/a.json and messages/b.json`)
}

func TestT(t *testing.T) {
	zh, en := context.Background(), WithLang(context.Background(), EN)
	require.Equal(t, "3 小时前", T(zh, "span.ago", T(zh, "span.hours", 3)))
	require.Equal(t, "3 h ago", T(en, "span.ago", T(en, "span.hours", 3)))
	require.Equal(t, "1 row", T(en, "table.count", 1))
	require.Equal(t, "1,200 rows", T(en, "table.count", 1200))
	require.Equal(t, "no.such.key", T(en, "no.such.key"))
	require.Equal(t, "存疑", State(zh, Recharge, "in_doubt"))
	require.Equal(t, "In doubt", State(en, Recharge, "in_doubt"))
	require.Equal(t, "melted", State(en, Recharge, "melted"), "an unknown state is shown, not hidden")
}
