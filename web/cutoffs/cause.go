package cutoffs

import (
	"context"
	"strings"

	"github.com/meterflow/meterflow/web/locale"
)

// restoreCause says in words what a restore follows from; a cause of another form is shown as it is stored.
func restoreCause(ctx context.Context, cause string) string {
	kind, rest, _ := strings.Cut(cause, "/")
	switch kind {
	case "recharge":
		return locale.T(ctx, "cutoffs.after_recharge", rest)
	case "own_trip":
		return locale.T(ctx, "cutoffs.after_own_trip", rest)
	case "balance":
		return locale.T(ctx, "cutoffs.after_balance")
	case "person":
		return locale.T(ctx, "cutoffs.by_order")
	default:
		return cause
	}
}
