package static

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pairs of text and ground that stand on the pages; WCAG 2 level AA asks for 4.5:1 for text and 3:1 for controls.
var (
	textPairs = [][2]string{
		{"text", "bg"}, {"text", "surface"}, {"text", "hover"}, {"text", "accent-soft"}, {"text", "sunken"},
		{"muted", "bg"}, {"muted", "surface"}, {"muted", "hover"}, {"muted", "sunken"}, {"muted", "neutral-soft"}, {"muted", "accent-soft"},
		{"accent", "bg"}, {"accent", "surface"}, {"accent", "hover"}, {"accent", "accent-soft"}, {"on-accent", "accent"}, {"on-accent", "accent-hover"},
		{"on-danger", "danger"}, {"danger", "surface"}, {"danger", "hover"}, {"danger", "accent-soft"}, {"notice", "surface"},
		{"good", "good-soft"}, {"notice", "notice-soft"}, {"danger", "danger-soft"}, {"running", "running-soft"},
		{"text", "good-soft"}, {"text", "notice-soft"}, {"text", "danger-soft"}, {"text", "running-soft"},
	}
	controlPairs = [][2]string{
		{"control-line", "surface"}, {"focus", "surface"}, {"focus", "bg"}, {"danger-mark", "surface"}, {"running-mark", "surface"}, {"good-mark", "surface"},
	}
)

func tokens(css string) map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		all[m[1]] = m[2]
	}
	return all
}

func TestStylesheet_contrast(t *testing.T) {
	head, _, _ := strings.Cut(string(assets()["app.css"].content), "/* rules */")
	light, dark, found := strings.Cut(head, "@media screen and (prefers-color-scheme: dark)")
	require.True(t, found)
	for theme, css := range map[string]string{"light": light, "dark": dark} {
		colours := tokens(css)
		for _, p := range textPairs {
			require.GreaterOrEqual(t, contrast(t, colours, p), 4.5, "%s: %s on %s", theme, p[0], p[1])
		}
		for _, p := range controlPairs {
			require.GreaterOrEqual(t, contrast(t, colours, p), 3.0, "%s: %s on %s", theme, p[0], p[1])
		}
	}
}

// contrast is the ratio of WCAG 2: (lighter + 0.05) / (darker + 0.05) of the relative luminances.
func contrast(t *testing.T, colours map[string]string, pair [2]string) float64 {
	a, b := luminance(t, colours[pair[0]]), luminance(t, colours[pair[1]])
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	require.Len(t, hex, 7, "a token is no colour of six digits")
	n, err := strconv.ParseUint(hex[1:], 16, 32)
	require.NoError(t, err)
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}
