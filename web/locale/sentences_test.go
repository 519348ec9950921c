package locale

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
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
		// What is put together is said part by part; what others wrote stays.
		"meter M7 at 10.8.0.21:502 unit 3: the meter does not answer: no answer in time":                                                                                       "表 M7（10.8.0.21:502，站号 3）：表计没有应答：超时无应答",
		"meter M7 at 10.8.0.21:502 unit 3: the gateway can't be reached: x: it closes every connection at once":                                                                "表 M7（10.8.0.21:502，站号 3）：网关无法连接：x：每次连接都立即被关闭",
		"not sent: meter M7 at 10.8.0.21:502 unit 3: too late: nothing was sent: context deadline exceeded":                                                                    "未下发：表 M7（10.8.0.21:502，站号 3）：已过期限：未下发：等待超时",
		"after sending (the answer is in doubt: no answer in time) the meter could not be read back: meter M7 at G unit 3: the meter does not answer (gateway exception 0x0B)": "下发后（应答存疑：超时无应答）表计未能回读：表 M7（G，站号 3）：表计没有应答（网关异常码 0x0B）",
		"supply reads off, and the meter is held off; the meter acknowledged; the state could not be read back: the meter refused":                                             "供应状态为“已停供”，表计处于分闸保持；表计已应答；状态未能回读：表计拒绝",
		"the bill of 2026-08 is still held: bill that period first (B1); the bill is negative (-1.00 yuan), the limit is 0.00 yuan":                                            "2026-08 的账单仍暂缓：请先核算该账期（B1）；账单为负（-1.00 元），限额为 0.00 元",
		"the count is right, but the balance moved by -30 fen instead of 5000; the answer is in doubt: no answer in time":                                                      "购电次数正确，但余额变动 -30 分，而非 5000 分；应答存疑：超时无应答",
		"cut cancelled: 用户在医院: not at home":  "停供已取消：用户在医院: not at home",
		"A sentence that nobody translated.": "A sentence that nobody translated.",
		"":                                   "",
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
		require.True(t, strings.ContainsFunc(chinese, isHan), english)
		for _, h := range hole.FindAllStringSubmatch(chinese, -1) {
			if h[2] != "" && h[2] != "sentence" && h[2] != "roles" {
				require.Contains(t, Kinds(), Kind(h[2]), english)
			}
		}
	}
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

func translated(t *testing.T) map[string]string {
	var pairs map[string]string
	require.NoError(t, json.Unmarshal(sentenceFile, &pairs))
	return pairs
}

// silent are the folders and files whose texts no page shows, each with the reason.
var silent = []string{
	// Command lines, their reports and the demo: they are started by whoever runs the installation, and speak English.
	"internal/app", "internal/bench", "internal/demo", "internal/devstack", "internal/proof", "internal/longhand", "internal/failpoint", "internal/journal",
	"internal/rating/usage.go", "internal/rating/usage_reading.go",
	"internal/e2e", "internal/webtest", "internal/store/storetest", "web/storybook", // tests, and the page of samples
	// Texts that have both languages at their own place: papers, messages to customers, the reasons of a cut (web/locale/messages/cutoffs.json).
	"internal/document", "internal/notify/text.go", "internal/supply/reason.go",
	"api",                                                                                                                // answers programs, in English; arch_test.go keeps it apart from the pages
	"devices/simulator",                                                                                                  // stands for meters; its errors are those of the command that starts it
	"devices/dialin.go",                                                                                                  // answers the unit that calls, and goes to the log
	"devices/profile/validate.go", "devices/profile/item.go", "devices/profile/profile.go", "devices/profile/explain.go", // register maps are checked when a process starts, and explained at the command line
	"devices/cmd",
}

// unshown are the beginnings of texts outside of those that no page shows.
var unshown = []string{
	"late fee waived",           // stands in a digest
	"next pass",                 // names a timer in the engine's own view
	"nobody signs in with this", // stands in for the password of a user who isn't there
	// Why a process doesn't start:
	"the database address can't be read", "the database at %s:%d doesn't answer", "another process owns lines under the name",
	"bar bar-", "default-src 'self'", "attachment; ", "text/", "application/json", "public, ", "event: ", // for the browser
	"How long requests took", // for the metrics
}

// quiet are the calls whose texts go to a log, to the database or to the programmer, or are keys of other catalogues.
var quiet = regexp.MustCompile(`^panic$|\.(Debug|Info|Warn|Error|DebugContext|InfoContext|WarnContext|ErrorContext|MustCompile|HandleFunc|T|Key)$`)

var (
	reads   = regexp.MustCompile(`(?s)[A-Za-z']{2,}\b.* .*\b[a-z']{2,}`) // two words: what may be a sentence
	english = regexp.MustCompile(`[A-Za-z']{2,} [a-z']{2,}`)             // two words beside each other: what is still English
	sql     = regexp.MustCompile(`\b(SELECT|INSERT|UPDATE|DELETE|LOCK|FROM|JOIN|WHERE|AND|NULL|AS|SET|BY|LIMIT|AT TIME ZONE)\b|\$\d|^\w+\.\w+,|^, \w+ =|^\('`)
	raise   = regexp.MustCompile(`(?s)RAISE EXCEPTION '((?:[^']|'')*)'[^;]*?ERRCODE = 'MF0(\d\d)'`)
)

// texts are what people may read of the code below the repository: every text that reads like a sentence, wherever it stands, with its
// place. "7" stands for the values in it, and nothing for the other operands of a sum.
func texts(t *testing.T) map[string]string {
	found := map[string]string{}
	root := filepath.Join("..", "..")
	for _, folder := range []string{"internal", "web", "workflows", "activities", "worker", "devices"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			place, err := filepath.Rel(root, path)
			switch {
			case err != nil:
				return err
			case slices.Contains(silent, filepath.ToSlash(place)):
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			case filepath.Ext(path) == ".sql":
				return raised(path, place, found)
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_templ.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Inspect(file, reader{place, found}.read)
			}
			return err
		}))
	}
	return found
}

// raised adds what functions of the database say to people: the codes from MF005 on (store.ownCodes).
func raised(path, place string, found map[string]string) error {
	raw, err := os.ReadFile(path)
	for _, m := range raise.FindAllStringSubmatch(string(raw), -1) {
		if m[2] >= "05" {
			found[strings.ReplaceAll(strings.ReplaceAll(m[1], "''", "'"), "%", "7")] = place
		}
	}
	return err
}

type reader struct {
	place string
	found map[string]string
}

// read takes the texts of a piece of code, and says whether there are more below it.
func (r reader) read(n ast.Node) bool {
	switch x := n.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.Field: // a tag is no text
		ast.Inspect(x.Type, r.read)
		return false
	case *ast.KeyValueExpr: // a name in both languages
		if key, ok := x.Key.(*ast.Ident); ok && key.Name == "EN" {
			return false
		}
	case *ast.CallExpr:
		return !r.unheard(x)
	case ast.Expr:
		text, ok := literal(x)
		if !ok {
			return true
		}
		if plain := formatVerb.ReplaceAllString(text, "7"); reads.MatchString(plain) && !sql.MatchString(text) && !slices.ContainsFunc(unshown, func(begin string) bool { return strings.HasPrefix(text, begin) }) {
			r.found[plain] = r.place
		}
		r.operands(x)
		return false
	}
	return true
}

// unheard says that a call's texts reach no page: logs, faults of the program (CodeInternal), and errors without a code, of which a page
// shows one general sentence. Those of devices are shown: they become notes of commands.
func (r reader) unheard(c *ast.CallExpr) bool {
	name := types.ExprString(c.Fun)
	switch {
	case name == "fmt.Errorf" || name == "errors.New":
		return !strings.HasPrefix(r.place, "devices")
	case strings.HasSuffix(name, "Errorf"):
		return len(c.Args) > 0 && strings.HasSuffix(types.ExprString(c.Args[0]), "CodeInternal")
	}
	return quiet.MatchString(name)
}

// operands looks for calls in what is added to a text.
func (r reader) operands(e ast.Expr) {
	switch x := e.(type) {
	case *ast.BinaryExpr:
		r.operands(x.X)
		r.operands(x.Y)
	case *ast.BasicLit:
	default:
		ast.Inspect(e, r.read)
	}
}

// literal is a text, or a sum with one in it.
func literal(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			text, err := strconv.Unquote(x.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		if x.Op == token.ADD {
			left, a := literal(x.X)
			right, b := literal(x.Y)
			return left + right, a || b
		}
	}
	return "", false
}

// Whatever a person may read has its Chinese, whole or part by part.
func TestSentences_cover(t *testing.T) {
	all := texts(t)
	require.Greater(t, len(all), 700, "the code's texts were not found")
	var missing []string
	for text, place := range all {
		if said := Sentence(t.Context(), text); english.MatchString(said) || !strings.ContainsFunc(said, isHan) {
			missing = append(missing, place+": "+text)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("add their Chinese to web/locale/sentences.json, or the reason why no page shows them to silent or unshown:\n%s", strings.Join(missing, "\n"))
	}
}
