package simulator

import (
	"sync"
	"time"
)

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

// LineUse is what a gateway's serial line was used for since the fleet started: the other side of what a client says of itself.
type LineUse struct {
	Exchanges int64 `json:"exchanges"` // begun on the line, those of silent meters included
	Answered  int64 `json:"answered"`
	Silent    int64 `json:"silent"`
	// Wire is how long the answered exchanges held the line by its model, Held how long they did by the machine's timers.
	Wire time.Duration `json:"wire_ns"`
	Held time.Duration `json:"held_ns"`
	// LastWrite is the number of the exchange, counted from 1, that was the last write.
	LastWrite int64 `json:"last_write"`
	// Connections is how many were opened to the gateway, or by it.
	Connections int64 `json:"connections"`
}

// lineUse counts while the line is used.
type lineUse struct {
	mu sync.Mutex
	LineUse
}

func (u *lineUse) count(f func(*LineUse)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.LineUse)
}

// LineUse tells what a gateway's line was used for; ok is false when there is no such gateway.
func (f *Fleet) LineUse(gateway string) (use LineUse, ok bool) {
	g, ok := f.gateway(gateway)
	if !ok {
		return LineUse{}, false
	}
	g.use.count(func(u *LineUse) { use = *u })
	return use, true
}
