package billing

// ExchangeID names one exchange of a meter: 'E<number>'.
type ExchangeID string
