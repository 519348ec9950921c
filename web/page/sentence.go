package page

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/web/locale"
)

// sentencesJSON are the refusals that people meet, as they stand in the code, with their Chinese. A %s, %d or %q of the English
// is taken over in order; %[2]s in the Chinese takes the second.
//
//go:embed sentences.json
var sentencesJSON []byte

type sentence struct {
	english *regexp.Regexp
	chinese string
}

// sentences panics on a broken file: it is part of the program, and a test reads it.
var sentences = sync.OnceValue(func() []sentence {
	var pairs [][2]string
	if err := json.Unmarshal(sentencesJSON, &pairs); err != nil {
		panic(fmt.Errorf("page: sentences.json: %w", err))
	}
	all := make([]sentence, 0, len(pairs))
	for _, p := range pairs {
		all = append(all, sentence{english: sentencePattern(p[0]), chinese: p[1]})
	}
	return all
})

var verbs = regexp.MustCompile(`%[a-z]`)

// sentencePattern matches what Errorf makes of an English sentence.
func sentencePattern(format string) *regexp.Regexp {
	parts := verbs.Split(format, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`^(?s)` + strings.Join(parts, `(.*?)`) + `$`)
}

// Sentence is what a person may read about an error, in the language of ctx. A sentence without a Chinese form stands behind the
// headline of its code: better in English than not at all.
func Sentence(ctx context.Context, err error) string {
	english := billing.MessageOf(err)
	if locale.Lang(ctx) == locale.EN {
		return english
	}
	for _, s := range sentences() {
		if m := s.english.FindStringSubmatch(english); m != nil {
			args := make([]any, 0, len(m)-1)
			for _, group := range m[1:] {
				args = append(args, strings.Trim(group, `"`))
			}
			return fmt.Sprintf(s.chinese, args...)
		}
	}
	return locale.T(ctx, "refusal.with", Title(ctx, err), english)
}
