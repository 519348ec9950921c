package app

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/billing/tariffdata"
	"github.com/meterflow/meterflow/internal/rating"
)

// Rate is `meterflow rate`: a bill's derivation from two files, without any server.
type Rate struct {
	Tariff []string `help:"Tariff file; more than once when the terms change the tariff." required:"" placeholder:"FILE"`
	Usage  string   `help:"Usage file: period, readings or intervals, terms; docs/tariffs.md is its format." required:"" placeholder:"FILE"`
	JSON   bool     `help:"Print the result as JSON." name:"json"`

	out io.Writer // where the derivation goes; standard output when nil
}

// Run rates and prints.
func (c Rate) Run() error {
	out := c.out
	if out == nil {
		out = os.Stdout
	}
	var tariffs []billing.Tariff
	for _, file := range c.Tariff {
		data, err := os.ReadFile(file)
		if err != nil {
			return billing.Errorf(billing.CodeInvalidInput, "the tariff file can't be read: %v", err)
		}
		tariff, err := tariffdata.Parse(data)
		if err != nil {
			return billing.Errorf(billing.CodeOf(err), "%s: %s", file, billing.MessageOf(err))
		}
		tariffs = append(tariffs, tariff)
	}
	usage, err := os.ReadFile(c.Usage)
	if err != nil {
		return billing.Errorf(billing.CodeInvalidInput, "the usage file can't be read: %v", err)
	}
	in, err := rating.ParseUsage(string(usage), tariffs...)
	if err != nil {
		return err
	}
	result, err := rating.Rate(in)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Engine string        `json:"engine"`
			Input  rating.Stored `json:"input"`
			rating.Result
		}{rating.Engine, in.Store(), result})
	}
	return derivation{out, in, result}.print()
}

// derivation prints a result for people, in the order of a bill.
type derivation struct {
	io.Writer
	in rating.Input
	r  rating.Result
}

func (d derivation) print() error {
	open := ""
	if d.in.Open {
		open = ", charge to date"
	}
	fmt.Fprintf(d, "%s  %s  %s\n", d.in.Tariff.ID, d.in.Tariff.Name.ZH, d.in.Tariff.Name.EN)
	fmt.Fprintf(d, "%s to %s (%s)%s, engine %s\n", d.day(d.in.From), d.day(d.in.To), d.in.Location, open, rating.Engine)
	if !d.in.UsedInYear.IsZero() || !d.in.UsedInMonth.IsZero() {
		fmt.Fprintf(d, "counted before: %s %s in the year, %s in the month\n", d.in.UsedInYear, d.unit(""), d.in.UsedInMonth)
	}
	fmt.Fprintln(d)
	if err := d.readings(); err != nil {
		return err
	}
	fmt.Fprintln(d)
	if err := d.lines(); err != nil {
		return err
	}
	return d.notes()
}

func (d derivation) day(t time.Time) string {
	t = t.In(d.in.Location)
	if t.Hour() == 0 && t.Minute() == 0 {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02 15:04")
}

func (d derivation) unit(of string) string {
	if of == "" {
		return d.r.Service.Unit()
	}
	return of
}

// readings lists what each register showed at the ends of each segment.
func (d derivation) readings() error {
	w := tabwriter.NewWriter(d, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "from\tto\tmeter\tregister\topening\tclosing\tratio\tuse %s\tprice of\t\n", d.unit(""))
	for _, s := range d.r.Segments {
		for i := range s.Use {
			if i > 0 && s.Use[i] == 0 {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t\n", d.day(s.Opening.At), d.day(s.Closing.At), s.Meter, billing.Register(i),
				d.shown(s.Opening, i), d.shown(s.Closing, i), s.Ratio, d.r.Service.Format(s.Use[i]), s.Version)
		}
	}
	return w.Flush()
}

// shown is a register as read; ~ marks one that no reading shows.
func (d derivation) shown(b rating.Boundary, register int) string {
	text := d.r.Service.Format(b.Registers[register])
	if b.Interpolated || b.Quality == billing.QualityEstimated {
		return "~" + text
	}
	return text
}

func (d derivation) lines() error {
	w := tabwriter.NewWriter(d, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "from\tto\tregister\ttier\tquantity\tunit\tprice\tfactor\tmonth\tyuan\t component")
	for _, l := range d.r.Lines {
		register, tier, factor, month := l.Register.String(), "", "1", ""
		if l.Kind != "" {
			register = ""
		}
		if l.Tier > 0 {
			tier = fmt.Sprint(l.Tier)
		}
		if !l.Factor.IsZero() {
			factor = l.Factor.String()
		}
		if l.Thirtieths > 0 {
			month = fmt.Sprintf("%d/30", l.Thirtieths)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t %s %s\n", d.day(l.From), d.day(l.To), register, tier,
			l.Quantity, d.unit(l.Unit), l.Price, factor, month, l.Amount, l.Component, l.Name.ZH)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	late := ""
	if d.r.Late != 0 {
		late = fmt.Sprintf(", %s of it late fees", d.r.Late)
	}
	fmt.Fprintf(d, "\ntotal %s yuan%s for %s %s; each line is rounded once, half up, to 0.01 yuan\n", d.r.Total.Grouped(), late, d.r.Quantity(billing.Total), d.unit(""))
	return nil
}

// notes say what lines rest on besides readings.
func (d derivation) notes() error {
	var notes []string
	for _, p := range d.r.PowerFactors {
		notes = append(notes, fmt.Sprintf("power factor of %s: %s kWh, %s kvarh give %s; standard %s, ratio %s of %s yuan", p.Month.String()[:7], p.Active, p.Reactive,
			billing.FormatHundredths(p.Factor), p.Standard.Fixed(2), p.Ratio, p.Base))
	}
	for _, t := range d.r.Taxes {
		how := "on top of"
		if t.Inclusive {
			how = "contained in"
		}
		notes = append(notes, fmt.Sprintf("tax %s of %s: %s %s %s yuan = %s; it arises on %s", t.Component, t.Month.String()[:7], t.Rate, how, t.Base, t.Amount, t.Point))
	}
	if !d.r.Reverse.IsZero() {
		notes = append(notes, fmt.Sprintf("reverse energy %s %s, reported and not netted", d.r.Reverse, d.unit("")))
	}
	if d.r.Estimated() {
		notes = append(notes, "~ no reading stands for this instant: estimated, or an even rate between readings")
	}
	if len(notes) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(d, strings.Join(notes, "\n"))
	return err
}
