package api

import (
	"context"
	"time"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/workflows"
)

type exchangeInput struct {
	MeterPath
	Keyed
	Body struct {
		Reasoned
		MeterExchange
	}
}

// ExchangePreview is what a planned exchange would do.
type ExchangePreview struct {
	Since         time.Time      `json:"since" doc:"Of the reading that the closing is counted from."`
	Used          int64          `json:"used" doc:"Up to the closing, raw units after the ratio: 0.01 kWh or litres."`
	Spread        int            `json:"spread" doc:"Estimates that the closing reading spreads again."`
	Remaining     *billing.Money `json:"remaining_fen,omitempty" doc:"In the old meter; goes on to the new one when it is above zero. Absent where the meter holds no money."`
	Litres        *int64         `json:"remaining_litres,omitempty" doc:"The same of a meter that holds a volume."`
	Reckoned      *int64         `json:"reckoned_litres,omitempty" doc:"What it holds by its last reading and the closing."`
	WithNext      bool           `json:"with_next,omitempty" doc:"Too few litres for an order of their own: the next recharge takes them along."`
	RemainingFrom string         `json:"remaining_from,omitempty" enum:"display,reading"`
	Balance       billing.Money  `json:"balance_fen" doc:"Of the account; it stays as it is."`
	Hold          bool           `json:"hold" doc:"The new meter is held on, as the old one is."`
	Cut           bool           `json:"cut" doc:"Supply is cut, or that is in doubt: nothing cuts at the new meter."`
}

// orderedExchange checks that the meter is the person's and makes the order.
func (s *server) orderedExchange(ctx context.Context, in *exchangeInput) (workflows.OrderExchange, error) {
	m, err := s.seenMeter(ctx, in.ID)
	if err != nil {
		return workflows.OrderExchange{}, err
	}
	return workflows.OrderExchange{Meter: m.ID, By: me(ctx), Reason: in.Body.Reason, Form: in.Body.form(), Nonce: in.Key}, may(ctx, auth.ExchangeMeter, m.Site)
}

func (s *server) previewExchange(ctx context.Context, in *exchangeInput) (*body[ExchangePreview], error) {
	o, err := s.orderedExchange(ctx, in)
	if err != nil {
		return nil, err
	}
	p, err := s.Workflows.PreviewExchange(ctx, o)
	if err != nil {
		return nil, err
	}
	return &body[ExchangePreview]{ExchangePreview{Since: utc(p.Last.At), Used: p.Used, Spread: p.Spread, Remaining: p.Remaining, Litres: p.RemainingLitres, Reckoned: p.Reckoned,
		WithNext: p.WithNext, RemainingFrom: p.RemainingFrom, Balance: p.Balance, Hold: p.Hold, Cut: p.Cut}}, nil
}

func (s *server) exchangeMeter(ctx context.Context, in *exchangeInput) (*body[Meter], error) {
	o, err := s.orderedExchange(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.Workflows.ExchangeMeter(ctx, o); err != nil {
		return nil, err
	}
	m, err := s.Store.MeterRow(ctx, o.Form.NewMeter)
	return &body[Meter]{meterOf(m)}, err
}
