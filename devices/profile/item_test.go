package profile

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/devices/modbus"
)

// answers645 are the blocks of a DL/T 645 meter, lowest byte first as they come: 850,000.00 kWh at rate 3, a balance of 123.45 yuan, 8000
// purchases, 1.5 kW.
func answers645() Raw {
	return Raw{
		"energy": append(append(slices.Concat([]byte{0, 0, 0, 0x85}, make([]byte, 8)), 0, 0, 0, 0x85), make([]byte, 8)...),
		"serial": {1, 0, 0, 0, 0, 0}, "money": {0x45, 0x23, 0x01, 0}, "count": {0, 0x80}, "status3": {0, 0}, "power": {0x00, 0x50, 0x01}, "clock": {0, 0, 12, 1, 1, 3, 0x26},
	}
}

func answers188() Raw {
	return Raw{"reading": {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x90, 0x2C, 0, 0, 0, 0, 0x2C, 0, 0, 12, 1, 3, 0x26, 0x20, 0, 0}}
}

// Only what the standard gives a sign has one: the highest bit of anything else is part of its first digit.
func TestOnlySignedFieldsHaveASign(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dlt645-2007", "sim-dlt645"} {
		p, err := Get(name)
		require.NoError(t, err)
		raw := answers645()
		v, err := p.Decode(raw)
		require.NoError(t, err)
		require.Equal(t, []int64{85_000_000, 0, 0, 85_000_000, 0, 0}, v.Registers, name)
		require.Equal(t, []int64{8000, 12345, 1500}, []int64{*v.PurchaseCount, *v.Remaining, v.Power}, name)
		raw["power"] = []byte{0x00, 0x50, 0x81} // fed back
		v, err = p.Decode(raw)
		require.NoError(t, err)
		require.Equal(t, int64(-1500), v.Power, name)
		raw["money"] = []byte{0x45, 0x23, 0x01, 0x80}
		v, err = p.Decode(raw)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"dlt645-2007": 80_012_345, "sim-dlt645": -12345}[name], *v.Remaining, "as the map says")
	}
	for _, name := range []string{"cjt188-2004", "sim-cjt188"} {
		p, err := Get(name)
		require.NoError(t, err)
		v, err := p.Decode(answers188())
		require.NoError(t, err)
		require.Equal(t, []int64{900_000_000}, v.Registers, "%s, in litres", name)
	}
}

// An answer of another length than the map's is of another kind of meter, or was spoilt on its way.
func TestItemsHaveTheirLength(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]func() Raw{"sim-dlt645": answers645, "sim-cjt188": answers188} {
		p, err := Get(name)
		require.NoError(t, err)
		for block := range answers() {
			raw := answers()
			raw[block] = append(raw[block], 0)
			_, err = p.Decode(raw)
			if block == "clock" { // a meter that lost its clock still counts
				require.True(t, p.clock(raw).IsZero())
				continue
			}
			require.ErrorIs(t, err, modbus.ErrBadReply, "%s: a long %s", name, block)
			raw = answers()
			raw[block] = raw[block][:len(raw[block])-1]
			_, err = p.Decode(raw)
			require.ErrorIs(t, err, modbus.ErrBadReply, "%s: a short %s", name, block)
		}
	}
}

// spoilt is what Parse says of an embedded map after a change.
func spoilt(t *testing.T, name string, spoil func(m map[string]any)) error {
	t.Helper()
	good, err := embedded.ReadFile("maps/" + name + ".json")
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(good, &m))
	spoil(m)
	data, err := json.Marshal(m)
	require.NoError(t, err)
	_, err = Parse(data)
	return err
}

// A DL/T 645 order says by the meter's clock until when it holds: a map that can order but shows no clock could never send one.
func TestOrdersNeedTheMetersClock(t *testing.T) {
	t.Parallel()
	noClock := func(m map[string]any) {
		m["fields"] = slices.DeleteFunc(m["fields"].([]any), func(f any) bool { return f.(map[string]any)["name"] == "clock" })
	}
	require.ErrorContains(t, spoilt(t, "dlt645-2007", noClock), "field clock is missing: an order says by it until when it holds")
	require.NoError(t, spoilt(t, "cjt188-2004", noClock), "its orders carry no time")
	require.NoError(t, spoilt(t, "dlt645-2007", func(m map[string]any) {
		noClock(m)
		m["commands"] = map[string]any{}
	}), "a map to read with")
}

// Whatever is wrong with a map is said at once, in its head and below it, whatever its protocol.
func TestParseSaysAll(t *testing.T) {
	t.Parallel()
	first := func(m map[string]any, list string, i int) map[string]any { return m[list].([]any)[i].(map[string]any) }
	head := func(m map[string]any) {
		m["version"], m["source"] = 0, ""
	}
	for _, test := range []struct {
		name  string
		spoil func(m map[string]any)
		want  []string
	}{
		{"sim-ddsy1352", func(m map[string]any) {
			head(m)
			m["word_order"] = "BADC"
			first(m, "blocks", 0)["words"], first(m, "blocks", 1)["name"] = 126, ""
			first(m, "fields", 0)["scale"] = "7"
			first(m, "fields", 1)["address"] = first(m, "fields", 2)["address"]
			m["registers"], m["supply"].(map[string]any)["on"] = []string{"total"}, 0
			commands := m["commands"].(map[string]any)
			commands["close"] = commands["trip"]
			commands["explode"] = map[string]any{"function": 6, "address": "0x0001"}
		}, []string{
			"give it a version", "state the source", "word_order", "block deep has 126 words", "block at 0x0043 needs a name", `scale "7"`, "overlap at", "list 6, total first", "supply.on must name",
			`command "explode" is unknown`, "commands trip and close are the same order",
		}},
		{"sim-dlt645", func(m map[string]any) {
			head(m)
			first(m, "blocks", 1)["item"], first(m, "blocks", 2)["item"] = "12", "no hex"
			first(m, "fields", 0)["unit"], first(m, "fields", 1)["type"] = "MWh", "u32"
			first(m, "fields", 3)["offset"] = 10
			m["registers"] = []string{"total"}
			commands := m["commands"].(map[string]any)
			commands["trip"].(map[string]any)["code"], commands["close"].(map[string]any)["code"] = 28, 26
			commands["explode"] = map[string]any{"code": 1}
		}, []string{
			"give it a version", "state the source", `block "serial" needs`, `block "money" needs`, `unit "MWh"`, `unknown type "u32"`, "fields peak and flat overlap", "list 6, total first",
			"command trip has the code 1C", "command close has the code 1A", `command "explode" is unknown`,
		}},
		{"sim-cjt188", func(m map[string]any) {
			head(m)
			m["maker"] = ""
			first(m, "fields", 1)["offset"], first(m, "fields", 2)["name"], first(m, "fields", 3)["name"] = 3, "serial", "clock"
		}, []string{"give it a version", "state the source", "names the maker's two digits", "field serial exists twice", "fields serial and total overlap", "field status is missing"}},
	} {
		err := spoilt(t, test.name, test.spoil)
		for _, want := range test.want {
			require.ErrorContains(t, err, want, test.name)
		}
		require.Len(t, strings.Split(err.Error(), "\n"), len(test.want), "%s, each on a line of its own and once: %v", test.name, err)
	}
}
