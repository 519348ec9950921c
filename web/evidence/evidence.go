// Package evidence draws the proof of what was ordered from a meter: what it showed before and after, what was read back and when,
// and the frames that went over the line. It judges nothing.
package evidence

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/components"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
)

// frame is one exchange as the line's owner kept it; the texts are hex.
type frame struct {
	SentAt     time.Time `json:"sent_at"`
	AnsweredAt time.Time `json:"answered_at"`
	Request    string    `json:"request"`
	Reply      string    `json:"reply"`
	Line       string    `json:"line"`   // the gateway on whose line it went; empty in what was kept before frames said so
	Write      bool      `json:"write"`  // it was to change something at the meter
	Result     string    `json:"result"` // what was wrong with the answer; empty for one that fits
	Map        string    `json:"map"`    // the register map with its version; empty in what was kept before frames said so
}

// lines are an exchange as text: when, on which line, whether it was an order, what went and what came, with what came of it.
func (f frame) lines(ctx context.Context) string {
	head := locale.Stamp(ctx, f.SentAt)
	if f.Line != "" {
		head += " " + f.Line
	}
	if f.Map != "" {
		head += " · " + f.Map
	}
	if f.Write {
		head += " · " + locale.T(ctx, "evidence.order")
	}
	reply := locale.T(ctx, "evidence.no_reply")
	if f.Reply != "" {
		reply = "← " + spaced(f.Reply)
		if !f.AnsweredAt.IsZero() {
			reply += " (" + f.AnsweredAt.Sub(f.SentAt).Round(time.Millisecond).String() + ")"
		}
	}
	if f.Result != "" {
		reply += "\n! " + locale.Sentence(ctx, f.Result)
	}
	return head + "\n→ " + spaced(f.Request) + "\n" + reply + "\n"
}

// HasFrames says whether any frames were kept.
func HasFrames(raw json.RawMessage) bool { return len(framesOf(raw)) > 0 }

// framesOf reads the kept frames; evidence that can't be read is shown as none, never as something else.
func framesOf(raw json.RawMessage) []frame {
	var fs []frame
	if json.Unmarshal(raw, &fs) != nil {
		return nil
	}
	return fs
}

// spaced writes hex in pairs of digits, as engineers read it.
func spaced(hex string) string {
	if hex == "" {
		return "–"
	}
	if strings.Contains(hex, " ") {
		return strings.ToUpper(hex)
	}
	var b strings.Builder
	for i := 0; i < len(hex); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(hex[i:min(i+2, len(hex))])
	}
	return strings.ToUpper(b.String())
}

// facts are what a command set out to do and what proves it.
func facts(ctx context.Context, c store.Command) []components.Fact {
	fs := []components.Fact{
		{ID: "command-state", Label: locale.T(ctx, "evidence.state"), Value: components.StateBadge(locale.Command, c.State), Hint: locale.Sentence(ctx, c.Error)},
		{ID: "command-meter", Label: locale.T(ctx, "evidence.meter"), Value: components.Link("/meters/"+string(c.Meter), string(c.Meter))},
		{ID: "command-sent", Label: locale.T(ctx, "evidence.sent"), Value: when(c.SentAt), Hint: locale.T(ctx, "evidence.attempts", c.Attempts)},
	}
	if c.Deadline != nil {
		fs = append(fs, components.Fact{ID: "command-deadline", Label: locale.T(ctx, "evidence.deadline"), Value: components.When(*c.Deadline)})
	}
	if c.Kind == billing.CommandCredit {
		return append(fs,
			components.Fact{ID: "count", Label: locale.T(ctx, "evidence.count"), Value: components.Text(change(number(c.CountBefore), number(c.CountAfter))),
				Hint: intended(ctx, c)},
			components.Fact{ID: "remaining", Label: locale.T(ctx, "evidence.remaining"), Value: components.Text(change(yuan(c.RemainingBefore), yuan(c.RemainingAfter)))})
	}
	if !c.Kind.Switches() {
		return fs
	}
	if c.Readback == "" {
		return append(fs, components.Fact{ID: "readback", Label: locale.T(ctx, "evidence.readback"), Value: components.Muted(locale.T(ctx, "evidence.no_readback"))})
	}
	fs = append(fs, components.Fact{ID: "readback", Label: locale.T(ctx, "evidence.readback"), Value: components.StateBadge(locale.Supply, c.Readback),
		Hint: realHint(ctx, c.ReadbackReal)})
	if c.ReadbackPowerW != nil {
		fs = append(fs, components.Fact{ID: "load", Label: locale.T(ctx, "evidence.load"), Value: components.Quantity(*c.ReadbackPowerW, 0, "W")})
	}
	return fs
}

func when(t *time.Time) templ.Component {
	if t == nil {
		return nil
	}
	return components.When(*t)
}

func realHint(ctx context.Context, t *time.Time) string {
	if t == nil {
		return ""
	}
	return locale.T(ctx, "evidence.real", locale.Stamp(ctx, *t))
}

func intended(ctx context.Context, c store.Command) string {
	if c.CountIntended == nil {
		return ""
	}
	return locale.T(ctx, "evidence.intended", strconv.FormatInt(*c.CountIntended, 10))
}

// change writes "42 → 43"; what isn't known is an en dash.
func change(before, after string) string { return before + " → " + after }

func number(n *int64) string {
	if n == nil {
		return "–"
	}
	return locale.Count(*n)
}

func yuan(fen *int64) string {
	if fen == nil {
		return "–"
	}
	return locale.Money(*fen)
}

// title says what was ordered and under which number.
func title(ctx context.Context, c store.Command) string {
	return locale.State(ctx, locale.CommandKind, c.Kind) + " · " + string(c.ID)
}

// trace is where the command's own story stands.
func trace(c store.Command) string { return page.TraceHref(string(c.ID)) }
