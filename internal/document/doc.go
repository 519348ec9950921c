// Package document draws what is handed to people on paper: bills, payment lists and account statements as PDF, in Chinese or English, on A4
// or an 80 mm roll, and names the columns of the lists that go into spreadsheets. It shows what was rated, posted and stored.
//
// It owns its words in both languages, because pages and the API hand out the same papers. It refuses to price, to sum what the ledger
// has summed, and to know HTTP.
package document
