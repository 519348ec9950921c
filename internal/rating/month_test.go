package rating_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/rating"
)

// A demand charge that comes into force on the 30th is charged for the two days that are left of January, not for the whole month: the days
// before it count toward the month's thirtieths though nothing is charged for them.
func TestRate_monthlyChargeBeginsInsideAMonth(t *testing.T) {
	price := billing.MustPrice("30")
	demand := billing.Component{Key: "demand", Name: billing.Names{ZH: "d", EN: "d"}, Kind: billing.KindDemand, Basis: billing.DemandMeasured, Price: &price}
	tariff := plan(t, billing.Power, flat("energy", "1"))
	tariff.Versions = append(tariff.Versions, billing.TariffVersion{
		From: billing.MustDate("2026-01-30"), Components: []billing.Component{flat("energy", "1"), demand},
	})
	require.NoError(t, tariff.Validate())
	in := inJanuary(tariff, billing.Registers{0})
	kw := billing.MustQuantity("100")
	in.Months = []rating.Month{{First: billing.MustDate("2026-01-01"), DemandKW: &kw}}
	bill, err := rating.Rate(in)
	require.NoError(t, err)
	require.Len(t, bill.Lines, 1)
	require.Equal(t, 1, bill.Lines[0].Thirtieths, "30 less the 29 days before")
	require.Equal(t, "100.00", bill.Total.String())
}
