package profile

import (
	"encoding/binary"
	"fmt"

	"github.com/meterflow/meterflow/devices/modbus"
)

// PriceMap says how a meter that deducts by itself holds its prices: the one write that sets all of them, and where each is read
// back. Prices are unsigned 32 bit in units of 10^-Decimals yuan per kWh.
type PriceMap struct {
	// Function, Address and Words are those of the write. Its other fields stay as they are: only the bytes in Flags are set to 1.
	Function byte     `json:"function"`
	Address  Register `json:"address"`
	Words    uint16   `json:"words"`
	// Flags are the places, in bytes of the payload, that say "apply what follows".
	Flags    []int        `json:"flags"`
	Decimals int          `json:"decimals"`
	Blocks   []Block      `json:"blocks"`
	Fields   []PriceField `json:"fields"`
	Note     string       `json:"note"`
}

// PriceField is the price of one band: at byte Byte of the payload of the write, and at Address when it is read.
type PriceField struct {
	Band    string   `json:"band"`
	Byte    int      `json:"byte"`
	Address Register `json:"address"`
}

// PriceBands are the bands in the order of prices: sharp, peak, flat, valley, deep valley.
var PriceBands = []string{"sharp", "peak", "flat", "valley", "deep_valley"}

// priceDecimals are those of the prices that this package is given and gives: 10^-8 yuan.
const priceDecimals = 8

// Raw turns prices, in 10^-8 yuan, into what the meter holds. An error says which price it can't hold, and why.
func (m *PriceMap) Raw(prices [5]int64, mostFen int64) ([]uint32, error) {
	step := int64(1)
	for range priceDecimals - m.Decimals {
		step *= 10
	}
	raw := make([]uint32, len(m.Fields))
	for i, band := range PriceBands {
		at := -1
		for j, f := range m.Fields {
			if f.Band == band {
				at = j
			}
		}
		price := prices[i]
		switch {
		case at < 0:
			return nil, fmt.Errorf("it has no price for the band %s", band)
		case price < 0:
			return nil, fmt.Errorf("the price of the band %s is negative", band)
		case price%step != 0:
			return nil, fmt.Errorf("it holds prices with %d decimals; that of the band %s has more", m.Decimals, band)
		case price > mostFen*1_000_000:
			return nil, fmt.Errorf("the price of the band %s is above the %d fen that it can be set to", band, mostFen)
		}
		raw[at] = uint32(price / step)
	}
	return raw, nil
}

// Payload is the data of the write that sets these raw prices.
func (m *PriceMap) Payload(raw []uint32) []uint16 {
	data := make([]byte, 2*int(m.Words))
	for _, flag := range m.Flags {
		data[flag] = 1
	}
	for i, f := range m.Fields {
		binary.BigEndian.PutUint32(data[f.Byte:], raw[i])
	}
	words := make([]uint16, m.Words)
	for i := range words {
		words[i] = binary.BigEndian.Uint16(data[2*i:])
	}
	return words
}

// Decode turns the price blocks into prices, in 10^-8 yuan; bands that the meter has no price for are -1.
func (m *PriceMap) Decode(blocks Raw) ([5]int64, error) {
	prices := [5]int64{-1, -1, -1, -1, -1}
	step := int64(1)
	for range priceDecimals - m.Decimals {
		step *= 10
	}
	for _, f := range m.Fields {
		b, ok := m.blockOf(f)
		if !ok {
			return prices, fmt.Errorf("the price of the band %s lies in no block", f.Band)
		}
		data := blocks[b.Name]
		if len(data) != 2*int(b.Words) {
			return prices, fmt.Errorf("%w: block %s has %d bytes instead of %d", modbus.ErrBadReply, b.Name, len(data), 2*b.Words)
		}
		from := 2 * int(f.Address-b.Address)
		value, err := modbus.U32(data[from : from+4])
		if err != nil {
			return prices, fmt.Errorf("price of %s: %w", f.Band, err)
		}
		for i, band := range PriceBands {
			if band == f.Band {
				prices[i] = value * step
			}
		}
	}
	return prices, nil
}

func (m *PriceMap) blockOf(f PriceField) (Block, bool) {
	for _, b := range m.Blocks {
		if f.Address >= b.Address && int(f.Address)+2 <= int(b.Address)+int(b.Words) {
			return b, true
		}
	}
	return Block{}, false
}
