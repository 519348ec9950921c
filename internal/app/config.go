package app

// Database says where PostgreSQL is.
type Database struct {
	DatabaseURL string `help:"PostgreSQL of the business data, as postgres://user:password@host:port/name." placeholder:"URL"`
}

// Temporal says where the workflow engine is.
type Temporal struct {
	TemporalAddress   string `help:"Temporal frontend, as host:port." placeholder:"HOST:PORT"`
	TemporalNamespace string `help:"Temporal namespace." default:"default"`
}

// Web is how the pages and the API are served.
type Web struct {
	Networks
	Listen        string `help:"Address on which pages and API are served." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	Secure        bool   `help:"People reach the pages over HTTPS: send the session cookie over nothing else."`
	ReceiptSecret string `help:"Shared secret that the message provider sends with its delivery receipts." placeholder:"TEXT"`
}
