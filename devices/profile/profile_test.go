package profile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEmbeddedMaps(t *testing.T) {
	t.Parallel()
	names, err := Names()
	require.NoError(t, err)
	require.Equal(t, []string{
		"acrel-adf300", "acrel-adf300-three", "acrel-ddsy1352", "acrel-dtsd1352", "acrel-dtsy1352", "cjt188-2004", "dlt645-2007", "sim-adf300", "sim-adf300-three", "sim-cjt188", "sim-ddsy1352", "sim-dlt645", "sim-dtsd1352", "sim-dtsy1352",
		"sim-valve-water", "sim-volume-water", "xintai-valve-water",
	}, names)
	for _, name := range names {
		p, err := Get(name)
		require.NoError(t, err)
		require.False(t, p.VerifiedOnDevice, "nothing was tried on a real meter yet")
		require.Equal(t, strings.HasPrefix(name, "sim-"), p.MayCommand(), name)
	}
	_, err = Get("sim-nothing")
	require.ErrorContains(t, err, "choose one of: acrel-adf300")
}

func TestWrongMapsAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("maps/sim-ddsy1352.json")
	require.NoError(t, err)
	field := func(m map[string]any, name string) map[string]any {
		for _, f := range m["fields"].([]any) {
			if f.(map[string]any)["name"] == name {
				return f.(map[string]any)
			}
		}
		t.Fatalf("no field %s", name)
		return nil
	}
	for want, spoil := range map[string]func(map[string]any){
		"state the source":               func(m map[string]any) { m["source"] = "" },
		"give it a version":              func(m map[string]any) { m["version"] = 0 },
		"give it a name":                 func(m map[string]any) { m["name"] = "" },
		"service \"gas\"":                func(m map[string]any) { m["service"] = "gas" },
		"word_order":                     func(m map[string]any) { m["word_order"] = "BADC" },
		"fields total and sharp overlap": func(m map[string]any) { field(m, "sharp")["address"] = "0x0216" },
		"scale \"0.1\"":                  func(m map[string]any) { field(m, "total")["scale"] = "0.1" },
		"unit \"MWh\"":                   func(m map[string]any) { field(m, "total")["unit"] = "MWh" },
		"unknown type \"u24\"":           func(m map[string]any) { field(m, "total")["type"] = "u24" },
		"takes 2 words, not 1":           func(m map[string]any) { field(m, "total")["words"] = 1 },
		"lies in no block":               func(m map[string]any) { field(m, "total")["address"] = "0x0700" },
		"must be hex":                    func(m map[string]any) { field(m, "total")["address"] = "0533" },
		"not one that a snapshot knows":  func(m map[string]any) { field(m, "total")["name"] = "sum" },
		"field total exists twice":       func(m map[string]any) { field(m, "sharp")["name"] = "total" },
		"only known in the order DCBA":   func(m map[string]any) { field(m, "total")["type"] = "float32" },
		"list 6, total first":            func(m map[string]any) { m["registers"] = []string{"total"} },
		"unknown field \"colour\"":       func(m map[string]any) { m["colour"] = "red" },
		"supply.on must name":            func(m map[string]any) { m["supply"].(map[string]any)["on"] = 0 },
		"state max_price_fen":            func(m map[string]any) { m["max_price_fen"] = 0 },
		"command \"explode\" is unknown": func(m map[string]any) {
			m["commands"].(map[string]any)["explode"] = map[string]any{"function": 6, "address": "0x0001"}
		},
		"command trip needs function 6 with":   func(m map[string]any) { m["commands"].(map[string]any)["trip"].(map[string]any)["function"] = 5 },
		"one read takes 1 to 125":              func(m map[string]any) { m["blocks"].([]any)[0].(map[string]any)["words"] = 126 },
		"needs a name of its own":              func(m map[string]any) { m["blocks"].([]any)[0].(map[string]any)["name"] = "live" },
		"purchase must be function 32 without": func(m map[string]any) { m["commands"].(map[string]any)["purchase"].(map[string]any)["function"] = 16 },
	} {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		spoil(m)
		data, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = Parse(data)
		require.ErrorContains(t, err, want)
	}
	_, err = Parse([]byte("{"))
	require.ErrorContains(t, err, "not a register map")
}

func TestStatusWord(t *testing.T) {
	t.Parallel()
	three := SupplyBits{On: 0xE000, Fault: 0x0100, ForcedMode: 8, ForcedClosed: 7, Arrears: 0x20}
	valve := SupplyBits{On: 1, Off: 2, Fault: 4}
	button := SupplyBits{Off: 1 << 4, CommandedOff: 1 << 6}
	for _, test := range []struct {
		bits                SupplyBits
		word                uint16
		want                Supply
		forcedOn, forcedOff bool
	}{
		{bits: three, word: 0xE000, want: SupplyOn},
		{bits: three, word: 0x0000, want: SupplyOff},
		{bits: three, word: 0x6000, want: SupplyFault}, // one phase is open
		{bits: three, word: 0xE100, want: SupplyFault},
		{bits: three, word: 0x0008, want: SupplyOff, forcedOff: true},
		{bits: three, word: 0xE00F, want: SupplyOn, forcedOn: true},
		{bits: three, word: 0xE007, want: SupplyOn}, // the state bits mean nothing without the mode
		{bits: valve, word: 1, want: SupplyOn},
		{bits: valve, word: 2, want: SupplyOff},
		{bits: valve, word: 0, want: SupplyMoving},
		{bits: valve, word: 8, want: SupplyMoving},
		{bits: valve, word: 6, want: SupplyFault},
		{bits: valve, word: 3, want: SupplyFault},
		{bits: button, word: 0, want: SupplyOn},
		{bits: button, word: 1<<4 | 1<<6, want: SupplyOff},
		{bits: button, word: 1 << 4, want: SupplyAllowed}, // told to close, and open: the customer's button closes it
		{bits: button, word: 1 << 6, want: SupplyOn},
	} {
		var v Values
		v.setStatus(test.word, test.bits)
		require.Equal(t, test.want, v.Supply, "0x%04X", test.word)
		require.Equal(t, test.forcedOn, v.ForcedOn, "0x%04X", test.word)
		require.Equal(t, test.forcedOff, v.ForcedOff, "0x%04X", test.word)
	}
}

// Whatever a meter answers, decoding it by any of the maps returns values or an error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0}, []byte{1, 2, 3, 4, 5, 6}, make([]byte, 96))
	f.Add([]byte{}, []byte{0xFF}, make([]byte, 58))
	f.Add([]byte{0x78, 0x56, 0x34, 0x12}, []byte{0x99, 0x99, 0x99, 0x99, 0x2C, 0, 0}, []byte{0, 0x50, 0, 0, 0, 0x2C})
	spent := make([]byte, 58) // a remaining volume below zero
	copy(spent[14:], []byte{0x9A, 0x99, 0x99, 0xBF})
	f.Add([]byte{}, []byte{}, spent)
	names, err := Names()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, deep, serial, live []byte) {
		given := [][]byte{deep, serial, live}
		for _, name := range names {
			p, err := Get(name)
			require.NoError(t, err)
			raw := Raw{}
			for i, b := range p.Blocks {
				raw[b.Name] = given[i%len(given)]
			}
			v, err := p.Decode(raw)
			if err == nil && (len(v.Registers) != len(p.Registers) || len(v.Serial) != 12) {
				t.Fatalf("%s decoded %+v", name, v)
			}
			if n, err := p.DecodeSerial(serial); err == nil && len(n) != 12 {
				t.Fatalf("%s decoded the serial number %q", name, n)
			}
		}
	})
}

// Whatever stands in a file of register maps, it is a map that can be decoded with, or an error.
func FuzzParse(f *testing.F) {
	names, err := embedded.ReadDir("maps")
	require.NoError(f, err)
	for _, name := range names {
		text, err := embedded.ReadFile("maps/" + name.Name())
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"name": "x", "blocks": [{"name": "a", "address": "0xFFFF", "words": 65535}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		raw := Raw{}
		for _, b := range p.Blocks {
			raw[b.Name] = make([]byte, max(2*int(b.Words), b.Bytes))
		}
		v, err := p.Decode(raw)
		if err == nil && len(v.Registers) != len(p.Registers) {
			t.Fatalf("decoded %+v", v)
		}
	})
}

// A site's own maps are there without a build, all or none of them, and none in the place of another.
func TestAddFolder(t *testing.T) { // not at once with those that count the maps
	t.Cleanup(func() {
		registry.mu.Lock()
		defer registry.mu.Unlock()
		delete(registry.all, "site-own")
	})
	good, err := embedded.ReadFile("maps/sim-ddsy1352.json")
	require.NoError(t, err)
	write := func(dir, file string, change func(m map[string]any)) {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		m["name"], m["verified_on_simulator"] = "site-"+file, false
		change(m)
		data, err := json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file+".json"), data, 0o600))
	}
	for want, spoil := range map[string]func(m map[string]any){
		"which is for the maps that come with meterflow": func(m map[string]any) { m["verified_on_simulator"] = true },
		`there is a profile "acrel-ddsy1352" already`:    func(m map[string]any) { m["name"] = "acrel-ddsy1352" },
		"state the source of the map":                    func(m map[string]any) { m["source"] = "" },
		`profile "site-one" exists twice`:                func(m map[string]any) { m["name"] = "site-one" },
	} {
		dir := t.TempDir()
		write(dir, "one", func(map[string]any) {})
		write(dir, "two", spoil)
		require.ErrorContains(t, AddFolder(dir), want)
		_, err := Get("site-one")
		require.Error(t, err, "the sound one was added all the same")
	}
	require.ErrorContains(t, AddFolder(t.TempDir()), "there is no register map")

	dir := t.TempDir()
	write(dir, "own", func(map[string]any) {})
	require.NoError(t, AddFolder(dir))
	own, err := Get("site-own")
	require.NoError(t, err)
	require.False(t, own.MayCommand(), "nobody has tried it on a meter")
	require.ErrorContains(t, AddFolder(dir), "already")
}

// In a protocol without registers an order's code is the standard's: one in the wrong place would cut whom it is to help.
func TestItemMapsKnowTheirCodes(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{"sim-dlt645": "command trip has the code 1C", "sim-cjt188": "command trip has the code 55"} {
		good, err := embedded.ReadFile("maps/" + file + ".json")
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		commands := m["commands"].(map[string]any)
		commands["trip"], commands["close"] = commands["close"], commands["trip"]
		data, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = Parse(data)
		require.ErrorContains(t, err, "has the code")
		delete(commands, "close")
		data, err = json.Marshal(m)
		require.NoError(t, err)
		_, err = Parse(data)
		require.ErrorContains(t, err, want)
	}
}

// Closing that is allowed is told from a cut by bits that the map names.
func TestAllowClosingNeedsItsBits(t *testing.T) {
	t.Parallel()
	good, err := embedded.ReadFile("maps/sim-dlt645.json")
	require.NoError(t, err)
	_, err = Parse([]byte(strings.Replace(string(good), `, "commanded_off": 64`, "", 1)))
	require.ErrorContains(t, err, "supply.commanded_off must name the bits")
	_, err = Parse([]byte(strings.Replace(string(good), `"close": {"code": 28`, `"close": {"code": 27`, 1)))
	require.ErrorContains(t, err, "command close has the code 1B")
}

// A meter without a relay shows nothing of one, and is told nothing; a band that it doesn't have counts nothing.
func TestTwoWayMeter(t *testing.T) {
	t.Parallel()
	p, err := Get("acrel-dtsd1352")
	require.NoError(t, err)
	raw := Raw{"serial": {0, 0, 0, 0, 0, 1}, "energy": make([]byte, 24)}
	raw["energy"][3], raw["energy"][15], raw["energy"][23] = 100, 100, 7 // forward total, its flat, and reverse
	v, err := p.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, []int64{100, 0, 0, 100, 0, 0}, v.Registers)
	require.Equal(t, int64(7), *v.Reverse)
	require.Equal(t, SupplyUnknown, v.Supply)
	good, err := embedded.ReadFile("maps/acrel-dtsd1352.json")
	require.NoError(t, err)
	for was, is := range map[string]string{
		`"commands": {}`:        `"commands": {"trip": {"function": 6, "address": "0x0001", "values": [1]}}`,
		`"supply": {"on": 0`:    `"supply": {"on": 1`,
		`["total", "sharp"`:     `["", "sharp"`,
		`"valley", ""]`:         `"valley"]`,
		`"flat", "valley", ""]`: `"flat", "valley", "deep_valley"]`,
	} {
		require.Contains(t, string(good), was)
		_, err = Parse([]byte(strings.Replace(string(good), was, is, 1)))
		require.Error(t, err, is)
	}
}

// What went the other way is told beside the registers and changes none of them: it is reported, never netted.
func TestReverseIsTold(t *testing.T) {
	t.Parallel()
	own, err := embedded.ReadFile("maps/acrel-ddsy1352.json")
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(own, &m))
	m["blocks"] = append(m["blocks"].([]any), map[string]any{"name": "back", "address": "0x0014", "words": 2})
	m["fields"] = append(m["fields"].([]any), map[string]any{"name": "reverse", "address": "0x0014", "words": 2, "type": "u32", "unit": "kWh", "scale": "0.01"})
	data, err := json.Marshal(m)
	require.NoError(t, err)
	p, err := Parse(data)
	require.NoError(t, err)
	raw := Raw{"deep": make([]byte, 4), "serial": {0, 0, 0, 0, 0, 1}, "live": make([]byte, 96), "back": {0, 0, 0x04, 0xD2}}
	raw["live"][45] = 100 // total and flat
	raw["live"][57] = 100
	v, err := p.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, int64(1234), *v.Reverse)
	require.Equal(t, []int64{100, 0, 0, 100, 0, 0}, v.Registers)
	for _, e := range p.Explain(raw) {
		if e.Field == "reverse" {
			require.Equal(t, Explained{Field: "reverse", Place: "0x0014", Raw: "000004d2", Value: "12.34", Unit: "kWh"}, e)
			return
		}
	}
	t.Fatal("a probe doesn't show it")
}
