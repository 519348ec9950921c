package workflows

import (
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

func TestDayClose_closesWhatItIsTold(t *testing.T) {
	s := newStage(t)
	in := activities.CloseDays{Site: "park", Through: billing.MustDate("2026-01-05")}
	s.OnActivity(closing.CloseDays, mock.Anything, in).Return(nil).Once()
	s.ExecuteWorkflow(DayClose, in)
	s.finished()
}

func TestStartDue_closesEndedDays(t *testing.T) {
	s := newStage(t)
	started := s.children(DayClose)
	due := activities.DueWork{Closings: []store.ClosingDue{{Site: "park", Through: billing.MustDate("2026-01-05")}}}
	s.OnActivity((*activities.Due)(nil).FindDue, mock.Anything, mock.Anything).Return(due, nil).Once()
	s.ExecuteWorkflow(StartDue, StartDueInput{Site: "park"})
	s.finished()
	require.Equal(t, map[string]int{"day-close/park/2026-01-05": 1}, started)
}
