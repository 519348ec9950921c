package devices_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFuzzing runs every fuzz target below this folder for a while, one after the other: the decoders of all that a meter, a gateway, a unit
// that dials in or a file of register maps can say, and the simulator's own. FUZZTIME changes for how long.
func TestFuzzing(t *testing.T) {
	t.Parallel()
	during := fuzzTime
	if given := os.Getenv("FUZZTIME"); given != "" {
		during = given
	}
	targets := fuzzTargets(t)
	for _, needed := range []string{
		"devices FuzzRegistration", "modbus FuzzDecoders", "modbus FuzzReply", "modbus FuzzScanRTU", "dlt645 FuzzScan", "cjt188 FuzzScan", "profile FuzzDecode", "profile FuzzParse",
		"simulator FuzzReadRequest", "simulator FuzzMeter",
	} {
		require.Contains(t, targets, needed)
	}
	for name, folder := range targets {
		t.Run(name, func(t *testing.T) {
			_, target, _ := strings.Cut(name, " ")
			out, err := fuzz(t.Context(), folder, target, during)
			t.Log(lastLine(out))
			require.NoError(t, err, "%s", out)
		})
	}
}

func fuzz(ctx context.Context, folder, target, during string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-buildvcs=false", "-run", "^$", "-fuzz", "^"+target+"$", "-fuzztime", during, "-parallel", "2", "./"+folder)
	out, err := cmd.CombinedOutput()
	// Go's fuzzer calls it a failure when its own time runs out in the middle of a slow input; one that really fails is written down.
	if err != nil && bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input written")) {
		err = nil
	}
	return out, err
}

// fuzzTargets are the targets below this folder with their folders, by package and name.
func fuzzTargets(t *testing.T) map[string]string {
	targets := map[string]string{}
	for _, pattern := range []string{"*_test.go", "*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(f \*testing\.F\)`).FindAllSubmatch(text, -1) {
				folder := filepath.Dir(file)
				absolute, err := filepath.Abs(folder)
				require.NoError(t, err)
				targets[filepath.Base(absolute)+" "+string(m[1])] = folder
			}
		}
	}
	return targets
}

func lastLine(out []byte) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(lines[max(0, len(lines)-3)])
}
