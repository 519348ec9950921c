package profile

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Explained is one field of a meter's answer, raw and decoded, for somebody who holds a map against a meter's display.
type Explained struct {
	Field string
	Place string // "0x0215" or "energy+4"
	Raw   string // hex
	Value string // in Unit, or why the bytes are no value
	Unit  string
}

// Explain decodes every field by itself: one that makes no sense doesn't hide the others.
func (p *Profile) Explain(raw Raw) []Explained {
	list := make([]Explained, len(p.Fields))
	for i, f := range p.Fields {
		e := Explained{Field: f.Name, Place: fmt.Sprintf("0x%04X", uint16(f.Address)), Unit: f.Unit}
		if p.Protocol != Modbus {
			e.Place = fmt.Sprintf("%s+%d", f.Block, f.Offset)
		}
		data, err := p.slice(f, raw)
		if err == nil {
			e.Raw = hex.EncodeToString(data)
			e.Value, err = p.text(f, raw)
		}
		if err != nil {
			e.Value = err.Error()
		}
		list[i] = e
	}
	return list
}

// text is a field's value as a person reads it.
func (p *Profile) text(f Field, raw Raw) (string, error) {
	switch f.Name {
	case "serial":
		return p.DecodeSerial(raw[p.SerialBlock().Name])
	case "clock":
		if at := p.clock(raw); !at.IsZero() {
			return at.Format(time.DateTime), nil
		}
		return "no time", nil
	case "status":
		n, err := p.number(f.Name, raw)
		return fmt.Sprintf("%016b", n), err
	}
	n, err := p.number(f.Name, raw)
	if err != nil {
		return "", err
	}
	return decimal(n, places[canonical[f.Name][p.Service][1]]), nil
}

// places are the decimals of a snapshot's integers.
var places = map[string]int{"1": 0, "0.01": 2, "0.001": 3}

func decimal(n int64, decimals int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	digits := strconv.FormatInt(n, 10)
	for len(digits) <= decimals {
		digits = "0" + digits
	}
	if decimals == 0 {
		return sign + digits
	}
	cut := len(digits) - decimals
	return sign + digits[:cut] + "." + digits[cut:]
}
