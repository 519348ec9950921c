package tariffdata_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
)

func TestLoadDemoTariffs(t *testing.T) {
	tariffs, err := tariffdata.LoadDemoTariffs()
	require.NoError(t, err)
	var ids []billing.TariffID
	for _, tariff := range tariffs {
		ids = append(ids, tariff.ID)
	}
	require.ElementsMatch(t, []billing.TariffID{
		tariffdata.ZhejiangResidential, tariffdata.ZhejiangResidentialTOU, tariffdata.CommercialTOU,
		tariffdata.CommercialFlat, tariffdata.BeijingWater, tariffdata.BeijingWaterCommercial,
	}, ids)
}

func TestParse_refuses(t *testing.T) {
	_, err := tariffdata.Parse([]byte(`{"id": "x", "pirce": "1"}`))
	require.ErrorContains(t, err, "pirce")
	_, err = tariffdata.Parse([]byte(`{"id": "x"}`))
	require.ErrorContains(t, err, "Tariff x")
}
