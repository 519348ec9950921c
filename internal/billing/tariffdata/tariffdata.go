// Package tariffdata carries the tariffs of the demo utility as JSON data; the
// numbers and where they come from are listed in SOURCES.md. It owns no rule:
// what the data means is billing.Tariff, what it costs is package rating.
package tariffdata

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
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

// Parse reads one tariff file. A field that is not part of the format is
// refused, because a misspelt one would silently drop a part of the price.
func Parse(data []byte) (billing.Tariff, error) {
	reader := bytes.NewReader(data)
	decoder := json.NewDecoder(reader)
	decoder.DisallowUnknownFields()
	var tariff billing.Tariff
	err := decoder.Decode(&tariff)
	if err == nil && decoder.More() {
		err = errors.New("there is something after the tariff's closing brace")
	}
	if err != nil {
		read := data[:min(int(decoder.InputOffset()), len(data))]
		if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
			read = data[:min(int(wrong.Offset), len(data))]
		}
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			read = data[:min(int(wrong.Offset), len(data))]
		}
		if len(read) == 0 {
			return billing.Tariff{}, billing.Errorf(billing.CodeInvalidInput, "The tariff file cannot be read: %w", err)
		}
		return billing.Tariff{}, billing.Errorf(billing.CodeInvalidInput, "The tariff file cannot be read, line %d: %w", 1+bytes.Count(read, []byte("\n")), err)
	}
	return tariff, tariff.Validate()
}
