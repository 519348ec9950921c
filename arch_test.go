// Package meterflow holds no code: the tests beside go.mod keep the rules that the whole tree follows.
package meterflow_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/meterflow/meterflow"

// importRule holds for the package in dir, and for those below it when dir ends in "/...". The first rule that fits a package
// is its rule; a package without one may import what it likes.
type importRule struct {
	dir string
	// ours are the packages of this module that it may import; nil means any.
	ours []string
	// never are import path prefixes, of any module or the standard library.
	never []string
	why   string
}

var (
	pgx      = "github.com/jackc/pgx"
	temporal = "go.temporal.io"
	chi      = "github.com/go-chi/chi"
	templ    = "github.com/a-h/templ"
	nothing  = []string{}
	nouns    = []string{"internal/billing"}
)

var importRules = []importRule{
	{"internal/billing", nothing, []string{pgx, temporal, chi, templ, "net/http"}, "it is the leaf that all others name things with: importing anything of ours makes cycles"},
	{"internal/rating", nouns, []string{pgx, temporal, "net", "os"}, "pricing is pure, so that a whole bill can be a golden file"},
	{"internal/longhand", nothing, []string{pgx, temporal, "net", "os"}, "a second rating written from the tariff's text alone: what it shared with the first could be wrong in both"},
	{"internal/ledger", nouns, []string{pgx, temporal, "net", "os"}, "double entry is pure: it checks postings before any database sees them"},
	{"internal/metering", nouns, []string{pgx, temporal, "net", "os"}, "judging readings is pure, so that each judgement can be repeated and explained"},
	{"internal/supply", nouns, []string{pgx, temporal, "net", "os"}, "the cut-off policy is pure: the same facts give the same decision, and its printed reason"},
	{"internal/journal", nouns, []string{pgx, temporal, chi, templ}, "the hash chain must be recomputable without a database"},
	{"internal/control", nouns, []string{pgx, temporal, "net", "os"}, "the limits of a billing run are pure: the same bill is stopped for the same reason, whoever asks"},
	{"internal/document", []string{"internal/billing", "internal/store", "internal/document/..."}, []string{temporal, chi, templ, "net/http"}, "papers and lists are drawn from what is stored, for pages and API alike"},
	{"internal/document/...", nouns, []string{pgx, temporal, chi, templ, "net/http"}, "a file format knows nothing of what is in it"},
	{"internal/download", nothing, []string{pgx, temporal, templ}, "how a file is handed out has nothing to do with what is in it"},
	{"internal/store", []string{"internal/billing", "internal/ledger", "internal/journal", "internal/failpoint"}, []string{temporal, chi, templ}, "it knows one technology, PostgreSQL"},
	{"internal/proof/...", []string{"devices/simulator", "internal/journal"}, []string{temporal, chi, templ}, "the invariants judge the code, so they may not be computed by it: tables and the simulator's record only"},
	{"internal/auth", nouns, []string{temporal}, "an adapter at the edge"},
	{"internal/notify", nouns, []string{temporal}, "an adapter at the edge"},
	{"internal/payments", nouns, []string{temporal}, "an adapter at the edge"},
	{"internal/session", []string{"internal/billing", "internal/store", "internal/auth"}, []string{temporal}, "who is signed in is PostgreSQL's to know"},
	{"devices/...", []string{"internal/billing", "devices/..."}, []string{pgx, temporal, chi, templ}, "drivers are reusable and are tested on the simulator alone"},
	{"activities", []string{
		"internal/billing", "internal/rating", "internal/ledger", "internal/metering", "internal/supply", "internal/journal", "internal/store",
		"devices", "devices/profile", "internal/notify", "internal/payments", "internal/auth", "internal/failpoint", "internal/control",
	}, []string{temporal + "/sdk/workflow", temporal + "/sdk/client", chi, templ}, "activities touch the world and know nothing of the process they serve"},
	{"workflows", []string{"activities", "internal/billing"}, []string{pgx, "net/http", "os", "math/rand", "log/slog", chi, templ}, "workflow code is replayed: what it calls must give the same answer every time"},
	{"web/layout", []string{"internal/billing", "web/..."}, []string{pgx, temporal, chi}, "a frame around pages is a function of its view model"},
	{"web/components", []string{"internal/billing", "web/locale", "web/static"}, []string{pgx, temporal, chi}, "a component is a function of its view model"},
	{"web/...", []string{"internal/billing", "internal/store", "internal/auth", "internal/session", "internal/document/...", "internal/download", "internal/control", "workflows", "web/..."}, nil, "pages read from the store and act through workflows.Client; they reach no device and run no activity"},
	{"api/...", []string{"internal/billing", "internal/store", "internal/auth", "internal/session", "internal/document/...", "internal/download", "internal/control", "workflows", "api/..."}, nil, "the API reads from the store and acts through workflows.Client; it reaches no device and runs no activity"},
	{"internal/app/...", nil, []string{module + "/cmd"}, "the one place that knows all, and the programs know it"},
}

// exceptions are single files with a looser rule, each for one import.
var exceptions = map[string]string{
	"workflows/client.go":    clientImport,
	"workflows/schedules.go": clientImport,
}

// clientImport is banned in workflows outside the two files that act from outside a workflow: workflow code that talks to the server is not deterministic.
const clientImport = "go.temporal.io/sdk/client"

// bannedNames say nothing about what a package provides.
var bannedNames = []string{
	"util", "utils", "common", "helper", "helpers", "model", "models", "type", "types", "service", "services", "manager", "managers", "misc", "base", "shared",
}

// realTime lists where the wall clock may be asked: everywhere else the time is passed in, or comes from the business clock.
var realTime = []string{"internal/app", "cmd", "devices", "internal/devstack", "internal/clock", "internal/demo", "internal/bench", "internal/webtest"}

// exactOnly lists where a binary float could end up in money or in a quantity.
var exactOnly = []string{"internal/billing", "internal/rating", "internal/ledger", "internal/metering", "internal/control"}

// sourceFile is one parsed file of the tree.
type sourceFile struct {
	path string // from the module's root, with slashes
	fset *token.FileSet
	tree *ast.File
}

func (f sourceFile) dir() string  { return path.Dir(f.path) }
func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func TestArchitecture(t *testing.T) {
	files := parseTree(t)
	require.NotEmpty(t, files)
	for _, f := range files {
		for _, violation := range f.violations() {
			t.Error(violation)
		}
	}
	for _, violation := range packageComments(files) {
		t.Error(violation)
	}
}

func TestArchitecture_serverStaysOut(t *testing.T) {
	content, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	require.NotContains(t, string(content), "go.temporal.io/server",
		"the Temporal server is a program of its own (tools/temporal-server): its SDK version and ours can't be built together")
}

// TestArchitecture_rulesBite plants one violation of each rule.
func TestArchitecture_rulesBite(t *testing.T) {
	cases := map[string]struct{ path, source, want string }{
		"import of ours":      {"internal/rating/x.go", `package rating; import _ "` + module + `/internal/store"`, "may not import internal/store"},
		"import of others":    {"internal/store/x.go", `package store; import _ "go.temporal.io/sdk/client"`, "may not import go.temporal.io/sdk/client"},
		"below a folder":      {"devices/modbus/x.go", `package modbus; import _ "` + module + `/internal/store"`, "drivers are reusable"},
		"page asks a device":  {"web/today/x.go", `package today; import _ "` + module + `/devices"`, "may not import devices"},
		"longhand looks":      {"internal/longhand/x.go", `package longhand; import _ "` + module + `/internal/rating"`, "written from the tariff's text alone"},
		"proof trusts code":   {"internal/proof/x.go", `package proof; import _ "` + module + `/internal/ledger"`, "may not be computed by it"},
		"client in workflow":  {"workflows/recharge.go", `package workflows; import _ "go.temporal.io/sdk/client"`, "only client.go and schedules.go"},
		"server":              {"internal/app/x.go", `package app; import _ "go.temporal.io/server/temporal"`, "tools/temporal-server"},
		"banned word":         {"internal/util/x.go", `package util`, "says nothing"},
		"clock":               {"internal/store/x.go", `package store; import "time"; var t = time.Now()`, "time.Now"},
		"clock under a name":  {"api/x.go", `package api; import clock "time"; func f() { clock.Sleep(1) }`, "time.Sleep"},
		"clock in disguise":   {"api/x.go", `package api; import "time"; func f(t time.Time) { _ = time.Since(t) }`, "time.Since"},
		"float":               {"internal/billing/x.go", `package billing; type Money float64`, "float64"},
		"float literal":       {"internal/rating/x.go", `package rating; const half = 0.5`, "0.5"},
		"activity options":    {"workflows/cutoff.go", `package workflows; import "go.temporal.io/sdk/workflow"; var f = workflow.WithActivityOptions`, "options.go"},
		"nothing to complain": {"workflows/options.go", `package workflows; import "go.temporal.io/sdk/workflow"; var f = workflow.WithActivityOptions`, ""},
		"the client's file":   {"workflows/client.go", `package workflows; import _ "go.temporal.io/sdk/client"`, ""},
		"clock in a main":     {"cmd/meterflow/main.go", `package main; import "time"; var t = time.Now()`, ""},
		"tests may":           {"internal/store/x_test.go", `package store; import _ "` + module + `/internal/devstack/devstacktest"`, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			tree, err := parser.ParseFile(fset, c.path, c.source, parser.ParseComments)
			require.NoError(t, err)
			found := sourceFile{c.path, fset, tree}.violations()
			if c.want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0], c.want)
		})
	}
	t.Run("package comments", func(t *testing.T) {
		parse := func(name, source string) sourceFile {
			fset := token.NewFileSet()
			tree, err := parser.ParseFile(fset, name, source, parser.ParseComments)
			require.NoError(t, err)
			return sourceFile{name, fset, tree}
		}
		one, two := parse("a/x.go", "// Package a is.\npackage a"), parse("a/y.go", "// Package a too.\npackage a")
		require.Empty(t, packageComments([]sourceFile{one}))
		require.Len(t, packageComments([]sourceFile{one, two}), 1)
		require.Len(t, packageComments([]sourceFile{parse("a/x.go", "package a")}), 1)
	})
}

// parseTree reads all Go files of the module, without nested modules, test data and what was built.
func parseTree(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(name)
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, sourceFile{filepath.ToSlash(name), fset, tree})
		return err
	})
	require.NoError(t, err)
	return files
}

func enter(dir string) error {
	if dir == "." {
		return nil
	}
	base := filepath.Base(dir)
	_, noModule := os.Stat(filepath.Join(dir, "go.mod"))
	if strings.HasPrefix(base, ".") || slices.Contains([]string{"bin", "build", "data", "testdata"}, base) || noModule == nil {
		return filepath.SkipDir
	}
	return nil
}

// violations are sentences that name the place, the rule and its reason.
func (f sourceFile) violations() []string {
	var found []string
	say := func(pos token.Pos, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s:%d: ", f.path, f.fset.Position(pos).Line)+fmt.Sprintf(format, args...))
	}
	for _, word := range []string{path.Base(f.dir()), strings.TrimSuffix(f.tree.Name.Name, "_test")} {
		if slices.Contains(bannedNames, word) {
			say(f.tree.Package, "a package called %q says nothing about what it provides", word)
			break
		}
	}
	f.checkImports(say)
	if !f.isTest() {
		f.checkCode(say)
	}
	return found
}

type sayFunc func(pos token.Pos, format string, args ...any)

func (f sourceFile) checkImports(say sayFunc) {
	at := slices.IndexFunc(importRules, func(r importRule) bool { return covers(r.dir, f.dir()) })
	for _, spec := range f.tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		switch {
		case hasPathPrefix(imported, "go.temporal.io/server"):
			say(spec.Pos(), "go.temporal.io/server belongs to tools/temporal-server: its SDK version and ours can't be built together")
		case f.isTest() || exceptions[f.path] == imported:
		case f.dir() == "workflows" && imported == clientImport:
			say(spec.Pos(), "only client.go and schedules.go may import %s: workflow code that talks to the server is not deterministic", imported)
		case at >= 0 && !importRules[at].allows(imported):
			say(spec.Pos(), "%s may not import %s: %s", f.dir(), strings.TrimPrefix(imported, module+"/"), importRules[at].why)
		}
	}
}

func (r importRule) allows(imported string) bool {
	if slices.ContainsFunc(r.never, func(prefix string) bool { return hasPathPrefix(imported, prefix) }) {
		return false
	}
	own, isOurs := strings.CutPrefix(imported, module+"/")
	return !isOurs || r.ours == nil || slices.ContainsFunc(r.ours, func(pattern string) bool { return covers(pattern, own) })
}

// covers says whether dir is what the pattern names: itself, or with "/..." also all below.
func covers(pattern, dir string) bool {
	if root, all := strings.CutSuffix(pattern, "/..."); all {
		return hasPathPrefix(dir, root)
	}
	return dir == pattern
}

func hasPathPrefix(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

func under(dir string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return hasPathPrefix(dir, root) })
}

func (f sourceFile) checkCode(say sayFunc) {
	clock, workflow := f.nameOf("time"), f.nameOf("go.temporal.io/sdk/workflow")
	realTimeOK, exact := under(f.dir(), realTime), under(f.dir(), exactOnly)
	ast.Inspect(f.tree, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.SelectorExpr:
			owner, isName := n.X.(*ast.Ident)
			switch {
			case isName && !realTimeOK && owner.Name == clock && slices.Contains([]string{"Now", "Sleep", "Since", "Until"}, n.Sel.Name):
				say(n.Pos(), "time.%s is for %s: elsewhere the time is passed in, so that the business clock and tests rule it", n.Sel.Name, strings.Join(realTime, ", "))
			case isName && owner.Name == workflow && strings.HasPrefix(n.Sel.Name, "With") && strings.HasSuffix(n.Sel.Name, "ActivityOptions") && f.path != "workflows/options.go":
				say(n.Pos(), "workflow.%s belongs in workflows/options.go, where every profile of time-outs and retries has a name", n.Sel.Name)
			case exact && slices.Contains([]string{"ParseFloat", "FormatFloat", "Float64", "NewFromFloat64"}, n.Sel.Name):
				say(n.Pos(), "%s makes a binary float: money is integer fen, prices and quantities are decimals", n.Sel.Name)
			}
		case *ast.Ident:
			if exact && (n.Name == "float32" || n.Name == "float64") {
				say(n.Pos(), "%s can't hold 0.1: money is integer fen, prices and quantities are decimals", n.Name)
			}
		case *ast.BasicLit:
			if exact && n.Kind == token.FLOAT {
				say(n.Pos(), "%s is a binary float: write it as a decimal", n.Value)
			}
		}
		return true
	})
}

// nameOf is what the file calls an imported package; empty when it doesn't import it.
func (f sourceFile) nameOf(imported string) string {
	for _, spec := range f.tree.Imports {
		if spec.Path.Value != strconv.Quote(imported) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}

// packageComments finds packages without a comment, or with more than one: readers and go doc show only one.
func packageComments(files []sourceFile) []string {
	comments := map[string]int{}
	for _, f := range files {
		if f.isTest() {
			continue
		}
		comments[f.dir()] += 0
		if f.tree.Doc != nil && !ast.IsGenerated(f.tree) { // templ writes its version there
			comments[f.dir()]++
		}
	}
	var found []string
	for dir, n := range comments {
		if n != 1 {
			found = append(found, fmt.Sprintf("%s has %d package comments, want one that says what it owns and what it refuses", dir, n))
		}
	}
	slices.Sort(found)
	return found
}
