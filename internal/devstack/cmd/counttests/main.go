// Command counttests runs `go test -json ...`, shows what failed with its output, one line per package, and ends with the line
// "N passed, N failed" and a fitting exit status:
//
//	counttests go test -json ./...
//
// It counts leaves: a test with sub-tests counts through them. A package that fails without a failed test (it doesn't build, a
// panic, a timeout) counts as one failure. A skipped test counts as failed: here tests don't skip.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "counttests: give the command to run, such as go test -json ./...")
		os.Exit(2)
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "counttests: %v\n", err)
		os.Exit(2)
	}
	c := newCounter(os.Stdout)
	readErr := c.read(stdout)
	waitErr := cmd.Wait()
	fmt.Println(c.line())
	if readErr != nil {
		fmt.Fprintf(os.Stderr, "counttests: %v\n", readErr)
	}
	if readErr != nil || waitErr != nil || c.failed > 0 {
		os.Exit(1)
	}
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
	Elapsed                                                float64 // seconds
}

type testKey struct{ pkg, test string }

type counter struct {
	out            io.Writer
	passed, failed int
	output         map[testKey]*strings.Builder // what each test or package printed, until it is over
	parents        map[testKey]bool             // tests that have sub-tests
	failedIn       map[string]int               // failures by package
}

func newCounter(out io.Writer) *counter {
	return &counter{out: out, output: map[testKey]*strings.Builder{}, parents: map[testKey]bool{}, failedIn: map[string]int{}}
}

func (c *counter) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				c.take(e)
			} else {
				_, _ = c.out.Write(line) // not an event: go itself speaks
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *counter) take(e event) {
	key := testKey{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		_, _ = io.WriteString(c.out, e.Output)
	case "output":
		if c.output[key] == nil {
			c.output[key] = &strings.Builder{}
		}
		c.output[key].WriteString(e.Output)
	case "run":
		for i, r := range e.Test {
			if r == '/' {
				c.parents[testKey{e.Package, e.Test[:i]}] = true
			}
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			c.endPackage(e, key)
		} else {
			c.endTest(e, key)
		}
	}
}

func (c *counter) endTest(e event, key testKey) {
	defer delete(c.output, key)
	if e.Action == "pass" {
		if !c.parents[key] {
			c.passed++
		}
		return
	}
	c.show(key)
	// A parent that fails only because a sub-test did is counted there.
	if !c.parents[key] || c.failedIn[key.pkg] == 0 {
		c.failed++
		c.failedIn[key.pkg]++
	}
}

func (c *counter) endPackage(e event, key testKey) {
	defer delete(c.output, key)
	if e.Action == "fail" && c.failedIn[key.pkg] == 0 {
		for open := range c.output {
			if open.pkg == key.pkg && open.test != "" {
				c.show(open) // it was running when the package died
			}
		}
		c.show(key)
		c.failed++
	}
	verdict := map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "-   "}[e.Action]
	_, _ = fmt.Fprintf(c.out, "%s %s %.1fs\n", verdict, key.pkg, e.Elapsed)
}

func (c *counter) show(key testKey) {
	if output := c.output[key]; output != nil {
		_, _ = fmt.Fprintf(c.out, "%s %s\n%s", key.pkg, key.test, output)
	}
}

func (c *counter) line() string { return fmt.Sprintf("%d passed, %d failed", c.passed, c.failed) }
