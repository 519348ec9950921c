package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterflow/meterflow/devices/profile"
)

// A gateway may answer a read from its memory for a while (Link.CachesReads). Such an answer shows what the meter was when the gateway last asked it. A line
// keeps for every block from when on that can have been, so that a command waits for what its proof needs, and a mere read for nothing that isn't due to an order
// of ours: nobody else writes on the line.

// blockOf is a block of the unit of a line.
type blockOf struct {
	unit    byte
	address profile.Register
	words   uint16
	item    string
}

// memory is what a gateway may remember of a block.
type memory struct {
	asked time.Time // the end of our last request for it: what is remembered was read from the meter no later
	since time.Time // what is remembered was read from the meter no earlier
}

// remembered is what the gateway may remember of a block. Of one that wasn't asked for on this line, who owned it before may have asked until we began.
func (l *line) remembered(of blockOf) memory {
	if was, ok := l.memories[of]; ok {
		return was
	}
	return memory{asked: l.began}
}

// lastOrder is when the last order to a unit was through; for all that we know, who owned the line before us may have sent one until we began.
func (l *line) lastOrder(unit byte) time.Time {
	if at, ok := l.written[unit]; ok {
		return at
	}
	return l.began
}

// recall reads one block of a unit. What it gives was read from the meter after the last order to it, and, for a job that is fresh, after the job began: what the
// gateway may remember from before is outlasted first.
func (s *session) recall(unit byte, b profile.Block, read func() ([]byte, error)) ([]byte, error) {
	l, keeps := s.line, s.line.settings.CachesReads
	if keeps == 0 {
		return read()
	}
	of := blockOf{unit, b.Address, b.Words, b.Item}
	for {
		was, from := l.remembered(of), l.lastOrder(unit)
		if s.fresh && s.began.After(from) {
			from = s.began
		}
		forgotten := was.asked
		if from.Before(forgotten) {
			forgotten = from
		}
		if forgotten = forgotten.Add(keeps); !was.since.Before(from) || time.Until(forgotten) <= 0 {
			break
		}
		if err := s.rest(forgotten); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	data, err := read()
	is := l.remembered(of) // again: a command may have come in between
	switch least := began.Add(-keeps); {
	case !began.Before(is.asked.Add(keeps)):
		is.since = began
	case least.After(is.since):
		is.since = least
	}
	is.asked = time.Now() // an answer that didn't come in time is remembered too
	l.memories[of] = is
	return data, err
}

// current says that all that the last snapshot shows was read from the meter since the job began.
func (s *session) current(m Meter, prof *profile.Profile) bool {
	if s.line.settings.CachesReads == 0 {
		return true
	}
	for _, b := range prof.Blocks {
		if s.line.remembered(blockOf{m.Unit, b.Address, b.Words, b.Item}).since.Before(s.began) {
			return false
		}
	}
	return true
}

// rest waits for an instant. Meanwhile the line works for other meters: for mere reads, and for what is more urgent. It ends early with the job's caller.
func (s *session) rest(until time.Time) error {
	l, outer := s.line, s.line.floor
	l.floor = min(outer, s.urgency)
	defer func() { l.floor = outer }()
	for left := time.Until(until); left > 0; left = time.Until(until) {
		if s.ctx.Err() != nil {
			if s.left {
				return fmt.Errorf("its caller didn't wait until gateway %s had forgotten what it remembers: %w", l.gateway, context.Cause(s.ctx))
			}
			return errors.Join(ErrExpired, context.Cause(s.ctx))
		}
		if j := l.take(func(j *job) bool { return j.reads || j.priority < l.floor }); j != nil {
			l.runJob(j)
			continue
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-l.wake: // somebody came, or the line is closed: then what waits is turned away
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
	return nil
}
