package locale

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Refusals are made deep inside (billing, supply, store) where nobody knows a language, as one English sentence. This file
// gives them their Chinese: sentences.json maps the format of the sentence, as it stands in the source, to a Chinese one
// with {1}, {2}… for what stood at its verbs. {2:recharge} puts the word of a state there, {1:sentence} the Chinese of a
// part that is a sentence of its own, {2:roles} roles joined by "or".
//
//go:embed sentences.json
var sentenceFile []byte

type sentence struct {
	english *regexp.Regexp
	chinese string
	literal int // length of the fixed text: the most particular sentence is tried first
}

var sentences = sync.OnceValue(func() []sentence {
	list, err := readSentences(sentenceFile)
	if err != nil {
		panic(err) // the file is part of the program; the test of this package meets such a fault first
	}
	return list
})

var (
	formatVerb = regexp.MustCompile(`%(?:\[\d+\])?[-+# 0]*\d*(?:\.\d+)?[a-zA-Z]`)
	hole       = regexp.MustCompile(`\{(\d+)(?::([a-z_]+))?\}`)
)

func readSentences(raw []byte) ([]sentence, error) {
	var pairs map[string]string
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("locale: sentences.json is no list of sentences: %w", err)
	}
	list := make([]sentence, 0, len(pairs))
	for english, chinese := range pairs {
		verbs := formatVerb.FindAllStringIndex(english, -1)
		var pattern strings.Builder
		pattern.WriteString(`(?s)^`)
		from, literal := 0, 0
		for _, at := range verbs {
			pattern.WriteString(regexp.QuoteMeta(english[from:at[0]]) + `(.*?)`)
			literal += at[0] - from
			from = at[1]
		}
		pattern.WriteString(regexp.QuoteMeta(english[from:]) + `$`)
		for _, h := range hole.FindAllStringSubmatch(chinese, -1) {
			if n, err := strconv.Atoi(h[1]); err != nil || n < 1 || n > len(verbs) {
				return nil, fmt.Errorf("locale: %q has no place %s for its Chinese", english, h[0])
			}
		}
		re, err := regexp.Compile(pattern.String())
		if err != nil {
			return nil, fmt.Errorf("locale: %q: %w", english, err)
		}
		list = append(list, sentence{english: re, chinese: chinese, literal: literal + len(english) - from})
	}
	slices.SortFunc(list, func(a, b sentence) int {
		return cmp.Or(cmp.Compare(b.literal, a.literal), strings.Compare(a.chinese, b.chinese))
	})
	return list, nil
}

// Sentence is a refusal's sentence in the language of ctx. One that has no Chinese yet is shown as it is: a person must
// always learn why.
func Sentence(ctx context.Context, english string) string {
	if Lang(ctx) == EN {
		return english
	}
	for _, s := range sentences() {
		found := s.english.FindStringSubmatch(english)
		if found == nil {
			continue
		}
		return hole.ReplaceAllStringFunc(s.chinese, func(h string) string {
			m := hole.FindStringSubmatch(h)
			n, _ := strconv.Atoi(m[1]) // digits, by the pattern; within range, by readSentences
			return said(ctx, m[2], found[n])
		})
	}
	return english
}

// said is one part of a sentence in the way that its hole names.
func said(ctx context.Context, how, part string) string {
	switch how {
	case "":
		return part
	case "sentence":
		return Sentence(ctx, part)
	case "roles":
		names := strings.Split(part, " or ")
		for i, name := range names {
			names[i] = State(ctx, Role, name)
		}
		return strings.Join(names, "或")
	default:
		return State(ctx, Kind(how), strings.ReplaceAll(part, " ", "_")) // refusals write states as words
	}
}
