package tariffdata_test

import (
	"encoding/json"
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
		tariffdata.ShanghaiResidentialTOU, tariffdata.GuangzhouResidential, tariffdata.CommercialTwoPart, tariffdata.ShanghaiWater,
	}, ids)
}

func TestParse_refuses(t *testing.T) {
	_, err := tariffdata.Parse([]byte(`{"id": "x", "pirce": "1"}`))
	require.ErrorContains(t, err, "pirce")
	_, err = tariffdata.Parse([]byte(`{"id": "x"}`))
	require.ErrorContains(t, err, "Tariff x")
	_, err = tariffdata.Parse([]byte("{\n\"id\": \"x\",\n\"service\": }"))
	require.ErrorContains(t, err, "line 3")
	_, err = tariffdata.Parse([]byte("{\n\"versions\": [{\"from\": \"2026-13-01\"}]}"))
	require.ErrorContains(t, err, "2026-13-01")
	_, err = tariffdata.Parse([]byte(`{"id": "x"} {"id": "y"}`))
	require.ErrorContains(t, err, "a file holds one")
}

// Whatever a file holds, it is refused or understood; it never stops the program.
func FuzzParse(f *testing.F) {
	tariffs, err := tariffdata.LoadDemoTariffs()
	require.NoError(f, err)
	for _, tariff := range tariffs {
		data, err := json.Marshal(tariff)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tariff, err := tariffdata.Parse(data)
		if err != nil {
			return
		}
		written, err := json.Marshal(tariff)
		require.NoError(t, err)
		again, err := tariffdata.Parse(written)
		require.NoError(t, err)
		require.Equal(t, tariff, again)
	})
}
