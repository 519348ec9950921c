package activities

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/devices"
	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/failpoint"
	"github.com/meterflow/meterflow/internal/store"
)

// Review settles exception cases.
type Review struct {
	Store *store.Store
	Pool  *devices.Pool
}

// The decisions on a case about readings.
const (
	DecideAccept   = "accept"
	DecideReread   = "reread"
	DecideEstimate = "estimate"
	DecideManual   = "manual"
	DecideExchange = "exchange"
	// DecideTrueUp believes a reading below earlier estimates and spreads those again.
	DecideTrueUp = "true_up"
	// DecideResplit believes the total and divides it among the bands as in the meter's own past: its clock was wrong.
	DecideResplit = "resplit"
)

// The decisions on a case about money or supply; their owners settle them.
const (
	DecideCredited    = "settle_credited"
	DecideNotCredited = "settle_not_credited"
	DecideOn          = "confirm_on"
	DecideOff         = "confirm_off"
)

// CaseRef names a case.
type CaseRef struct {
	CaseID billing.CaseID
}

// CaseFacts is what the workflow of a case must know to wait for a decision.
type CaseFacts struct {
	Site      billing.SiteID
	Kind      string
	Resolved  bool
	Escalated bool
	DueAt     time.Time
	Allowed   []string
	Gateways  []billing.GatewayID // of the members that are open, or of the meter that a credit or command is about
	// RechargeID and CommandID say whose doubt it is, when it is not about a reading.
	RechargeID billing.RechargeID
	CommandID  billing.CommandID
	// ExchangeID says whose carried-over credit is in doubt; CommandID is then its delivery.
	ExchangeID billing.ExchangeID `json:",omitempty"`
}

// DescribeCase reads a case.
func (a *Review) DescribeCase(ctx context.Context, in CaseRef) (CaseFacts, error) {
	c, members, err := a.Store.Case(ctx, in.CaseID)
	if err != nil {
		return CaseFacts{}, err
	}
	f := CaseFacts{
		Site: c.Site, Kind: c.Kind, Resolved: c.State == billing.CaseResolved, Escalated: c.EscalatedAt != nil, DueAt: c.DueAt,
		Allowed: AllowedDecisions(c.Kind),
	}
	if c.RechargeID != nil {
		f.RechargeID = *c.RechargeID
	}
	if c.CommandID != nil {
		f.CommandID = *c.CommandID
	}
	if id, ok := strings.CutPrefix(c.Cause, "exchange/"); ok && c.Kind == store.KindCreditInDoubt {
		f.ExchangeID = billing.ExchangeID(id)
	}
	ids := openMeters(members)
	if len(ids) == 0 && c.Meter != nil {
		ids = append(ids, *c.Meter)
	}
	meters, err := a.Store.Meters(ctx, ids)
	if err != nil {
		return f, err
	}
	seen := map[billing.GatewayID]bool{}
	for _, m := range meters {
		if !seen[m.Gateway] {
			seen[m.Gateway] = true
			f.Gateways = append(f.Gateways, m.Gateway)
		}
	}
	return f, nil
}

// openMeters are the meters of the members without an outcome, each once, in order.
func openMeters(members []store.Member) []billing.MeterID {
	var ids []billing.MeterID
	for _, m := range members {
		if m.Outcome == "" && (len(ids) == 0 || ids[len(ids)-1] != m.Meter) {
			ids = append(ids, m.Meter)
		}
	}
	return ids
}

// AllowedDecisions lists what a person may decide on a kind of case. A register that stepped back is never simply accepted: nothing is
// counted from a lower base without a new reading, a person's value, or an exchange.
func AllowedDecisions(kind string) []string {
	switch kind {
	case store.KindMissing:
		return []string{DecideReread, DecideManual, DecideEstimate, DecideExchange}
	case store.KindGatewaySilent, store.KindSiteSilent:
		return []string{DecideReread, DecideEstimate, DecideManual}
	case store.KindCreditInDoubt:
		return []string{DecideCredited, DecideNotCredited}
	case store.KindSupplyUnknown:
		return []string{DecideReread, DecideOn, DecideOff}
	case store.KindOwnTrip, store.KindPricesNotSet:
		return []string{DecideAccept}
	case "credit_drift", "relay_mismatch":
		// The registers are believed; a person looks into the rest and says so.
		return []string{DecideAccept, DecideExchange}
	case "false_rollover":
		return []string{DecideTrueUp, DecideReread, DecideManual, DecideExchange}
	case "negative", "malformed", "drop_recovered", "spike_recovered":
		return []string{DecideEstimate, DecideReread, DecideManual, DecideExchange}
	case "clock_skew":
		return []string{DecideResplit, DecideAccept, DecideReread, DecideExchange}
	case "ratio_mismatch":
		return []string{DecideAccept, DecideReread, DecideExchange}
	}
	return []string{DecideAccept, DecideReread, DecideManual, DecideEstimate, DecideExchange}
}

// EscalateCase says that a case is overdue.
func (a *Review) EscalateCase(ctx context.Context, in CaseRef) error {
	return a.Store.EscalateCase(ctx, byWorkflow(ctx), in.CaseID)
}

// Decision is a person's decision on a case.
type Decision struct {
	CaseID   billing.CaseID
	By       billing.UserID
	Decision string
	Reason   string
	Values   []ManualValue // for manual
	Exchange *ExchangeForm // for exchange
	// Meters are decided, the other members stay open; empty means all.
	Meters []billing.MeterID
	// Batch names what was decided together in one act on several cases; it stands in the journal of each.
	Batch string
	Nonce string // of the form, so that a double click is one decision
}

// ManualValue is what a person read off a meter, raw units: 0.01 kWh, litres. It stands for the newest freeze instant of the case.
type ManualValue struct {
	Meter     billing.MeterID
	Registers billing.Registers
}

// Decided says what a decision came to. Runs are the billing runs that wait for cases of the site; Open counts the meters that were taken
// out of the decision and keep the case open.
type Decided struct {
	Runs []billing.RunID
	Open int
	// Exchange is the exchange that the decision carried out, whose credit and hold are still to be brought to the new meter.
	Exchange billing.ExchangeID `json:",omitempty"`
}

// DecideCase applies an accept, estimate, manual or exchange, and closes a reread whose members have all answered. The person's
// authority is checked again here. A repeat by the same workflow changes nothing more.
func (a *Review) DecideCase(ctx context.Context, in Decision) (Decided, error) {
	c, members, err := a.authorized(ctx, in)
	if err != nil {
		return Decided{}, err
	}
	if c.State == billing.CaseResolved {
		if c.DecidedBy == nil || *c.DecidedBy != in.By || c.Decision == nil || *c.Decision != in.Decision {
			return Decided{}, billing.Errorf(billing.CodeClosed, "case %s was decided already: open it to see by whom and how", c.ID)
		}
		return a.decided(ctx, c) // our own decision, whose answer was lost
	}
	chosen, open, err := choose(c, members, in)
	if err != nil {
		return Decided{}, err
	}
	if len(chosen) == 0 && open > 0 {
		return Decided{Open: open}, nil // our own decision on some of the meters, whose answer was lost
	}
	r := store.Resolution{Case: c.ID, Decision: in.Decision, By: in.By, Reason: strings.TrimSpace(in.Reason), Batch: in.Batch, Close: open == 0}
	if _, err := a.resolution(ctx, c, chosen, in, &r); err != nil {
		return Decided{}, err
	}
	if err := a.Store.ResolveCase(ctx, byPerson(ctx, in.By, r.Reason), r); err != nil {
		return Decided{}, err
	}
	failpoint.Hit("case-applied-not-acked")
	out, err := a.decided(ctx, c)
	out.Open = open
	return out, err
}

// choose keeps the members that a decision is about, and counts the open meters that it leaves out.
func choose(c store.Case, members []store.Member, in Decision) (chosen []store.Member, open int, err error) {
	if len(in.Meters) == 0 {
		return members, 0, nil
	}
	for _, id := range in.Meters {
		if !slices.ContainsFunc(members, func(m store.Member) bool { return m.Meter == id }) {
			return nil, 0, billing.Errorf(billing.CodeInvalidInput, "meter %s is not a member of case %s: open the case again and choose among its meters", id, c.ID)
		}
	}
	left := map[billing.MeterID]bool{}
	for _, m := range members {
		if m.Outcome != "" {
			continue
		}
		if slices.Contains(in.Meters, m.Meter) {
			chosen = append(chosen, m)
		} else {
			left[m.Meter] = true
		}
	}
	if len(chosen) == 0 && len(left) == 0 {
		return members, 0, nil
	}
	return chosen, len(left), nil
}

func (a *Review) decided(ctx context.Context, c store.Case) (out Decided, err error) {
	if out.Runs, err = a.Store.BlockedRuns(ctx, c.Site); err != nil {
		return out, err
	}
	out.Exchange, err = a.Store.ExchangeOfCase(ctx, c.ID)
	return out, err
}

// authorized reads the case and checks who decides, why, and whether this can be decided on it.
func (a *Review) authorized(ctx context.Context, in Decision) (store.Case, []store.Member, error) {
	c, members, err := a.Store.Case(ctx, in.CaseID)
	if err != nil {
		return c, nil, err
	}
	if err := authorize(ctx, a.Store, in.By, auth.DecideException, c.Site); err != nil {
		return c, nil, err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return c, nil, billing.Errorf(billing.CodeInvalidInput, "a decision needs a reason: say what you know about this reading")
	}
	for _, d := range AllowedDecisions(c.Kind) {
		if d == in.Decision {
			return c, members, nil
		}
	}
	return c, nil, billing.Errorf(billing.CodeInvalidInput, "%q can't be decided on a case of this kind: choose one of %s", in.Decision, strings.Join(AllowedDecisions(c.Kind), ", "))
}

// resolution works out what the decision makes of each open member.
func (a *Review) resolution(ctx context.Context, c store.Case, members []store.Member, in Decision, r *store.Resolution) (*weighing, error) {
	w, err := a.weigh(ctx, c, members, in)
	if err != nil {
		return w, err
	}
	switch in.Decision {
	case DecideAccept:
		r.Members, err = w.accept()
	case DecideTrueUp:
		r.Members, err = w.trueUp()
	case DecideResplit:
		r.Members, r.Refits, err = w.resplit(ctx)
	case DecideEstimate:
		r.Members, err = w.estimate(ctx)
	case DecideManual:
		r.Members, err = w.manual()
	case DecideExchange:
		r.Members, r.Exchange, err = w.exchange(ctx, in.Exchange, "case/"+string(c.ID))
	case DecideReread:
		if open := len(openMeters(members)); open > 0 {
			err = billing.Errorf(billing.CodeUnavailable, "%d meters gave no answer that can be believed: the case stays open, decide otherwise or try again later", open)
			err = permanent(err)
		}
	default:
		err = billing.Errorf(billing.CodeInvalidInput, "%q is decided by the owner of the recharge or command", in.Decision)
	}
	r.TrueUps, r.Billed = w.trueUps(), w.billed()
	return w, err
}

// permanent keeps an answer to a person from being retried by the engine.
func permanent(err error) error {
	return billing.Errorf(billing.CodeBlocked, "%s", billing.MessageOf(err))
}

// RereadMembers asks the members of a case behind one gateway now, on the worker that owns the line.
type RereadMembers struct {
	CaseID  billing.CaseID
	Gateway billing.GatewayID
	By      billing.UserID
	Reason  string
	Meters  []billing.MeterID // only these; empty means all
}

// Reread counts what a reread brought.
type Reread struct {
	Answered int
	Left     int
}

// RereadMembers reads the open members of a case behind one gateway and stores what is believable. It decides nothing: DecideCase closes
// the case when nothing is left.
func (a *Review) RereadMembers(ctx context.Context, in RereadMembers) (Reread, error) {
	defer beat(ctx)() // a command may hold the line for longer than a heartbeat lasts
	c, members, err := a.authorized(ctx, Decision{CaseID: in.CaseID, By: in.By, Reason: in.Reason, Decision: DecideReread})
	if err != nil || c.State == billing.CaseResolved {
		return Reread{}, err
	}
	gateway, err := a.Store.Gateway(ctx, in.Gateway)
	if err != nil {
		return Reread{}, err
	}
	if members, _, err = choose(c, members, Decision{Meters: in.Meters}); err != nil {
		return Reread{}, err
	}
	w, err := a.weigh(ctx, c, members, Decision{By: in.By, Reason: in.Reason})
	if err != nil {
		return Reread{}, err
	}
	var out Reread
	r := store.Resolution{Case: c.ID, Decision: DecideReread, By: in.By, Reason: strings.TrimSpace(in.Reason)}
	silent := 0
	for _, id := range w.meters {
		m := w.meter[id]
		if m.Gateway != in.Gateway || m.State != "fitted" {
			continue
		}
		results, answered, err := w.reread(ctx, a.Pool, gateway, m, silent >= giveUpAfter)
		if err != nil {
			return out, err
		}
		if silent++; answered {
			silent = 0
		}
		activity.RecordHeartbeat(ctx, id)
		if len(results) == 0 {
			out.Left++
			continue
		}
		out.Answered++
		r.Members = append(r.Members, results...)
	}
	if len(r.Members) == 0 {
		return out, nil
	}
	r.TrueUps, r.Billed = w.trueUps(), w.billed()
	err = judgedAgain(a.Store.ResolveCase(ctx, byPerson(ctx, in.By, r.Reason), r))
	failpoint.Hit("case-applied-not-acked")
	return out, err
}
