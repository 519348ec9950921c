package locale

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestSentence(t *testing.T) {
	zh, en := context.Background(), WithLang(context.Background(), EN)
	for english, chinese := range map[string]string{
		"Your role may not order a cut; ask a manager.":                                  "您的角色不能下达停电/关阀，请找经理办理。",
		"Your role may not stop planned cuts; ask a manager or supervisor.":              "您的角色不能停止待执行的停电，请找经理或核算主管办理。",
		"Recharge R-7 is credited already: nothing was changed.":                         "充值 R-7 已到账，未作任何更改。",
		"Recharge R-7 is in doubt already: nothing was changed.":                         "充值 R-7 存疑，未作任何更改。",
		`The amount "1.234" has more than two decimals: the smallest coin is 0.01 yuan.`: `金额 "1.234" 超过两位小数：最小为 0.01 元。`,
		"the bill can't be released: decide case EX-1 first":                             "账单不能放行：请先处理工单 EX-1。",
		"the bill can't be released: there is no such record":                            "账单不能放行：没有这条记录。",
		"A sentence that nobody translated.":                                             "A sentence that nobody translated.",
		"":                                                                               "",
	} {
		require.Equal(t, chinese, Sentence(zh, english))
		require.Equal(t, english, Sentence(en, english))
	}
}

func TestReadSentences_refusesAHoleThatIsNotThere(t *testing.T) {
	_, err := readSentences([]byte(`{"Account %s is closed.": "{2} 已销户。"}`))
	require.ErrorContains(t, err, `"Account %s is closed." has no place {2}`)
}

func TestSentences_namesKnownKinds(t *testing.T) {
	for english, chinese := range translated(t) {
		require.True(t, strings.ContainsFunc(chinese, func(r rune) bool { return unicode.Is(unicode.Han, r) }), english)
		for _, h := range hole.FindAllStringSubmatch(chinese, -1) {
			if h[2] != "" && h[2] != "sentence" && h[2] != "roles" {
				require.Contains(t, Kinds(), Kind(h[2]), english)
			}
		}
	}
}

func translated(t *testing.T) map[string]string {
	var pairs map[string]string
	require.NoError(t, json.Unmarshal(sentenceFile, &pairs))
	return pairs
}

var refusal = regexp.MustCompile(`Errorf\((?:billing\.)?Code\w+,\s*("(?:[^"\\]|\\.)*")`)

// refusals are the formats of all refusals below the folders.
func refusals(t *testing.T, folders ...string) []string {
	var all []string
	for _, folder := range folders {
		root := filepath.Join("..", "..", folder)
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range refusal.FindAllStringSubmatch(string(raw), -1) {
				format, err := strconv.Unquote(m[1])
				if err != nil {
					return err
				}
				all = append(all, format)
			}
			return nil
		}))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// What a person meets when they may not do something has its Chinese. The others are listed with -v, so that those which
// reach people can be seen and added.
func TestSentences_cover(t *testing.T) {
	have := translated(t)
	var missing []string
	for _, format := range refusals(t, "internal/auth") {
		if _, ok := have[format]; !ok {
			missing = append(missing, format)
		}
	}
	require.Empty(t, missing, "add their Chinese to web/locale/sentences.json")

	for _, format := range refusals(t, "internal", "web", "workflows", "activities") {
		if _, ok := have[format]; !ok {
			t.Logf("no Chinese yet: %s", format)
		}
	}
}
