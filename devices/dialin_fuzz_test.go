package devices

import (
	"net"
	"strings"
	"testing"
)

// chunk is a connection on which some bytes came, after which the caller hung up.
type chunk struct {
	net.Conn
	*strings.Reader
}

// Read reads what came.
func (c chunk) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// Whatever a caller says first, it is a registration of three words in one short line, or refused; and nothing behind the line is taken.
func FuzzRegistration(f *testing.F) {
	f.Add("REG unit-1 secret\r\n")
	f.Add("REG unit-1 secret\r\n\x01\x03\x00\x00")
	f.Add("REG unit-1\n")
	f.Add("reg unit-1 secret\n")
	f.Add(strings.Repeat("R", 300))
	f.Add("\x00\xff\n")
	f.Fuzz(func(t *testing.T, said string) {
		came := chunk{Reader: strings.NewReader(said)}
		id, secret, err := readRegistration(came)
		line, rest, whole := strings.Cut(said, "\n")
		words := strings.Fields(line)
		good := whole && len(line) < longestLine && len(words) == 3 && words[0] == "REG"
		switch {
		case (err == nil) != good:
			t.Fatalf("%q: %v", said, err)
		case good && (id != words[1] || secret != words[2]):
			t.Fatalf("%q: id %q, secret %q", said, id, secret)
		case good && came.Len() != len(rest):
			t.Fatalf("%q: %d bytes are left, %d follow the line", said, came.Len(), len(rest))
		}
	})
}
