package billing

import (
	"slices"
	"time"
)

// CorrectionID names a change of what bills rest on, such as K20261103-0002.
type CorrectionID string

// CorrectionKind says what a correction changes.
type CorrectionKind string

// The kinds of corrections.
const (
	// CorrectReading replaces the registers of a meter at one instant.
	CorrectReading CorrectionKind = "reading"
	// CorrectRatio replaces the ratio of a fitting from an instant on.
	CorrectRatio CorrectionKind = "ratio"
	// CorrectExchange replaces the registers that an exchange wrote down.
	CorrectExchange CorrectionKind = "exchange"
	// CorrectPrice adds or replaces a tariff's version with a start in the past.
	CorrectPrice CorrectionKind = "price"
	// CorrectTerms replaces what an account is rated by, from a day on.
	CorrectTerms CorrectionKind = "terms"
	// CorrectQuantity replaces a quantity of an account's month that its registers don't give.
	CorrectQuantity CorrectionKind = "quantity"
	// CorrectCarryOver replaces what an account had used in its step year before it was opened.
	CorrectCarryOver CorrectionKind = "carry_over"
)

// CorrectionKinds lists the kinds.
var CorrectionKinds = []CorrectionKind{CorrectReading, CorrectRatio, CorrectExchange, CorrectPrice, CorrectTerms, CorrectQuantity, CorrectCarryOver}

// Approvals is how many persons beside the maker must agree, by the kind alone: ratios and prices need two (rule 49). What gives
// money back needs two as well; that is known with the preview only.
func (k CorrectionKind) Approvals() int {
	if k == CorrectRatio || k == CorrectPrice {
		return 2
	}
	return 1
}

// CorrectionState is the progress of a correction.
type CorrectionState string

// The correction states. Applied, rejected and withdrawn are final. A stopped one has changed what it says, and can be resumed.
const (
	CorrectionDrafted      CorrectionState = "drafted"
	CorrectionPreviewed    CorrectionState = "previewed"
	CorrectionApprovedOnce CorrectionState = "approved_once"
	CorrectionApproved     CorrectionState = "approved"
	CorrectionApplying     CorrectionState = "applying"
	CorrectionApplied      CorrectionState = "applied"
	CorrectionRejected     CorrectionState = "rejected"
	CorrectionWithdrawn    CorrectionState = "withdrawn"
	CorrectionStopped      CorrectionState = "stopped"
)

// Final says whether nothing more will happen to the correction.
func (s CorrectionState) Final() bool {
	return s == CorrectionApplied || s == CorrectionRejected || s == CorrectionWithdrawn
}

// CorrectionChange is what a correction puts in the place of what stands on file. Only the part of its kind is set.
type CorrectionChange struct {
	Reading   *ReadingChange   `json:"reading,omitempty"`
	Ratio     *RatioChange     `json:"ratio,omitempty"`
	Exchange  *ExchangeChange  `json:"exchange,omitempty"`
	Price     *PriceCorrection `json:"price,omitempty"`
	Terms     *TermsChange     `json:"terms,omitempty"`
	Quantity  *QuantityChange  `json:"quantity,omitempty"`
	CarryOver *CarryOverChange `json:"carry_over,omitempty"`
}

// ReadingChange is what a meter really showed at a freeze instant: all registers, raw.
type ReadingChange struct {
	Meter     MeterID   `json:"meter"`
	At        time.Time `json:"at"`
	Registers Registers `json:"registers"`
}

// RatioChange is the ratio that a fitting really had from an instant on, to its end. Registers are what the meter showed then: the
// closing reading at the old ratio and the opening reading at the new one. At the fitting's own start they are left out.
type RatioChange struct {
	Fitting   int64     `json:"fitting"`
	At        time.Time `json:"at"`
	Ratio     int       `json:"ratio"`
	Registers Registers `json:"registers,omitempty"`
}

// ExchangeChange is what the meters really showed when a fitting began: the opening of its own meter, the closing of the meter that
// hung there before. What is left out stays as it is.
type ExchangeChange struct {
	Fitting int64     `json:"fitting"`
	Closing Registers `json:"closing,omitempty"`
	Opening Registers `json:"opening,omitempty"`
}

// PriceCorrection is a version of a tariff that should have been in force from its first day on. A version that starts on the same
// day is replaced.
type PriceCorrection struct {
	Tariff  TariffID      `json:"tariff"`
	Version TariffVersion `json:"version"`
}

// TermsChange is what should have been agreed with a customer from a day on, until the terms that follow.
type TermsChange struct {
	Account AccountID `json:"account"`
	From    Date      `json:"from"`
	Tariff  TariffID  `json:"tariff"`
	// Class is the customer's; empty: what holds on the first day.
	Class            CustomerClass `json:"class,omitempty"`
	Persons          int           `json:"persons,omitempty"`
	CapacityKVA      Quantity      `json:"capacity_kva,omitzero"`
	SuspendedKVA     Quantity      `json:"suspended_kva,omitzero"`
	ContractDemandKW Quantity      `json:"contract_demand_kw,omitzero"`
	Choice           ChargeChoice  `json:"choice,omitempty"`
	// Register is the one that the contract names instead of the total; empty for the total.
	Register string `json:"register,omitempty"`
	// ArrearsContract says that unpaid bills bear a late fee.
	ArrearsContract bool `json:"arrears_contract,omitempty"`
}

// QuantityChange is what a month's maximum demand (kW), reactive energy (kvarh) or reverse energy (kWh) really came to.
type QuantityChange struct {
	Account AccountID `json:"account"`
	Month   Date      `json:"month"` // its first day
	Kind    string    `json:"kind"`  // demand_kw, kvarh or reverse
	Value   Quantity  `json:"value"`
}

// CarryOverChange is what an account had really used in its step year before it was opened, by the former system's bills: raw units
// (0.01 kWh or litres), after the ratio. It moves the steps of the opening year (rules 15 and 21). With 0 the account is a new customer's,
// whose steps begin with its first month.
type CarryOverChange struct {
	Account AccountID `json:"account"`
	Use     int64     `json:"use"`
}

// Kind is the kind of the part that is set; empty, with a refusal, unless exactly one is.
func (c CorrectionChange) Kind() (CorrectionKind, error) {
	var kinds []CorrectionKind
	for kind, set := range map[CorrectionKind]bool{
		CorrectReading: c.Reading != nil, CorrectRatio: c.Ratio != nil, CorrectExchange: c.Exchange != nil, CorrectPrice: c.Price != nil, CorrectTerms: c.Terms != nil,
		CorrectQuantity: c.Quantity != nil, CorrectCarryOver: c.CarryOver != nil,
	} {
		if set {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) != 1 {
		return "", Errorf(CodeInvalidInput, "A correction changes one thing: a reading, a ratio, the values of an exchange, a price, an account's terms, a quantity of a month or the use before an account was opened.")
	}
	return kinds[0], nil
}

// With is the tariff with the change in its place; it is refused as a published tariff would be.
func (c PriceCorrection) With(t Tariff) (Tariff, error) {
	versions := slices.Clone(t.Versions)
	if i := slices.IndexFunc(versions, func(v TariffVersion) bool { return v.From == c.Version.From }); i >= 0 {
		versions[i] = c.Version
	} else {
		versions = append(versions, c.Version)
		slices.SortFunc(versions, func(a, b TariffVersion) int { return a.From.Compare(b.From) })
	}
	t.Versions = versions
	return t, t.Validate()
}
