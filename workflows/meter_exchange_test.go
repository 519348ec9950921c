package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/activities"
)

var testExchange = activities.ExchangeRef{ExchangeID: "E1"}

func exchangeState(credit, hold string) activities.ExchangeState {
	s := activities.ExchangeState{ExchangeID: "E1", Account: "A1", Credit: credit, Hold: hold, State: "open"}
	if (credit == "none" || credit == "credited") && hold != "wanted" {
		s.State = "done"
	}
	return s
}

// The hold comes before the credit, and each is made again by itself until the new meter has shown it.
func TestMeterExchange_holdThenCredit(t *testing.T) {
	s := moneyStage(t)
	var order []string
	note := func(what string) func(mock.Arguments) { return func(mock.Arguments) { order = append(order, what) } }
	silent := exchangeState("delivering", "wanted")
	silent.Later = true
	doubt, settled := exchangeState("in_doubt", "held"), exchangeState("credited", "held")
	doubt.Case, settled.Case = "X1", "X1"
	s.OnActivity(review.LoadExchange, mock.Anything, testExchange).Return(exchangeState("delivering", "wanted"), nil).Once()
	s.OnActivity(switching.HoldExchanged, mock.Anything, testExchange).Return(silent, nil).Run(note("hold")).Once()
	s.OnActivity(delivery.CarryCredit, mock.Anything, testExchange).Return(silent, nil).Run(note("credit")).Once()
	s.OnActivity(switching.HoldExchanged, mock.Anything, testExchange).Return(exchangeState("delivering", "held"), nil).Run(note("hold")).Once()
	s.OnActivity(delivery.CarryCredit, mock.Anything, testExchange).Return(exchangeState("delivering", "held"), nil).Run(note("credit")).Once()
	s.OnActivity(delivery.CarryCredit, mock.Anything, testExchange).Return(doubt, nil).Run(note("credit")).Once()
	s.OnActivity(delivery.CarryCredit, mock.Anything, testExchange).Return(settled, nil).Run(note("credit")).Once()
	started := s.children(ExceptionReview)
	s.ExecuteWorkflow(MeterExchange, testExchange)
	s.finished()
	require.Equal(t, []string{"hold", "credit", "hold", "credit", "credit", "credit"}, order)
	require.Equal(t, 1, started["case/X1"])
}

func TestMeterExchange_nothingToBring(t *testing.T) {
	s := moneyStage(t)
	s.OnActivity(review.LoadExchange, mock.Anything, testExchange).Return(exchangeState("none", "none"), nil).Once()
	start := s.Now()
	s.ExecuteWorkflow(MeterExchange, testExchange)
	s.finished()
	require.Less(t, s.Now().Sub(start), time.Second)
}

func TestMeterExchange_orderedByAPerson(t *testing.T) {
	s := moneyStage(t)
	order := activities.OrderExchange{Meter: "M1", By: "sup1", Reason: "old"}
	s.OnActivity(review.ExchangeMeter, mock.Anything, order).Return(exchangeState("none", "none"), nil).Once()
	s.RegisterWorkflow(MeterExchange)
	s.OnActivity(review.LoadExchange, mock.Anything, testExchange).Return(exchangeState("none", "none"), nil).Once()
	s.ExecuteWorkflow(MeterExchange, activities.ExchangeRef{Order: &order})
	s.finished()
}
