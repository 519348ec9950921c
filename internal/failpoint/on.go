//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var hits atomic.Int64

// Hit ends the process with SIGKILL when METERFLOW_KILL_AT is "<name>:<n>" and this is the n-th time that the point is reached.
func Hit(name string) {
	at, nth, _ := strings.Cut(os.Getenv("METERFLOW_KILL_AT"), ":")
	if at != name {
		return
	}
	n, _ := strconv.ParseInt(nth, 10, 64)
	if hits.Add(1) >= max(n, 1) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // never runs on
	}
}
