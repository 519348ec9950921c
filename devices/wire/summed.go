package wire

// The bytes around a frame of DL/T 645 and CJ/T 188. In front of it serial lines carry any number of 0xFE.
const (
	Preamble byte = 0xFE
	Start    byte = 0x68
	End      byte = 0x16
)

// trailer is the sum and the end.
const trailer = 2

// Sum is the check sum of both protocols: all bytes of a frame before it, modulo 256.
func Sum(b []byte) byte {
	var sum byte
	for _, octet := range b {
		sum += octet
	}
	return sum
}

// Seal closes a frame with its sum and end.
func Seal(b []byte) []byte { return append(b, Sum(b), End) }

// ScanSummed finds the answer among frames that begin with a head of so many bytes, whose last one is the number of data bytes behind it,
// and end in sum and 16. Start is repeated at the offset second, or isn't (0). fits says whether a whole frame is the answer; other
// frames, preambles and noise are skipped.
func ScanSummed(head, second int, fits func(frame []byte) bool) Scan {
	return func(got []byte, quiet bool) (skip, answer int) {
		for len(got)-skip >= head+trailer {
			rest := got[skip:]
			n := summed(rest, head, second)
			switch {
			case n == 0 && rest[0] == Start && !quiet:
				return skip, 0 // it may still become one
			case n == 0:
				skip++ // preamble or noise
			case fits(rest[:n]):
				return skip, n
			default:
				skip += n
			}
		}
		return skip, 0
	}
}

// summed is the length of the whole frame that bytes begin with, 0 when they hold none (yet).
func summed(b []byte, head, second int) int {
	if b[0] != Start || b[second] != Start {
		return 0
	}
	n := head + int(b[head-1]) + trailer
	if len(b) < n || b[n-1] != End || b[n-2] != Sum(b[:n-2]) {
		return 0
	}
	return n
}
