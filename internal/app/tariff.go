package app

import (
	"context"
	"fmt"
	"os"

	"github.com/meterflow/meterflow/internal/billing"
)

// TariffCheck is `meterflow tariff check`: whether a file is a tariff that could price all use, and the most that one unit costs by it.
type TariffCheck struct {
	File string `arg:"" help:"Tariff file; docs/tariffs.md is its format." placeholder:"FILE"`
}

// Run checks the file without any server.
func (c TariffCheck) Run() error {
	data, err := os.ReadFile(c.File)
	if err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the tariff file can't be read: %v", err)
	}
	t, err := billing.ParseTariff(data)
	if err != nil {
		return billing.Errorf(billing.CodeOf(err), "%s: %s", c.File, billing.MessageOf(err))
	}
	fmt.Printf("%s  %s  %s\n", t.ID, t.Name.ZH, t.Name.EN)
	for _, v := range t.Versions {
		fmt.Printf("from %s: %d components\n", v.From, len(v.Components))
		for _, u := range v.TopPrices() {
			fmt.Printf("  %-12s at most %s yuan per %s\n", u.Register, u, t.Service.Unit())
		}
	}
	return nil
}

// TariffExport is `meterflow tariff export`: a tariff with all its published versions, as a file that can be imported.
type TariffExport struct {
	Database
	ID string `arg:"" help:"The tariff's id." placeholder:"ID"`
}

// Run writes the file to standard output.
func (c TariffExport) Run(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := s.Tariff(ctx, billing.TariffID(c.ID))
	if billing.CodeOf(err) == billing.CodeNotFound {
		return billing.Errorf(billing.CodeNotFound, "there is no tariff %s: check its id on the page of tariffs", c.ID)
	}
	if err != nil {
		return err
	}
	data, err := billing.WriteTariff(t)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return err
}
