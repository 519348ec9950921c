package billing

// TariffChangeID names one change of prices on its way: 'T<number>'.
type TariffChangeID string

// TariffState is the progress of a change of prices.
type TariffState string

// The states. A published change is in force once its first day has come. Withdrawn and in force are final.
const (
	TariffDraft        TariffState = "draft"
	TariffSubmitted    TariffState = "submitted"
	TariffApprovedOnce TariffState = "approved_once"
	TariffPublished    TariffState = "published"
	TariffInForce      TariffState = "in_force"
	TariffRejected     TariffState = "rejected"
	TariffWithdrawn    TariffState = "withdrawn"
)

// Open says that the change may still become something else than it is: nothing of it is published.
func (s TariffState) Open() bool {
	return s == TariffDraft || s == TariffSubmitted || s == TariffApprovedOnce || s == TariffRejected
}

// Waiting says that somebody must approve or reject the change.
func (s TariffState) Waiting() bool { return s == TariffSubmitted || s == TariffApprovedOnce }

// PushState is how far new prices have got into one meter. Only verified is proof: the meter's own read-back.
type PushState string

// The push states. A failed one is tried again for some days; then a person sees to the meter. One is overtaken when other prices are in force before it
// was proved: it is never written any more.
const (
	PushWaiting   PushState = "waiting"
	PushSending   PushState = "sending"
	PushVerified  PushState = "verified"
	PushFailed    PushState = "failed"
	PushOvertaken PushState = "overtaken"
)

// Open says that the meter is still to get these prices.
func (s PushState) Open() bool { return s != PushVerified && s != PushOvertaken }
