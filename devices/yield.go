package devices

import "time"

// Yield ends a gateway's line if nothing has run or waited on it for so long, and gives it up at an instant at which no request of it is on the
// wire and none can begin: give is called then, and from its return on Owns must say no. It returns when the connection is closed. A line that is
// in use is left alone, and false comes back.
func (p *Pool) Yield(gateway string, idleFor time.Duration, give func()) bool {
	l, ok := p.yield(gateway, idleFor, give)
	if ok && l != nil {
		<-l.ended
	}
	return ok
}

func (p *Pool) yield(gateway string, idleFor time.Duration, give func()) (*line, bool) {
	p.mu.Lock() // no new line begins meanwhile
	defer p.mu.Unlock()
	l, ok := p.lines[gateway]
	if ok && !l.hasEnded() && !l.endIdle(idleFor) {
		return nil, false
	}
	give()
	delete(p.lines, gateway)
	return l, true
}

// hasEnded says that the line was closed and its connection is gone.
func (l *line) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// endIdle closes the line if it has been idle for so long.
func (l *line) endIdle(idleFor time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.running > 0 || len(l.queue) > 0 || time.Since(l.quietSince) < idleFor {
		return false
	}
	l.closed = true
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// begin says that a job runs now, unless the line was closed before.
func (l *line) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.running++
	}
	return !l.closed
}

func (l *line) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.quietSince = time.Now()
}
