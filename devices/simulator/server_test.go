package simulator

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// talkTo sends raw bytes to a served fleet and returns as many as are asked for.
func talkTo(t *testing.T, spec FleetSpec, send string, answer int) string {
	t.Helper()
	f := open(t, spec, t.TempDir(), &ticker{at: epoch})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	defer func() { cancel(); require.NoError(t, <-served) }()
	conn, err := net.Dial("tcp", f.Addr("g1"))
	require.NoError(t, err)
	defer conn.Close()
	data, err := hex.DecodeString(strings.ReplaceAll(send, " ", ""))
	require.NoError(t, err)
	_, err = conn.Write(data)
	require.NoError(t, err)
	got := make([]byte, answer)
	n, err := io.ReadFull(conn, got)
	if n < answer {
		require.Error(t, err, "hung up")
	}
	return hex.EncodeToString(got[:n])
}

// Byte by byte against frames that were written down by hand.
func TestFramesOnTheWire(t *testing.T) {
	t.Parallel()
	spec := oneMeter(t, func(m *MeterSpec) {
		m.OpeningRegisters = []int64{0x12345, 1, 2, 3, 4, 0x12345 - 10}
	})
	for name, test := range map[string]struct{ send, want string }{
		"read total":          {"0007 0000 0006 01 03 0215 0002", "0007 0000 0007 01 03 04 00012345"},
		"read count":          {"0008 0000 0006 01 03 0221 0001", "0008 0000 0005 01 03 02 0000"},
		"read serial":         {"0009 0000 0006 01 03 0043 0003", "0009 0000 0009 01 03 06 000000000001"},
		"two in one segment":  {"0001 0000 0006 01 03 0221 0001 0002 0000 0006 01 03 0221 0001", "0001 0000 0005 01 03 02 0000 0002 0000 0005 01 03 02 0000"},
		"illegal address":     {"0001 0000 0006 01 03 0300 0001", "0001 0000 0003 01 83 02"},
		"126 words":           {"0001 0000 0006 01 03 0200 007e", "0001 0000 0003 01 83 03"},
		"no words":            {"0001 0000 0006 01 03 0200 0000", "0001 0000 0003 01 83 03"},
		"function 4":          {"0001 0000 0006 01 04 0200 0001", "0001 0000 0003 01 84 01"},
		"function 6":          {"0001 0000 0006 01 06 001c 0002", "0001 0000 0003 01 86 01"},
		"nobody there":        {"0001 0000 0006 09 03 0200 0001", "0001 0000 0003 09 83 0b"},
		"trip":                {"0001 0000 000b 01 10 0057 0002 04 0001 0001", "0001 0000 0006 01 10 0057 0002"},
		"trip, count lies":    {"0001 0000 000b 01 10 0057 0002 02 0001 0001", "0001 0000 0003 01 90 03"},
		"write elsewhere":     {"0001 0000 000b 01 10 0059 0002 04 0001 0001", "0001 0000 0003 01 90 02"},
		"forced by 2":         {"0001 0000 000b 01 10 0057 0002 04 0002 0001", "0001 0000 0003 01 90 03"},
		"purchase":            {"0001 0000 000f 01 20 0100 0004 08 000003e8 0001 0000", "0001 0000 000d 01 20 0100 0004 06 000000000001"},
		"purchase, count 2":   {"0001 0000 000f 01 20 0100 0004 08 000003e8 0002 0000", "0001 0000 0003 01 a0 03"},
		"money at 0200":       {"0001 0000 000f 01 20 0200 0004 08 000003e8 0001 0000", "0001 0000 0003 01 a0 02"},
		"not Modbus hangs up": {"0001 0001 0006 01 03 0221 0001", ""},
		"length 1 hangs up":   {"0001 0000 0001 01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := strings.ReplaceAll(test.want, " ", "")
			require.Equal(t, want, talkTo(t, spec, test.send, max(len(want)/2, 1)))
		})
	}
}

func TestWaterFramesOnTheWire(t *testing.T) {
	t.Parallel()
	spec := oneMeter(t, func(m *MeterSpec) {
		m.Profile, m.LoadProfile, m.CreditMode = "sim-valve-water", ids(t, true)[0], false
		m.OpeningRegisters = []int64{1_109_253}
	})
	for name, test := range map[string]struct{ send, want string }{
		"total as a float, lowest byte first": {"0001 0000 0006 01 03 0001 0002", "0001 0000 0007 01 03 04 19a88a44"},
		"valve is open":                       {"0001 0000 0006 01 03 001c 0001", "0001 0000 0005 01 03 02 0001"},
		"close":                               {"0001 0000 0006 01 06 001c 0002", "0001 0000 0006 01 06 001c 0002"},
		"half open":                           {"0001 0000 0006 01 06 001c 0003", "0001 0000 0003 01 86 03"},
		"the total can't be written":          {"0001 0000 0006 01 06 0001 0000", "0001 0000 0003 01 86 02"},
		"no money":                            {"0001 0000 000f 01 20 0100 0004 08 000003e8 0001 0000", "0001 0000 0003 01 a0 01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := strings.ReplaceAll(test.want, " ", "")
			require.Equal(t, want, talkTo(t, spec, test.send, len(want)/2))
		})
	}
}

// Whatever bytes come, the parser returns a frame within the protocol's limits or an error, and reads no further than it.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 6, 1, 3, 2, 0, 0, 2})
	f.Add([]byte{0, 1, 0, 0, 0, 1, 1})
	f.Add([]byte{0, 1, 0, 0, 0xFF, 0xFF, 1, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		q, err := readRequest(r)
		if err != nil {
			return
		}
		if len(q.pdu) < 1 || len(q.pdu) > mostPDU {
			t.Fatalf("a PDU of %d bytes", len(q.pdu))
		}
		if again := q.reply(q.unit, q.pdu); !bytes.Equal(again, data[:len(data)-r.Len()]) {
			t.Fatalf("%X was read from %X", again, data)
		}
	})
}

// Whatever is asked, a meter answers its function or an exception, within the protocol's limits.
func FuzzMeter(f *testing.F) {
	for _, seed := range []string{"0302000030", "100057000204" + "00010001", "200100000408" + "000003e800010000", "06001c0002", "2b0e"} {
		data, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(data, false)
		f.Add(data, true)
	}
	c := &ticker{at: epoch}
	power := open(f, oneMeter(f, nil), f.TempDir(), c)
	flow := open(f, oneMeter(f, func(m *MeterSpec) {
		m.Profile, m.LoadProfile, m.CreditMode = "sim-valve-water", ids(f, true)[0], false
	}), f.TempDir(), c)
	f.Fuzz(func(t *testing.T, pdu []byte, water bool) {
		if len(pdu) == 0 || len(pdu) > mostPDU {
			return
		}
		fleet := power
		if water {
			fleet = flow
		}
		m, err := fleet.find("000000000001")
		require.NoError(t, err)
		reply := m.serve(pdu, epoch)
		if len(reply) < 2 || len(reply) > mostPDU || reply[0]&0x7F != pdu[0]&0x7F {
			t.Fatalf("%X was answered with %X", pdu, reply)
		}
	})
}
