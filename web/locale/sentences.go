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
// part that is a sentence of its own, {2:roles} roles joined by "or". What is put together from several sentences ("a: b", "a; b"), as
// errors of devices are, is said part by part.
//
//go:embed sentences.json
var sentenceFile []byte

type sentence struct {
	english     *regexp.Regexp
	first, last string // the fixed text at its ends, which tells most sentences apart without the pattern
	chinese     string
	literal     int // length of the fixed text: the most particular sentence is tried first
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
		hows := map[int]string{}
		for _, h := range hole.FindAllStringSubmatch(chinese, -1) {
			n, err := strconv.Atoi(h[1])
			if err != nil || n < 1 || n > len(verbs) {
				return nil, fmt.Errorf("locale: %q has no place %s for its Chinese", english, h[0])
			}
			hows[n] = h[2]
		}
		var pattern strings.Builder
		pattern.WriteString(`(?s)^`)
		from, literal, first := 0, 0, english
		if len(verbs) > 0 {
			first = english[:verbs[0][0]]
		}
		for i, at := range verbs {
			pattern.WriteString(regexp.QuoteMeta(english[from:at[0]]) + value(english[at[1]-1], hows[i+1], at[1] == len(english)))
			literal += at[0] - from
			from = at[1]
		}
		pattern.WriteString(regexp.QuoteMeta(english[from:]) + `$`)
		re, err := regexp.Compile(pattern.String())
		if err != nil {
			return nil, fmt.Errorf("locale: %q: %w", english, err)
		}
		list = append(list, sentence{english: re, first: first, last: english[from:], chinese: chinese, literal: literal + len(english) - from})
	}
	slices.SortFunc(list, func(a, b sentence) int {
		return cmp.Or(cmp.Compare(b.literal, a.literal), strings.Compare(a.chinese, b.chinese))
	})
	return list, nil
}

// value is the pattern of what stands at a verb, which is put into the Chinese how. It is as narrow as it can be: a value at the end of a
// sentence must not take in the sentences that follow it.
func value(verb byte, how string, last bool) string {
	switch {
	case how == "sentence":
		return `(.*?)`
	case how != "" && how != "roles":
		return `([a-z0-9_ ]*?)`
	case verb == 'd':
		return `([-0-9]*?)`
	case verb == 'X':
		return `([0-9A-F]*?)`
	case last:
		return `([^;]*?)`
	}
	return `(.*?)`
}

// Sentence is a refusal's sentence in the language of ctx. One that has no Chinese, because a person or a program that isn't ours wrote
// it, is shown as it is: a person must always learn why.
func Sentence(ctx context.Context, english string) string {
	if Lang(ctx) == EN {
		return english
	}
	if chinese, ok := whole(ctx, english); ok {
		return chinese
	}
	chinese, _ := joined(ctx, english)
	return chinese
}

// whole is the Chinese of a text that is one sentence of the list.
func whole(ctx context.Context, english string) (chinese string, ok bool) {
	for _, s := range sentences() {
		if !strings.HasPrefix(english, s.first) || !strings.HasSuffix(english, s.last) {
			continue
		}
		found := s.english.FindStringSubmatch(english)
		if found == nil {
			continue
		}
		return hole.ReplaceAllStringFunc(s.chinese, func(h string) string {
			m := hole.FindStringSubmatch(h)
			n, _ := strconv.Atoi(m[1]) // digits, by the pattern; within range, by readSentences
			return said(ctx, m[2], found[n])
		}), true
	}
	return "", false
}

// manyParts is more than any error of ours is put together from; longer texts are somebody's prose.
const manyParts = 12

var joint = regexp.MustCompile(`[:;] `)

// joined is the Chinese of a text whose parts are sentences of the list: the longest sentence that it begins with, then the rest in the
// same way. A part that is none stays as it is. ok is false when no part is one.
func joined(ctx context.Context, english string) (chinese string, ok bool) {
	joints := joint.FindAllStringIndex(english, manyParts+1)
	if len(joints) == 0 || len(joints) > manyParts {
		return english, false
	}
	at := joints[0]
	head := english[:at[0]]
	for _, j := range slices.Backward(joints) {
		if said, known := whole(ctx, english[:j[0]]); known {
			at, head, ok = j, strings.TrimSuffix(said, "。"), true
			break
		}
	}
	rest, known := whole(ctx, english[at[1]:])
	if !known {
		rest, known = joined(ctx, english[at[1]:])
	}
	if !ok && !known {
		return english, false
	}
	mark := "："
	if english[at[0]] == ';' {
		mark = "；"
	}
	return head + mark + rest, true
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
