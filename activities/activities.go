// Package activities is what touches the world for the workflows: the database, the meters, the message sender. Plain Go with a
// context, one struct per capability with only what it uses, each method safe to repeat. It refuses to decide the order of
// things (package workflows does) and knows no HTTP.
package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

// actorWorkflow is who the journal names when no person decided.
const actorWorkflow = "workflow"

// byWorkflow says that the workflow itself makes the change.
func byWorkflow(ctx context.Context) store.By { return byPerson(ctx, actorWorkflow, "") }

// byPerson says that a person's decision makes the change, inside this workflow.
func byPerson(ctx context.Context, user billing.UserID, reason string) store.By {
	info := activity.GetInfo(ctx)
	return store.By{Actor: string(user), Reason: reason, WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID}
}

// authorize checks again, at the moment of the change, that the person may do this at this site: the page and the update's
// validator checked what they knew then.
func authorize(ctx context.Context, s *store.Store, user billing.UserID, action auth.Action, site billing.SiteID) error {
	u, err := s.User(ctx, user)
	if err != nil {
		return err
	}
	if !u.Active {
		return billing.Errorf(billing.CodeForbidden, "your user is switched off: ask the administrator")
	}
	return auth.Can(auth.Actor{UserID: u.ID, Name: u.Name, Role: u.Role, Sites: u.Sites}, action, site)
}
