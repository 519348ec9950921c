package demo

import (
	"context"
	"strconv"

	"github.com/meterflow/meterflow/devices/simulator"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/rating"
	"github.com/meterflow/meterflow/internal/store"
)

// Agreed is what a premise's contract says besides its tariff; most have nothing.
type Agreed struct {
	Persons  int
	KVA      int
	DemandKW int
	Choice   billing.ChargeChoice
}

// shanghaiHomeBands are the residential hours of Shanghai: peak from 6 to 22 o'clock, valley else.
var shanghaiHomeBands = []simulator.BandSpan{
	{From: 6 * 60, To: 22 * 60, Band: simulator.BandPeak},
	{From: 0, To: 6 * 60, Band: simulator.BandValley},
	{From: 22 * 60, To: 24 * 60, Band: simulator.BandValley},
}

// agreeHome gives four homes of a building something else than the others: Guangzhou's monthly steps by season, Shanghai's prices by
// tier and band, and two large households.
func agreeHome(p *Premise, i int) {
	switch i {
	case 6:
		p.Tariff = tariffdata.GuangzhouResidential
	case 10:
		p.Tariff, p.Spec.BandTable = tariffdata.ShanghaiResidentialTOU, shanghaiHomeBands
	case 14:
		p.Agreed.Persons = 5
	case 18:
		p.Agreed.Persons = 6
	}
}

// agreeShop gives one shop per floor a two-part tariff: by capacity on odd floors, by demand on even ones.
func agreeShop(p *Premise, floor, i int) {
	if i != 16 {
		return
	}
	p.Tariff = tariffdata.CommercialTwoPart
	if floor%2 == 1 {
		p.Agreed = Agreed{KVA: 10, Choice: billing.ChooseCapacity}
	} else {
		p.Agreed = Agreed{DemandKW: 6, Choice: billing.ChooseDemand}
	}
}

// rated are the terms as rating takes them.
func (a Agreed) rated() []rating.Terms {
	if a == (Agreed{}) {
		return nil
	}
	return []rating.Terms{{
		From: firstDay, Persons: a.Persons, CapacityKVA: billing.MustQuantity(strconv.Itoa(a.KVA)), ContractDemandKW: billing.MustQuantity(strconv.Itoa(a.DemandKW)), Choice: a.Choice,
	}}
}

// terms records what contracts say besides the tariff.
func (w *seeder) terms(ctx context.Context) error {
	for _, p := range w.u.Premises {
		if p.Agreed == (Agreed{}) {
			continue
		}
		t := p.Agreed.rated()[0]
		err := store.RecordTerms(ctx, w.tx, store.AccountTerms{
			Account: p.Account, FromDay: firstDay, Tariff: p.Tariff, Persons: t.Persons, CapacityKVA: t.CapacityKVA, ContractDemandKW: t.ContractDemandKW,
			ChargeChoice: t.Choice, Settlement: store.SettleByMeter,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
