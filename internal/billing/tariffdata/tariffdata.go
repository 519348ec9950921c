// Package tariffdata carries the tariffs of the demo utility as JSON data; the
// numbers and where they come from are listed in SOURCES.md. It owns no rule:
// what the data means is billing.Tariff, what it costs is package rating.
package tariffdata

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/meterflow/meterflow/internal/billing"
)

//go:embed *.json
var files embed.FS

// The tariffs of the demo utility.
const (
	ZhejiangResidential    billing.TariffID = "zj-residential"
	ZhejiangResidentialTOU billing.TariffID = "zj-residential-tou"
	CommercialTOU          billing.TariffID = "js-commercial-tou"
	CommercialFlat         billing.TariffID = "demo-commercial-flat"
	BeijingWater           billing.TariffID = "bj-water-residential"
	BeijingWaterCommercial billing.TariffID = "bj-water-commercial"
	ShanghaiResidentialTOU billing.TariffID = "sh-residential-tou"
	GuangzhouResidential   billing.TariffID = "gz-residential"
	CommercialTwoPart      billing.TariffID = "demo-two-part"
	ShanghaiWater          billing.TariffID = "sh-water-residential"
)

// LoadDemoTariffs reads and validates all of them, ordered by id.
func LoadDemoTariffs() ([]billing.Tariff, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	tariffs := make([]billing.Tariff, 0, len(names))
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		tariff, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if string(tariff.ID)+".json" != name {
			return nil, fmt.Errorf("%s: the file holds tariff %s; name it after its tariff", name, tariff.ID)
		}
		tariffs = append(tariffs, tariff)
	}
	return tariffs, nil
}

// Parse reads one tariff file; see billing.ParseTariff.
func Parse(data []byte) (billing.Tariff, error) { return billing.ParseTariff(data) }
