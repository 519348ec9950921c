package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/workflows"
)

// Round is one walk along a route by one reader.
type Round struct {
	ID          billing.RoundID    `json:"id"`
	Site        billing.SiteID     `json:"site"`
	Route       billing.RouteID    `json:"route"`
	RouteName   string             `json:"route_name"`
	Kind        billing.RoundKind  `json:"kind" enum:"collect,check"`
	State       billing.RoundState `json:"state" enum:"planned,assigned,in_progress,submitted,checked,closed,cancelled"`
	Due         string             `json:"due" format:"date" doc:"The planned day."`
	OnTimeDays  int                `json:"on_time_days" doc:"On schedule: submitted less than so many days from due."`
	Reader      *billing.UserID    `json:"reader,omitempty"`
	CheckedBy   *billing.UserID    `json:"checked_by,omitempty"`
	AssignedAt  *time.Time         `json:"assigned_at,omitempty"`
	SubmittedAt *time.Time         `json:"submitted_at,omitempty"`
	ClosedAt    *time.Time         `json:"closed_at,omitempty"`
	Late        bool               `json:"late" doc:"It was not submitted on schedule."`
	Returns     int                `json:"returns"`
	Reason      string             `json:"reason,omitempty" doc:"Of the last return, or of the cancellation."`
	Meters      int                `json:"meters"`
	Entered     int                `json:"entered" doc:"Meters with a value or a reason why there is none."`
}

func roundOf(r store.RoundRow) Round {
	return Round{ID: r.ID, Site: r.Site, Route: r.Route, RouteName: r.RouteName, Kind: r.Kind, State: r.State, Due: r.DueOn.String(), OnTimeDays: r.OnTimeDays,
		Reader: r.Reader, CheckedBy: r.CheckedBy, AssignedAt: utcOrNil(r.AssignedAt), SubmittedAt: utcOrNil(r.SubmittedAt), ClosedAt: utcOrNil(r.ClosedAt),
		Late: r.LateAt != nil, Returns: r.Returns, Reason: r.Reason, Meters: r.Meters, Entered: r.Entered}
}

// RoundItem is one meter of a round's list, in walking order.
type RoundItem struct {
	Seq       int               `json:"seq"`
	Meter     billing.MeterID   `json:"meter"`
	Serial    string            `json:"serial"`
	Service   billing.Service   `json:"service"`
	Address   string            `json:"address"`
	Count     int               `json:"registers_shown" doc:"How many registers the meter shows."`
	Registers []int64           `json:"registers,omitempty" doc:"As read, raw units: 0.01 kWh or litres."`
	NoReading billing.NoReading `json:"no_reading,omitempty" doc:"Why there is no value."`
	Note      string            `json:"note,omitempty"`
	TakenAt   *time.Time        `json:"taken_at,omitempty"`
	Last      []int64           `json:"last,omitempty" doc:"The last good registers, where the person may see them."`
	Outcome   string            `json:"outcome,omitempty" doc:"stored, doubtful or no_value, once the round was accepted."`
	Case      *billing.CaseID   `json:"case,omitempty"`
}

// RoundDetail is a round with its list.
type RoundDetail struct {
	Round
	Items []RoundItem `json:"items"`
}

// ReadingRoute is the meters of an area in walking order.
type ReadingRoute struct {
	ID        billing.RouteID   `json:"id"`
	Site      billing.SiteID    `json:"site"`
	Name      string            `json:"name"`
	Kind      billing.RoundKind `json:"kind" enum:"collect,check"`
	EveryDays int               `json:"every_days" doc:"A round is planned so often; 0: by hand only."`
	Active    bool              `json:"active"`
	Meters    int               `json:"meters"`
	Open      *billing.RoundID  `json:"open_round,omitempty"`
}

// ReaderFinding is something odd about a reader's own work. It proves nothing.
type ReaderFinding struct {
	ID        int64           `json:"id"`
	Site      billing.SiteID  `json:"site"`
	Round     billing.RoundID `json:"round"`
	Reader    billing.UserID  `json:"reader"`
	Rule      string          `json:"rule" doc:"round_digits, regular_use, regular_pace, too_fast, equals_estimate, skips or always_late."`
	FoundAt   time.Time       `json:"found_at"`
	SettledAt *time.Time      `json:"settled_at,omitempty"`
	SettledBy *billing.UserID `json:"settled_by,omitempty"`
	Answer    string          `json:"answer,omitempty"`
}

type roundsInput struct {
	Page
	State string `query:"state" enum:"open,planned,assigned,in_progress,submitted,checked,closed,cancelled"`
}

// RoundPath is the address of a round.
type RoundPath struct {
	ID billing.RoundID `path:"id"`
}

type planRoundInput struct {
	Body struct {
		Route billing.RouteID   `json:"route" minLength:"1"`
		Due   string            `json:"due" format:"date"`
		Kind  billing.RoundKind `json:"kind,omitempty" enum:"collect,check" doc:"The route's unless given."`
	}
}

type assignRoundInput struct {
	RoundPath
	Keyed
	Body struct {
		Reader billing.UserID `json:"reader" minLength:"1"`
		Reason string         `json:"reason,omitempty" maxLength:"500" doc:"Why the same reader again, after several rounds in a row."`
	}
}

type roundStepInput struct {
	RoundPath
	Keyed
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Needed to return or cancel; it stands in the journal."`
	}
}

// RoundEntry is what a reader wrote down at one meter.
type RoundEntry struct {
	Meter     billing.MeterID   `json:"meter" minLength:"1"`
	Registers []int64           `json:"registers,omitempty" maxItems:"6" doc:"Raw units: 0.01 kWh or litres; total first, then sharp, peak, flat, valley, deep valley."`
	NoReading billing.NoReading `json:"no_reading,omitempty" enum:"no_access,meter_broken,dial_covered,not_found,other" doc:"In place of registers."`
	Note      string            `json:"note,omitempty" maxLength:"200"`
	TakenAt   *time.Time        `json:"taken_at,omitempty" doc:"When the reader stood there; now when left out."`
	Confirmed bool              `json:"confirmed,omitempty" doc:"The reader has looked again at a value that was doubted."`
}

type roundValuesInput struct {
	RoundPath
	Body struct {
		Values  []RoundEntry `json:"values" minItems:"1" maxItems:"100"`
		Preview bool         `json:"preview,omitempty" doc:"Only judge them; nothing is stored."`
	}
}

// RoundWarning is a doubt about a value. The numbers behind it are given to whoever may see the last value.
type RoundWarning struct {
	Rule     string            `json:"rule"`
	Blocking bool              `json:"blocking" doc:"The value will be in doubt until a supervisor decides."`
	Numbers  map[string]string `json:"numbers,omitempty"`
}

// RoundVerdict is what was made of one value.
type RoundVerdict struct {
	Meter    billing.MeterID `json:"meter"`
	Taken    bool            `json:"taken" doc:"It goes in, or would, in a preview."`
	Refused  string          `json:"refused,omitempty" doc:"Why it can't stand on the list."`
	Confirm  bool            `json:"confirm,omitempty" doc:"It goes in when it is sent again as confirmed, after another look at the meter."`
	Warnings []RoundWarning  `json:"warnings"`
}

// RoundVerdicts are the verdicts on a page of values.
type RoundVerdicts struct {
	Values []RoundVerdict `json:"values"`
}

type saveRouteInput struct {
	Site billing.SiteID `path:"site"`
	Body struct {
		ID        billing.RouteID   `json:"id,omitempty" doc:"Of the route to be replaced; a new one when left out."`
		Name      string            `json:"name" minLength:"1" maxLength:"60"`
		Kind      billing.RoundKind `json:"kind" enum:"collect,check"`
		EveryDays int               `json:"every_days,omitempty" minimum:"0" maximum:"366"`
		Inactive  bool              `json:"inactive,omitempty"`
		Meters    []billing.MeterID `json:"meters" minItems:"1" maxItems:"500" doc:"In walking order."`
	}
}

type settleFindingInput struct {
	ID   int64 `path:"id"`
	Body Reasoned
}

type findingsInput struct {
	Page
	Open   bool           `query:"open" doc:"Only those without an answer."`
	Reader billing.UserID `query:"reader"`
}

// roundSteps are the decisions on a round that need no more than a reason.
var roundSteps = []struct {
	name, update, summary string
	may                   auth.Action
}{
	{"submit", workflows.UpdateSubmitRound, "Hand a round in: every meter has a value or a reason.", auth.ReadRound},
	{"accept", workflows.UpdateAcceptRound, "Accept a submitted round: its values become readings.", auth.CheckRound},
	{"return", workflows.UpdateReturnRound, "Give a submitted round back to its reader.", auth.CheckRound},
	{"cancel", workflows.UpdateCancelRound, "End a round; none of its values becomes a reading.", auth.PlanRound},
}

func (s *server) roundOperations() {
	const tag = "rounds"
	add(s, operation{method: http.MethodGet, path: "/rounds", id: "list-rounds", tag: tag, may: auth.SeeRounds, summary: "Reading rounds, those under way first; a reader's own."}, s.rounds)
	add(s, operation{method: http.MethodPost, path: "/rounds", id: "plan-round", tag: tag, may: auth.PlanRound, done: http.StatusCreated, summary: "Plan a round of a route."}, s.planRound)
	add(s, operation{method: http.MethodGet, path: "/rounds/{id}", id: "get-round", tag: tag, may: auth.SeeRounds, summary: "A round with its list in walking order."}, s.round)
	add(s, operation{method: http.MethodPost, path: "/rounds/{id}/assign", id: "assign-round", tag: tag, may: auth.PlanRound, summary: "Give a round to a reader."}, s.assignRound)
	add(s, operation{method: http.MethodPost, path: "/rounds/{id}/values", id: "enter-round-values", tag: tag, may: auth.ReadRound,
		summary: "Put values on one's own round, or have them judged only."}, s.enterRoundValues)
	for _, step := range roundSteps {
		add(s, operation{method: http.MethodPost, path: "/rounds/{id}/" + step.name, id: step.name + "-round", tag: tag, may: step.may, summary: step.summary},
			func(ctx context.Context, in *roundStepInput) (*body[Done], error) {
				d := workflows.RoundDecision{RoundID: in.ID, By: me(ctx), Reason: in.Body.Reason, Nonce: in.Key}
				return s.decideRound(ctx, step.update, step.may, d)
			})
	}
	add(s, operation{method: http.MethodGet, path: "/routes", id: "list-routes", tag: tag, may: auth.View, summary: "Reading routes."}, s.readingRoutes)
	add(s, operation{method: http.MethodPost, path: "/sites/{site}/routes", id: "save-route", tag: tag, may: auth.PlanRound, summary: "Make a reading route, or replace one."}, s.saveRoute)
	add(s, operation{method: http.MethodGet, path: "/reader-findings", id: "list-reader-findings", tag: tag, may: auth.View, summary: "What was found about readers' own work."}, s.readerFindings)
	add(s, operation{method: http.MethodPost, path: "/reader-findings/{id}/answer", id: "answer-reader-finding", tag: tag, may: auth.CheckRound,
		summary: "Say what a finding turned out to be."}, s.settleFinding)
}

func isReader(ctx context.Context) bool { return auth.FromContext(ctx).Role == billing.RoleReader }

func (s *server) rounds(ctx context.Context, in *roundsInput) (*body[List[Round]], error) {
	f := store.RoundFilter{Sites: auth.FromContext(ctx).Sites, State: in.State}
	if in.Site != "" {
		if err := auth.Can(auth.FromContext(ctx), auth.SeeRounds, in.Site); err != nil {
			return nil, err
		}
		f.Sites = []billing.SiteID{in.Site}
	}
	if isReader(ctx) {
		f.Reader = me(ctx)
	}
	rows, total, err := s.Store.RoundPage(ctx, f, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, roundOf), nil
}

// oneRound reads a round that the person may see: of a site of theirs, and for a reader their own.
func (s *server) oneRound(ctx context.Context, id billing.RoundID) (store.RoundRow, error) {
	r, err := s.Store.RoundRow(ctx, id)
	if err != nil {
		return r, err
	}
	own := r.Reader != nil && *r.Reader == me(ctx)
	if !slices.Contains(auth.FromContext(ctx).Sites, r.Site) || isReader(ctx) && !own {
		return r, billing.Errorf(billing.CodeNotFound, "there is no reading round %s: check the number", id)
	}
	return r, nil
}

func (s *server) round(ctx context.Context, in *RoundPath) (*body[RoundDetail], error) {
	r, err := s.oneRound(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	items, err := s.Store.RoundItems(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	d := RoundDetail{Round: roundOf(r), Items: make([]RoundItem, 0, len(items))}
	for _, i := range items {
		item := RoundItem{Seq: i.Seq, Meter: i.Meter, Serial: i.Serial, Service: i.Service, Address: i.Address, Count: i.Count, Registers: i.Registers,
			NoReading: i.NoReading, Note: i.Note, TakenAt: utcOrNil(i.TakenAt), Outcome: i.Outcome, Case: i.Case}
		if r.ShowLast || !isReader(ctx) {
			item.Last = i.Last
		}
		d.Items = append(d.Items, item)
	}
	return &body[RoundDetail]{d}, nil
}

func (s *server) planRound(ctx context.Context, in *planRoundInput) (*body[Round], error) {
	route, _, err := s.Store.Route(ctx, in.Body.Route)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.PlanRound, route.Site); err != nil {
		return nil, err
	}
	due, err := billing.ParseDate(in.Body.Due)
	if err != nil {
		return nil, err
	}
	id, err := s.Store.NextRoundID(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.Workflows.PlanRound(ctx, workflows.PlanRound{RoundID: id, Route: route.ID, Kind: in.Body.Kind, DueOn: due, By: me(ctx)}); err != nil {
		return nil, err
	}
	r, err := s.Store.RoundRow(ctx, id)
	return &body[Round]{roundOf(r)}, err
}

func (s *server) assignRound(ctx context.Context, in *assignRoundInput) (*body[Done], error) {
	d := workflows.RoundDecision{RoundID: in.ID, By: me(ctx), Reader: in.Body.Reader, Reason: in.Body.Reason, Nonce: in.Key}
	return s.decideRound(ctx, workflows.UpdateAssignRound, auth.PlanRound, d)
}

func (s *server) decideRound(ctx context.Context, update string, action auth.Action, d workflows.RoundDecision) (*body[Done], error) {
	r, err := s.oneRound(ctx, d.RoundID)
	if err != nil {
		return nil, err
	}
	if err := auth.Can(auth.FromContext(ctx), action, r.Site); err != nil { // not may: a reader sees nothing but rounds
		return nil, err
	}
	if err := s.Workflows.DecideRound(ctx, update, d); err != nil {
		return nil, err
	}
	if r, err = s.Store.RoundRow(ctx, d.RoundID); err != nil {
		return nil, err
	}
	return done(r.ID, r.State), nil
}

func (s *server) enterRoundValues(ctx context.Context, in *roundValuesInput) (*body[RoundVerdicts], error) {
	r, err := s.oneRound(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := auth.Can(auth.FromContext(ctx), auth.ReadRound, r.Site); err != nil {
		return nil, err
	}
	clock, err := s.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	values := workflows.RoundValues{RoundID: r.ID, By: me(ctx), Source: "api", Preview: in.Body.Preview}
	for _, v := range in.Body.Values {
		taken := clock.Now
		if v.TakenAt != nil {
			taken = *v.TakenAt
		}
		values.Values = append(values.Values, workflows.RoundValue{
			Meter: v.Meter, Registers: v.Registers, NoReading: v.NoReading, Note: v.Note, TakenAt: taken, Confirmed: v.Confirmed,
		})
	}
	verdicts, err := s.Workflows.EnterRoundValues(ctx, values)
	if err != nil {
		return nil, err
	}
	out := RoundVerdicts{Values: make([]RoundVerdict, 0, len(verdicts))}
	for _, v := range verdicts {
		verdict := RoundVerdict{Meter: v.Meter, Taken: v.Refused == "" && !v.Confirm, Refused: v.Refused, Confirm: v.Confirm, Warnings: []RoundWarning{}}
		for _, w := range v.Warnings {
			warning := RoundWarning{Rule: string(w.Rule), Blocking: w.Blocking}
			if r.ShowLast { // the numbers tell the last value
				warning.Numbers = w.Numbers
			}
			verdict.Warnings = append(verdict.Warnings, warning)
		}
		out.Values = append(out.Values, verdict)
	}
	return &body[RoundVerdicts]{out}, nil
}

func (s *server) readingRoutes(ctx context.Context, in *Page) (*body[List[ReadingRoute]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.Routes(ctx, sites)
	if err != nil {
		return nil, err
	}
	total := len(rows)
	rows = rows[min(in.Offset, total):min(in.Offset+in.Limit, total)]
	return listOf(rows, total, func(r store.RouteRow) ReadingRoute {
		return ReadingRoute{ID: r.ID, Site: r.Site, Name: r.Name, Kind: r.Kind, EveryDays: r.EveryDays, Active: r.Active, Meters: r.Meters, Open: r.Open}
	}), nil
}

func (s *server) saveRoute(ctx context.Context, in *saveRouteInput) (*body[Done], error) {
	if err := may(ctx, auth.PlanRound, in.Site); err != nil {
		return nil, err
	}
	id, err := s.Store.SaveRoute(ctx, store.By{Actor: string(me(ctx))}, store.Route{
		ID: in.Body.ID, Site: in.Site, Name: in.Body.Name, Kind: in.Body.Kind, EveryDays: in.Body.EveryDays, Active: !in.Body.Inactive,
	}, in.Body.Meters)
	return done(id, "saved"), err
}

func (s *server) readerFindings(ctx context.Context, in *findingsInput) (*body[List[ReaderFinding]], error) {
	sites, err := in.sites(ctx)
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.FindingPage(ctx, store.FindingFilter{Sites: sites, Reader: in.Reader, Open: in.Open}, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	return listOf(rows, total, func(f store.ReaderFinding) ReaderFinding {
		return ReaderFinding{ID: f.ID, Site: f.Site, Round: f.Round, Reader: f.Reader, Rule: f.Rule, FoundAt: utc(f.FoundAt), SettledAt: utcOrNil(f.SettledAt),
			SettledBy: f.SettledBy, Answer: f.Answer}
	}), nil
}

func (s *server) settleFinding(ctx context.Context, in *settleFindingInput) (*body[Done], error) {
	f, err := s.Store.Finding(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.CheckRound, f.Site); err != nil {
		return nil, err
	}
	if err := s.Store.SettleFinding(ctx, store.By{Actor: string(me(ctx)), Reason: in.Body.Reason}, in.ID); err != nil {
		return nil, err
	}
	return done(f.Round, "answered"), nil
}
