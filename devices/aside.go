package devices

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// asides remembers which meters and lines were silent, so that sweeps don't spend their time on them: one silent meter
// holds a line longer than ten that answer.
type asides struct {
	config Config
	mu     *sync.Mutex
	meters map[string]map[byte]*silence // by gateway and unit: a report of one line costs nothing for the silence of others
	lines  map[string]*lineSilence
	past   map[string]*lineRecord // by gateway
}

type silence struct {
	tries int
	until time.Time
}

type lineSilence struct {
	units map[byte]bool // different meters without an answer since the last answer on this line
	until time.Time
}

func newAsides(config Config) asides {
	return asides{config: config, mu: &sync.Mutex{}, meters: map[string]map[byte]*silence{}, lines: map[string]*lineSilence{}, past: map[string]*lineRecord{}}
}

// check tells whether a sweep should skip the meter.
func (a *asides) check(at Address) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if l, ok := a.lines[at.Gateway]; ok && now.Before(l.until) {
		return fmt.Errorf("%w: nothing on line %s answers; next try in %s",
			ErrSetAside, at.Gateway, l.until.Sub(now).Round(time.Second))
	}
	if s, ok := a.meters[at.Gateway][at.Unit]; ok && now.Before(s.until) {
		return fmt.Errorf("%w: next try in %s", ErrSetAside, s.until.Sub(now).Round(time.Second))
	}
	return nil
}

// vain says that a meter counts as silent: its last tries brought silence or noise.
func (a *asides) vain(at Address) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.meters[at.Gateway][at.Unit]
	return ok && s.tries >= a.config.SetAsideAfter
}

// book takes in how a job with a meter ended. Any answer at all clears the meter and its line.
func (a *asides) book(at Address, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	linkDown, noise := errors.Is(err, ErrLinkDown), errors.Is(err, errNoise)
	if errors.Is(err, ErrNotOwner) || errors.Is(err, ErrExpired) {
		return // says nothing about the meter
	}
	now := time.Now()
	a.record(at.Gateway, err, now)
	if !linkDown && !noise && !errors.Is(err, ErrSilent) {
		delete(a.meters[at.Gateway], at.Unit)
		delete(a.lines, at.Gateway)
		return
	}
	if noise { // something speaks on the line, but not so that the meter can be read: it costs as much as silence
		delete(a.lines, at.Gateway)
		a.silent(at, now)
		return
	}
	l, ok := a.lines[at.Gateway]
	if !ok {
		l = &lineSilence{units: map[byte]bool{}}
		a.lines[at.Gateway] = l
	}
	l.units[at.Unit] = true
	if len(l.units) >= a.config.LineAsideAfter {
		l.until = now.Add(a.config.SetAsideFor)
	}
	if linkDown {
		return // the gateway's fault, not the meter's
	}
	a.silent(at, now)
}

// silent books a try at a meter that was in vain. Those that are made while it is set aside, by people and by commands that wait for their
// read-back, don't lengthen its pause.
func (a *asides) silent(at Address, now time.Time) {
	line, ok := a.meters[at.Gateway]
	if !ok {
		line = map[byte]*silence{}
		a.meters[at.Gateway] = line
	}
	s, ok := line[at.Unit]
	if !ok {
		s = &silence{}
		line[at.Unit] = s
	}
	if now.Before(s.until) {
		return
	}
	s.tries++
	if extra := s.tries - a.config.SetAsideAfter; extra >= 0 {
		s.until = now.Add(min(a.config.SetAsideFor<<min(extra, 20), a.config.SetAsideMost))
	}
}
