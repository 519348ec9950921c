package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/meterflow/meterflow/internal/billing"
)

// HoldPurpose says what an amount is held back for.
type HoldPurpose string

// The purposes of holds.
const (
	// HoldRefund keeps back what a customer asked to have paid out.
	HoldRefund HoldPurpose = "refund"
	// HoldTransfer keeps back what is to move to another account.
	HoldTransfer HoldPurpose = "transfer"
	// HoldDispute keeps back what a bank or a payment provider has called back.
	HoldDispute HoldPurpose = "dispute"
)

// HoldPurposes lists the purposes.
var HoldPurposes = []HoldPurpose{HoldRefund, HoldTransfer, HoldDispute}

// Hold is a request to keep back an amount of a customer's credit, until it is posted (whole or in part), voided, or expires.
type Hold struct {
	Account billing.AccountID
	Amount  billing.Money
	Purpose HoldPurpose
	// Subject is the number of what it is about: a refund request, a provider's message.
	Subject string
	// Key is made of a business fact: a repeat under the same key holds nothing more.
	Key       string
	ExpiresAt time.Time
}

// Validate refuses a hold of nothing, for nothing, or without an end.
func (h Hold) Validate() error {
	switch {
	case h.Account == "" || h.Key == "" || h.Subject == "":
		return billing.Errorf(billing.CodeInvalidInput, "A hold needs an account, a key, and the number of what it is about.")
	case h.Amount <= 0:
		return billing.Errorf(billing.CodeInvalidInput, "The amount to hold must be more than zero: type it in yuan, such as 100.00.")
	case !slices.Contains(HoldPurposes, h.Purpose):
		return billing.Errorf(billing.CodeInvalidInput, "The purpose %q is unknown: use refund, transfer or dispute.", string(h.Purpose))
	case h.ExpiresAt.IsZero():
		return billing.Errorf(billing.CodeInvalidInput, "Say when the hold ends by itself.")
	}
	return nil
}

// RequestHash is the SHA-256 of the whole request in one canonical form, as for entries.
func (h Hold) RequestHash() []byte {
	var b []byte
	for _, s := range []string{"hold/1", string(h.Account), string(h.Purpose), h.Subject, h.Key} {
		b = appendField(b, s)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(h.Amount))
	b = binary.BigEndian.AppendUint64(b, uint64(h.ExpiresAt.UnixMicro()))
	sum := sha256.Sum256(b)
	return sum[:]
}
