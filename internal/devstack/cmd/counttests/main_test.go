package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCounter(t *testing.T) {
	cases := map[string]struct {
		events string
		want   string
		shows  []string
		hides  []string
	}{
		"leaves are counted, parents are not": {
			events: `{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/x/y"}
{"Action":"output","Package":"p","Test":"A/x/y","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"A/x/y"}
{"Action":"pass","Package":"p","Test":"A/x"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"B"}
{"Action":"pass","Package":"p","Elapsed":1.5}`,
			want: "2 passed, 0 failed", shows: []string{"ok   p 1.5s"}, hides: []string{"chatter"},
		},
		"a failure is shown and counted once": {
			events: `{"Action":"run","Package":"p","Test":"A/x"}
{"Action":"output","Package":"p","Test":"A/x","Output":"want 1, got 2\n"}
{"Action":"fail","Package":"p","Test":"A/x"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}`,
			want: "0 passed, 1 failed", shows: []string{"want 1, got 2", "FAIL p"},
		},
		"a package that doesn't build is a failure": {
			events: `{"Action":"build-output","ImportPath":"p","Output":"p.go:1: undefined: x\n"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`,
			want: "0 passed, 1 failed", shows: []string{"undefined: x"},
		},
		"a package that dies shows the test it died in": {
			events: `{"Action":"run","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}`,
			want: "0 passed, 1 failed", shows: []string{"panic: no"},
		},
		"a skipped test is a failure": {
			events: `{"Action":"output","Package":"p","Test":"A","Output":"not today\n"}
{"Action":"skip","Package":"p","Test":"A"}
{"Action":"skip","Package":"q"}`,
			want: "0 passed, 1 failed", shows: []string{"not today"},
		},
		"other lines pass through": {events: "go: finding module\n", want: "0 passed, 0 failed", shows: []string{"go: finding module"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			counter := newCounter(&out)
			require.NoError(t, counter.read(strings.NewReader(c.events)))
			require.Equal(t, c.want, counter.line())
			for _, s := range c.shows {
				require.Contains(t, out.String(), s)
			}
			for _, s := range c.hides {
				require.NotContains(t, out.String(), s)
			}
		})
	}
}
