package simulator

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	secondsPerSlot = int64(slotLength / time.Second)
	secondsPerDay  = 24 * 60 * 60
	// mWhPerUnit and mlPerUnit are what one unit of the registers holds: 0.01 kWh, one litre.
	mWhPerUnit = 10_000
	mlPerUnit  = 1_000
	// checkpointEvery bounds, in business time, how much a restart has to work out again.
	checkpointEvery = 24 * time.Hour
)

// meter is one simulated meter. Its lock covers everything below it.
type meter struct {
	spec     MeterSpec
	load     *series
	location *time.Location
	box      BoxSpec // that it is a circuit of; zero for a meter of its own
	faults   *faults
	record   *record

	// due is the business instant, in seconds since the epoch, from which on the meter may do something by itself.
	due    atomic.Int64
	subs   []*meter // whose load this one measures once more; fixed once the fleet is made, but for exchanges
	summed bool     // a master sums this one

	mu       sync.Mutex
	state    State
	recorded time.Time // business instant of the last state in the record
	removed  bool
}

// change is a meter's next state with the entries that lead to it. It becomes real only when the record has them.
type change struct {
	state   State
	entries []RecordEntry
	real    time.Time
}

func (c *change) note(kind string, entry RecordEntry) {
	state := c.state.clone()
	entry.Kind, entry.Serial, entry.State = kind, state.Serial, &state
	entry.Business, entry.Real = state.At, c.real
	c.entries = append(c.entries, entry)
}

// advance brings the meter to a business instant. The caller holds the lock.
func (m *meter) advance(now time.Time) *change {
	c := &change{state: m.state.clone(), real: time.Now()}
	now = now.Truncate(time.Second)
	if len(m.subs) > 0 {
		m.sumUp(c, now)
	}
	for c.state.At.Before(now) {
		local := localSeconds(c.state.At, m.location)
		left := secondsPerSlot - floorMod(local, secondsPerSlot)
		to := c.state.At.Add(time.Duration(left) * time.Second)
		slotEnds := !to.After(now)
		if !slotEnds {
			to = now
		}
		m.consume(c, local, int64(to.Sub(c.state.At)/time.Second))
		c.state.At = to
		if slotEnds {
			m.checkCredit(c)
		}
	}
	if c.state.At.Sub(m.recorded) >= checkpointEvery && len(c.entries) == 0 {
		c.note(EntryCheckpoint, RecordEntry{})
	}
	return c
}

// commit writes the entries and then makes the state the meter's own. The caller holds the lock.
func (m *meter) commit(c *change) error {
	if err := m.record.append(c.entries...); err != nil {
		return err
	}
	if len(c.entries) > 0 {
		m.recorded = c.entries[len(c.entries)-1].State.At
	}
	m.state = c.state
	return nil
}

// flows says whether the customer has supply: relay or valve let it, or can't stop it.
func (m *meter) flows(s *State) bool {
	if s.RelayOn {
		return true
	}
	_, welded := m.faults.standing(FaultWelded, m.place(), s.At)
	return welded
}

// consume adds the load of a stretch inside one slot. local is the second of the local calendar at which it begins.
func (m *meter) consume(c *change, local, seconds int64) {
	if !m.flows(&c.state) {
		return
	}
	amount := m.slotAmount(local)
	from := floorMod(local, secondsPerSlot)
	// Both ends are measured from the slot's start, so that the parts of a slot add up to the slot however it is cut.
	before, after := amount*from/secondsPerSlot, amount*(from+seconds)/secondsPerSlot
	if m.summed {
		m.pass(c, local, after-before)
	}
	if fault, ok := m.faults.standing(FaultUnderCount, m.place(), c.state.At); ok {
		before, after = before-before*fault.Offset/1000, after-after*fault.Offset/1000
	}
	unit := int64(mWhPerUnit) * m.spec.Ratio
	if m.spec.water() {
		unit = mlPerUnit
	}
	if after < before {
		c.state.ReverseRemainder += before - after
		m.count(&c.state.Reverse, c.state.ReverseRemainder/unit)
		c.state.ReverseRemainder %= unit
		return
	}
	c.state.Remainder += after - before
	steps := c.state.Remainder / unit
	c.state.Remainder -= steps * unit
	m.count(&c.state.Registers[0], steps)
	if m.spec.volume() {
		c.state.RemainingLitres -= steps
	}
	if m.spec.water() {
		return
	}
	band := m.bandAt(local)
	m.count(&c.state.Registers[band], steps)
	if m.spec.CreditMode {
		// One unit is 0.01 kWh behind the transformers: price×10^-10 yuan = price×10^-8 fen.
		c.state.MoneyRemainder += steps * m.spec.Ratio * c.state.PricesE8[band-1]
		c.state.RemainingFen -= c.state.MoneyRemainder / 1e8
		c.state.MoneyRemainder %= 1e8
	}
}

// pass remembers what passed a sub-meter, for its master.
func (m *meter) pass(c *change, local, amount int64) {
	if c.state.Passed == nil {
		c.state.Passed = make([]int64, m.spec.registers())
	}
	c.state.Passed[0] += amount
	if !m.spec.water() {
		c.state.Passed[m.bandAt(local)] += amount
	}
}

// sumUp makes a master's registers from what passed its subs. Its lock is held; a sub never locks its master.
func (m *meter) sumUp(c *change, now time.Time) {
	unit := int64(mWhPerUnit) * m.spec.Ratio
	if m.spec.water() {
		unit = mlPerUnit
	}
	sums := make([]int64, m.spec.registers())
	for _, sub := range m.subs {
		sub.mu.Lock()
		if !sub.removed && sub.commit(sub.advance(now)) != nil {
			sub.mu.Unlock()
			return // not recorded, so it did not happen; the next look sums again
		}
		for i, passed := range sub.state.Passed {
			sums[i] += passed
		}
		sub.mu.Unlock()
	}
	var bands int64
	for i := len(sums) - 1; i >= 0; i-- {
		var opening int64
		if i < len(m.spec.OpeningRegisters) {
			opening = m.spec.OpeningRegisters[i]
		}
		counted := sums[i] * (1000 + m.spec.LossPermille) / 1000 / unit
		if i > 0 {
			bands += counted
		} else if len(sums) > 1 {
			counted = bands // so that the bands add up
		}
		c.state.Registers[i] = (opening + counted) % m.spec.rollover()
	}
	if now.After(c.state.At) {
		c.state.At = now
	}
}

func (m *meter) count(register *int64, steps int64) {
	*register = (*register + steps) % m.spec.rollover()
}

// slotAmount is the load of the slot around a local second, in mWh or ml; below zero when the customer's own generator gives more than the load takes.
func (m *meter) slotAmount(local int64) int64 {
	amount := m.load.slots[m.seriesSecond(local)/secondsPerSlot] * m.spec.ScalePermille
	if hour := floorMod(local, secondsPerDay) / 3600; hour >= 10 && hour < 14 {
		amount -= m.spec.FeedWatts * 1000 * secondsPerSlot / 3600
	}
	return amount
}

// seriesSecond maps a local second to a second of the repeating series.
func (m *meter) seriesSecond(local int64) int64 {
	length := int64(m.load.days()) * secondsPerDay
	return floorMod(local+int64(m.spec.OffsetDays)*secondsPerDay, length)
}

func (m *meter) bandAt(local int64) int {
	minute := int(floorMod(local, secondsPerDay) / 60)
	month := int(time.Unix(local, 0).UTC().Month())
	for _, span := range m.spec.BandTable {
		if minute >= span.From && minute < span.To && span.inMonth(month) {
			return span.Band
		}
	}
	return BandFlat
}

func (s BandSpan) inMonth(month int) bool {
	for _, m := range s.Months {
		if m == month {
			return true
		}
	}
	return len(s.Months) == 0
}

// checkCredit is the meter's own cut-off, at the end of a half hour.
func (m *meter) checkCredit(c *change) {
	s := &c.state
	usedUp := s.RemainingFen <= -m.spec.OverdraftFen
	if m.spec.volume() {
		usedUp = s.RemainingLitres <= 0
	}
	if !m.spec.CreditMode || !usedUp || s.Forced != forcedNone || !s.RelayOn {
		return
	}
	if _, stuck := m.faults.take(FaultStuckRelay, m.place(), s.At); stuck {
		return
	}
	s.RelayOn, s.SelfTripped = false, true
	c.note(EntrySelfTrip, RecordEntry{})
}

// purchase adds credit when the count is the next one. It reports whether it was accepted.
func (m *meter) purchase(c *change, amountFen, count int64) bool {
	s := &c.state
	const most = 1<<31 - 1 // the balance register is signed 32 bit
	if !m.spec.CreditMode || amountFen <= 0 || count != s.PurchaseCount+1 || s.RemainingFen+amountFen > most {
		return false
	}
	s.PurchaseCount = count
	s.RemainingFen += amountFen // a signed balance: an overdraft is paid off first
	c.note(EntryPurchase, RecordEntry{Count: count, AmountFen: amountFen})
	if s.SelfTripped && s.RemainingFen > 0 && s.Forced != forcedOff {
		s.SelfTripped = false
		if !s.RelayOn && m.moveRelay(c, true) {
			c.note(EntrySelfClose, RecordEntry{})
		}
	}
	return true
}

// setVolume sets what is left to an absolute value: nothing is added, and no count tells one write from its repeat.
func (m *meter) setVolume(c *change, litres int64) {
	s := &c.state
	s.RemainingLitres = litres
	c.note(EntryVolume, RecordEntry{VolumeLitres: litres})
	if s.SelfTripped && litres > 0 {
		s.SelfTripped = false
		if m.moveRelay(c, true) {
			c.note(EntrySelfClose, RecordEntry{})
		}
	}
}

// setPrices takes new prices, in 10^-4 yuan, at once and for what is used from now on.
func (m *meter) setPrices(c *change, raw [5]uint32) {
	for i, price := range raw {
		c.state.PricesE8[i] = int64(price) * 10_000
	}
	c.note(EntryPrices, RecordEntry{})
}

// force obeys forced control: on, off, or back to the meter's own control.
func (m *meter) force(c *change, mode string) {
	s := &c.state
	s.Forced = mode
	switch mode {
	case forcedOff:
		m.moveRelay(c, false)
		c.note(EntryTrip, RecordEntry{})
	case forcedOn:
		m.moveRelay(c, true)
		c.note(EntryClose, RecordEntry{})
	default:
		m.release(c)
	}
}

// allow ends forced control and leaves it to the customer's button to close the relay; a meter that holds itself open for lack of credit goes on doing so.
func (m *meter) allow(c *change) {
	s := &c.state
	s.Forced, s.SelfTripped = forcedNone, m.inArrears(s)
	c.note(EntryAllow, RecordEntry{})
}

// inArrears says that the meter holds itself open: its own credit is used up.
func (m *meter) inArrears(s *State) bool {
	return m.spec.CreditMode && (s.RemainingFen <= -m.spec.OverdraftFen || s.SelfTripped && s.RemainingFen <= 0)
}

// press is the customer at the meter's button: a relay that is open closes, unless something holds it open. It reports whether it moved.
func (m *meter) press(c *change) bool {
	s := &c.state
	if s.RelayOn || s.Forced != forcedNone || s.SelfTripped || m.spec.water() || !m.moveRelay(c, true) {
		return false
	}
	c.note(EntryButton, RecordEntry{})
	return true
}

// release gives control back to the meter: it closes unless it holds itself open for lack of credit.
func (m *meter) release(c *change) {
	s := &c.state
	inArrears := m.inArrears(s)
	s.SelfTripped = inArrears
	if !inArrears {
		m.moveRelay(c, true)
		c.note(EntryRelease, RecordEntry{})
		return
	}
	wasOn := s.RelayOn
	c.note(EntryRelease, RecordEntry{})
	if wasOn && m.moveRelay(c, false) {
		c.note(EntrySelfTrip, RecordEntry{})
	}
}

func (m *meter) moveRelay(c *change, on bool) bool {
	if c.state.RelayOn == on {
		return true
	}
	if _, stuck := m.faults.take(FaultStuckRelay, m.place(), c.state.At); stuck {
		return false
	}
	c.state.RelayOn = on
	return true
}

// moveValve sends the valve on its way.
func (m *meter) moveValve(c *change, open bool) {
	s := &c.state
	kind := EntryTrip
	if open {
		kind = EntryRelease
	}
	if _, stuck := m.faults.take(FaultStuckValve, m.place(), s.At); stuck {
		s.Abnormal = true
		c.note(kind, RecordEntry{})
		return
	}
	s.Abnormal = false
	if s.RelayOn != open {
		travel := time.Duration(m.spec.ValveMillis) * time.Millisecond
		if slow, ok := m.faults.take(FaultMovingValve, m.place(), s.At); ok {
			travel = time.Duration(slow.DelayMillis) * time.Millisecond
		}
		s.RelayOn, s.MovesUntil = open, c.real.Add(travel)
	}
	c.note(kind, RecordEntry{})
}

func (m *meter) place() place {
	return place{gateway: m.state.Gateway, unit: m.spec.Unit, serial: m.spec.Serial}
}

// loadNow is the present load in W or l/h.
func (m *meter) loadNow(s *State) int64 {
	if !m.flows(s) {
		return 0
	}
	return m.slotAmount(localSeconds(s.At, m.location)) * 2 / 1000 / m.spec.Ratio
}

// tick advances the meter so that its own acts come into the record in time: at the end of a half hour, when it looks at its credit.
func (m *meter) tick(now time.Time) error {
	if now.Unix() < m.due.Load() {
		return nil
	}
	m.due.Store(now.Unix() + secondsPerSlot - floorMod(localSeconds(now, m.location), secondsPerSlot))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.removed {
		return nil
	}
	return m.commit(m.advance(now))
}

// localSeconds counts seconds on the local calendar.
func localSeconds(at time.Time, location *time.Location) int64 {
	_, offset := at.In(location).Zone()
	return at.Unix() + int64(offset)
}

func floorMod(a, b int64) int64 { return (a%b + b) % b }
