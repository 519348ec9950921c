package simulator

import "time"

// bitsPerByte is start, eight data bits and stop.
const bitsPerByte = 10

// WireTime is how long an exchange of so many bytes there and back holds a line: the bytes, the silence around both frames, the meter's
// turnaround and the gateway's pause.
func (g GatewaySpec) WireTime(there, back int) time.Duration {
	held := time.Duration(g.LineMillis+g.TurnaroundMillis+g.PauseMillis) * time.Millisecond
	if g.Baud == 0 {
		return held
	}
	bits := int64(there+back)*bitsPerByte + 2*35*bitsPerByte/10
	return held + time.Duration(bits*int64(time.Second)/int64(g.Baud))
}

// SilentTime is how long a meter that doesn't answer holds a line: the gateway's worst case.
func (g GatewaySpec) SilentTime() time.Duration {
	if g.SilentMillis > 0 {
		return time.Duration(g.SilentMillis) * time.Millisecond
	}
	return time.Duration((g.Retries+1)*g.ResponseMillis+g.PauseMillis) * time.Millisecond
}
