package api

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
)

// Page is the part of a list that is asked for, and at which sites.
type Page struct {
	Site   billing.SiteID `query:"site" doc:"One of your sites; all of them when left out."`
	Limit  int            `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"How many to give."`
	Offset int            `query:"offset" default:"0" minimum:"0" maximum:"1000000" doc:"How many to leave out first."`
}

// sites are those that the list covers. A site that isn't the person's is refused.
func (p Page) sites(ctx context.Context) ([]billing.SiteID, error) {
	a := auth.FromContext(ctx)
	if p.Site == "" {
		return a.Sites, nil
	}
	if err := auth.Can(a, auth.View, p.Site); err != nil {
		return nil, err
	}
	return []billing.SiteID{p.Site}, nil
}

// List is one part of a list and the count of all of it.
type List[T any] struct {
	Items []T `json:"items"`
	Total int `json:"total" doc:"How many there are in all; 0 on a part beyond the end."`
}

// listOf turns store rows into what the API gives.
func listOf[R, T any](rows []R, total int, view func(R) T) *body[List[T]] {
	l := List[T]{Items: make([]T, 0, len(rows)), Total: total}
	for _, r := range rows {
		l.Items = append(l.Items, view(r))
	}
	return &body[List[T]]{l}
}

// Done answers a decision that has no other answer: it was taken.
type Done struct {
	ID    string `json:"id" doc:"The number of what was decided on."`
	State string `json:"state" doc:"Its state now."`
}

func done[S ~string, I ~string](id I, state S) *body[Done] {
	return &body[Done]{Done{ID: string(id), State: string(state)}}
}

// Reasoned is the body of a decision that says why.
type Reasoned struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; it stands in the journal."`
}

// Keyed lets a request be sent again without being done again.
type Keyed struct {
	Key string `header:"Idempotency-Key" maxLength:"128" doc:"A number of your own: the same one twice is one request."`
}

// utc gives instants their one form.
func utc(t time.Time) time.Time { return t.UTC() }

func utcOrNil(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// since reads a filter of a day: the first instant of it in China's zone, which all sites share so far; zero when it is empty.
func since(day string) (time.Time, error) {
	if day == "" {
		return time.Time{}, nil
	}
	d, err := billing.ParseDate(day)
	if err != nil {
		return time.Time{}, err
	}
	return d.Start(time.FixedZone("Asia/Shanghai", 8*60*60)), nil
}
