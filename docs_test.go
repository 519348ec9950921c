package meterflow_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
)

// documents are all files that a link could go stale in.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md", "README.zh-CN.md"}
	err := filepath.WalkDir("docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	require.NoError(t, err)
	return files
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	policyRow    = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| `([^`]+)` \\|")
)

// anchors are the names by which the headings of a document can be linked to.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		names[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return names
}

// TestDocs_linksExist follows every link inside the tree. The pictures are taken from a running demo: they are wanted as soon as there
// is one.
func TestDocs_linksExist(t *testing.T) {
	_, err := os.Stat("docs/images")
	pictures := err == nil
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range markdownLink.FindAllStringSubmatch(string(text), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || !pictures && strings.HasPrefix(target, "docs/images/") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
			}
			linked, err := os.Stat(path)
			if err != nil {
				t.Errorf("%s links to %s, which doesn't exist", file, m[1])
				continue
			}
			if anchor == "" || linked.IsDir() {
				continue
			}
			there, err := os.ReadFile(path)
			require.NoError(t, err)
			if !anchors(string(there))[anchor] {
				t.Errorf("%s links to %s, but there is no such heading", file, m[1])
			}
		}
	}
}

// TestDocs_policy holds docs/policy.md against the defaults in the code: every field, and its value.
func TestDocs_policy(t *testing.T) {
	inCode := map[string]string{}
	text, err := json.Marshal(activities.DefaultPolicy())
	require.NoError(t, err)
	flatten(t, "", text, inCode)

	page, err := os.ReadFile("docs/policy.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, row := range policyRow.FindAllStringSubmatch(string(page), -1) {
		require.NotContains(t, documented, row[1], "listed twice")
		documented[row[1]] = row[2]
	}
	require.Equal(t, inCode, documented)
}

// flatten names each leaf of a JSON object by its path; a list is a leaf.
func flatten(t *testing.T, path string, text json.RawMessage, into map[string]string) {
	t.Helper()
	if !strings.HasPrefix(string(text), "{") {
		into[path] = string(text)
		return
	}
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &fields))
	for name, value := range fields {
		flatten(t, strings.TrimPrefix(path+"."+name, "."), value, into)
	}
}

// TestDocs_states holds the states of docs/glossary.md, and their Chinese words, against the catalogue of the screens.
func TestDocs_states(t *testing.T) {
	text, err := os.ReadFile("web/locale/messages/states.json")
	require.NoError(t, err)
	var catalogue map[string]struct{ ZH string }
	require.NoError(t, json.Unmarshal(text, &catalogue))
	page, err := os.ReadFile("docs/glossary.md")
	require.NoError(t, err)
	things := regexp.MustCompile(`^state\.(cycle|case|run|bill|recharge|reminder|cutoff|restore|command|message)\.(\w+)$`)
	found := 0
	for key, words := range catalogue {
		if m := things.FindStringSubmatch(key); m != nil {
			found++
			require.Contains(t, string(page), m[2]+" "+words.ZH, "%s is missing in docs/glossary.md", key)
		}
	}
	require.Positive(t, found)
}
