// Package ledger is pure double entry: which accounts there are, what an entry is, and when it may be posted.
//
// It owns the chart of accounts, the balance rule and the hash that tells a repeated request from another one under the same
// key. It refuses to store anything (package store does, and checks the same rules a second time in the database), to price
// anything, and to ask for the time. Signs: a debit is positive, a credit negative.
package ledger

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/meterflow/meterflow/internal/billing"
)

// Kind says what an entry stands for.
type Kind string

// The kinds of entries.
const (
	// KindOpening takes over a balance from the former system.
	KindOpening Kind = "opening"
	// KindRechargeReceived books money that was received and is on its way to the customer's credit.
	KindRechargeReceived Kind = "recharge_received"
	// KindRechargeCredited moves received money to the customer's credit, once its delivery is proved.
	KindRechargeCredited Kind = "recharge_credited"
	// KindDailyCharge takes a day's use from the customer's credit.
	KindDailyCharge Kind = "daily_charge"
	// KindBillIssued turns charged use into revenue.
	KindBillIssued Kind = "bill_issued"
	// KindReversal undoes one entry whole; entries are never changed.
	KindReversal Kind = "reversal"
	// KindHoldPosted takes what was held back of a customer's credit, or a part of it.
	KindHoldPosted Kind = "hold_posted"
	// KindLateFeeWaived gives the late fee of an issued bill back.
	KindLateFeeWaived Kind = "late_fee_waived"
	// KindAdjustment charges or gives back what a faulty meter registered too little or too much.
	KindAdjustment Kind = "adjustment"
)

// Posting moves an amount on one account: positive is a debit, negative a credit.
type Posting struct {
	Code   Code
	Amount billing.Money
}

// Entry is one whole movement of money. It is posted whole or not at all, and never changed afterwards.
type Entry struct {
	Site billing.SiteID
	Kind Kind
	// Key is made of a business fact, such as "recharge/R20260105-0007/received": a repeat under the same key posts nothing.
	Key string
	// Subject is the recharge, bill or cycle that the entry is about.
	Subject string
	// Reverses is the id of the entry that a reversal undoes, 0 otherwise.
	Reverses int64
	// Day is the accounting day that the entry is effective on, in the site's zone; zero for the day on which it is posted. A closed day
	// is refused.
	Day billing.Date
	// OrCorrect dates the entry on the day on which it is posted when Day has closed meanwhile, as a correction of Day.
	OrCorrect bool
	// Corrects is the closed day that the entry corrects; zero for none.
	Corrects billing.Date
	Postings []Posting
}

// Validate refuses an entry that does not balance, moves nothing, or lacks a name.
func (e Entry) Validate() error {
	if e.Site == "" || e.Kind == "" || e.Key == "" || e.Subject == "" {
		return billing.Errorf(billing.CodeInvalidInput, "The ledger entry %q needs a site, a kind, a key and a subject.", e.Key)
	}
	if len(e.Postings) < 2 {
		return billing.Errorf(billing.CodeInvalidInput, "The ledger entry %q has %d postings: it needs at least two.", e.Key, len(e.Postings))
	}
	var sum billing.Money
	for _, p := range e.Postings {
		if p.Code == "" || p.Amount == 0 {
			return billing.Errorf(billing.CodeInvalidInput, "The ledger entry %q has a posting without an account or of zero yuan.", e.Key)
		}
		var err error
		if sum, err = sum.Add(p.Amount); err != nil {
			return err
		}
	}
	if sum != 0 {
		return billing.Errorf(billing.CodeInvalidInput, "The ledger entry %q does not balance: its postings add up to %s yuan instead of 0.", e.Key, sum)
	}
	if (e.Kind == KindReversal) != (e.Reverses != 0) {
		return billing.Errorf(billing.CodeInvalidInput, "The ledger entry %q is a reversal if and only if it names the entry that it undoes.", e.Key)
	}
	if !e.Corrects.IsZero() && (e.OrCorrect || !e.Day.IsZero() && !e.Corrects.Before(e.Day)) || e.OrCorrect && e.Day.IsZero() {
		return billing.Errorf(billing.CodeInvalidInput, "The ledger entry %q corrects one day, which must lie before its own.", e.Key)
	}
	return nil
}

// RequestHash is the SHA-256 of the whole request in one canonical form. The same key with another hash is another request, and
// is refused.
func (e Entry) RequestHash() []byte {
	var b []byte
	version := "entry/1"
	dated := !e.Day.IsZero() || !e.Corrects.IsZero()
	if dated { // requests that name no day hash as they always did
		version = "entry/2"
	}
	for _, s := range []string{version, string(e.Site), string(e.Kind), e.Key, e.Subject} {
		b = appendField(b, s)
	}
	if dated {
		b = appendField(appendField(b, e.Day.String()), e.Corrects.String())
		b = append(b, map[bool]byte{true: 1}[e.OrCorrect])
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.Reverses))
	for _, p := range e.Postings {
		b = appendField(b, string(p.Code))
		b = binary.BigEndian.AppendUint64(b, uint64(p.Amount))
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// appendField writes the length first, so that no two requests have the same bytes.
func appendField(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// Move is the entry of the usual case: amount from the credit side to the debit side.
func Move(site billing.SiteID, kind Kind, key, subject string, debit, credit Code, amount billing.Money) Entry {
	return Entry{Site: site, Kind: kind, Key: key, Subject: subject, Postings: []Posting{{debit, amount}, {credit, -amount}}}
}

// Reverse is the entry that undoes e, which was posted under id: on the same day while that is open, else as its correction.
func Reverse(e Entry, id int64) Entry {
	r := Entry{Site: e.Site, Kind: KindReversal, Key: e.Key + "/reversed", Subject: e.Subject, Reverses: id, Day: e.Day, OrCorrect: !e.Day.IsZero()}
	for _, p := range e.Postings {
		r.Postings = append(r.Postings, Posting{p.Code, -p.Amount})
	}
	return r
}
