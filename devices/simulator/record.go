package simulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

// recordFile is the name of the record inside its folder.
const recordFile = "record.jsonl"

// The kinds of record entries.
const (
	EntryOpened       = "opened"        // the meter's first start
	EntryCheckpoint   = "checkpoint"    // nothing happened; the state at an instant
	EntryPurchase     = "purchase"      // an accepted purchase: Count is the new count, AmountFen what was added
	EntryVolume       = "volume"        // the remaining volume was set: VolumeLitres is what to
	EntryPrices       = "prices"        // new prices were accepted; the state has them
	EntryTrip         = "trip"          // forced off by command, or the valve told to close
	EntryClose        = "close"         // forced on by command (keep-power)
	EntryAllow        = "allow"         // closing is allowed: the customer's button closes the relay
	EntryButton       = "button"        // the customer pressed the meter's button
	EntryRelease      = "release"       // forced control off, or the valve told to open
	EntrySelfTrip     = "self-trip"     // the meter tripped for lack of credit
	EntrySelfClose    = "self-close"    // the meter closed itself after a purchase
	EntryClock        = "clock"         // the clock was set
	EntryRemoved      = "removed"       // the meter was taken out by an exchange
	EntryFault        = "fault"         // a fault was injected
	EntryFaultCleared = "fault-cleared" // a fault ended
)

// RecordEntry is one line of the record. Business is when it happened in the meter's life, Real when it came into being
// on this machine. State is the meter after it.
type RecordEntry struct {
	Business  time.Time `json:"business"`
	Real      time.Time `json:"real"`
	Kind      string    `json:"kind"`
	Serial    string    `json:"serial,omitempty"`
	Count     int64     `json:"count,omitempty"`
	AmountFen int64     `json:"amount_fen,omitempty"`
	// VolumeLitres is what the remaining volume was set to.
	VolumeLitres int64  `json:"volume_litres,omitempty"`
	State        *State `json:"state,omitempty"`
	Fault        *Fault `json:"fault,omitempty"`
	// Spec is set when a meter starts by an exchange, so that it is there again after a restart.
	Spec    *MeterSpec `json:"spec,omitempty"`
	Gateway string     `json:"gateway,omitempty"`
}

// record appends entries to the file. One line is one write, so that a killed process leaves at most its last line torn.
type record struct {
	mu   sync.Mutex
	file *os.File
}

func openRecord(dir string) (*record, []RecordEntry, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, nil, fmt.Errorf("record folder: %w", err)
	}
	path := filepath.Join(dir, recordFile)
	entries, whole, err := readRecordFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	// A torn last line was never answered for: it is cut off before anything is appended behind it.
	if err := file.Truncate(whole); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("record: %w", err), file.Close())
	}
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("record: %w", err), file.Close())
	}
	return &record{file: file}, entries, nil
}

func (r *record) append(entries ...RecordEntry) error {
	if len(entries) == 0 {
		return nil
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, entry := range entries {
		if err := encoder.Encode(entry); err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.file.Write(lines.Bytes()); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

func (r *record) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Close()
}

// ReadRecord reads the record of a fleet from its folder, also while the fleet runs. A torn last line is left out.
func ReadRecord(dir string) ([]RecordEntry, error) {
	entries, _, err := readRecordFile(filepath.Join(dir, recordFile))
	return entries, err
}

// readRecordFile returns the entries and the length of the part that holds whole lines.
func readRecordFile(path string) ([]RecordEntry, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("record: %w", err)
	}
	defer file.Close()
	var entries []RecordEntry
	var whole int64
	reader := bufio.NewReader(file)
	for line := 1; ; line++ {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, whole, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("record: %w", err)
		}
		var entry RecordEntry
		if err := json.Unmarshal(text, &entry); err != nil {
			return nil, 0, fmt.Errorf("record %s, line %d is damaged: %w", path, line, err)
		}
		entries = append(entries, entry)
		whole += int64(len(text))
	}
}

// Purchases returns the accepted purchases of one meter, in order of acceptance.
func Purchases(entries []RecordEntry, serial string) []RecordEntry {
	var accepted []RecordEntry
	for _, entry := range entries {
		if entry.Serial == serial && entry.Kind == EntryPurchase {
			accepted = append(accepted, entry)
		}
	}
	return accepted
}

// RelayAt tells what a meter's relay or valve was at a real instant, and false when the record does not reach back to it.
func RelayAt(entries []RecordEntry, serial string, at time.Time) (SupplyState, bool) {
	s, known := stateAt(entries, serial, at)
	if !known {
		return "", false
	}
	return s.supplyAt(at), true
}

// ClosingAllowedAt tells whether a meter's relay was open at a real instant and its button would have closed it.
func ClosingAllowedAt(entries []RecordEntry, serial string, at time.Time) bool {
	s, known := stateAt(entries, serial, at)
	return known && !s.RelayOn && s.Forced == forcedNone && !s.SelfTripped
}

// stateAt is the last state of a meter that was recorded by a real instant.
func stateAt(entries []RecordEntry, serial string, at time.Time) (*State, bool) {
	own := make([]RecordEntry, 0, 16)
	for _, entry := range entries {
		if entry.Serial == serial && entry.State != nil {
			own = append(own, entry)
		}
	}
	next := sort.Search(len(own), func(i int) bool { return own[i].Real.After(at) })
	if next == 0 {
		return nil, false
	}
	return own[next-1].State, true
}
