package api

import (
	"context"

	"github.com/meterflow/meterflow/internal/auth"
)

// RunProgress is how far a run is; it moves with each page of bills.
type RunProgress struct {
	Accounts int `json:"accounts" doc:"Of the site, when the run was planned; 0 before."`
	Rated    int `json:"rated" doc:"Accounts that rating has passed."`
	Bills    int `json:"bills" doc:"To be issued or issued."`
	Issued   int `json:"issued" doc:"Bills that are posted."`
}

type runReasonInput struct {
	RunPath
	Body Reasoned
}

// runProgress answers from the run's chunks.
func (s *server) runProgress(ctx context.Context, in *RunPath) (*body[RunProgress], error) {
	if _, err := s.seenRun(ctx, in.id()); err != nil {
		return nil, err
	}
	p, err := s.Store.RunProgress(ctx, in.id())
	return &body[RunProgress]{RunProgress(p)}, err
}

func (s *server) cancelRun(ctx context.Context, in *runReasonInput) (*body[Run], error) {
	r, err := s.Store.RunRow(ctx, in.id())
	if err != nil {
		return nil, err
	}
	if err := may(ctx, auth.StartRun, r.Site); err != nil {
		return nil, err
	}
	if err := s.Workflows.CancelRun(ctx, r.ID, me(ctx), in.Body.Reason); err != nil {
		return nil, err
	}
	if r, err = s.Store.RunRow(ctx, r.ID); err != nil {
		return nil, err
	}
	return &body[Run]{runOf(r)}, nil
}
