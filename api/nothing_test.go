package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/api"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/webtest"
)

// Tariff files without a fault; each fault is made by replacing a part of one.
const (
	stepped = `{"id":"trial","name":{"zh":"试","en":"Trial"},"service":"power","versions":[{"from":"2026-11-01","components":[{"key":"step","name":{"zh":"阶梯","en":"Steps"},
		"kind":"steps","accumulate":"year","tiers":[{"up_to":"2760","price":"0.538"},{"up_to":"4800","price":"0.588"},{"price":"0.838"}]}]}]}`
	banded = `{"id":"trial","name":{"zh":"试","en":"Trial"},"service":"power","versions":[{"from":"2026-11-01",
		"calendar":{"seasons":[{"months":[1,2,3,4,5,6,7,8,9,10,11,12],"days":[{"segments":[{"from":"00:00","to":"08:00","band":"valley"},{"from":"08:00","to":"22:00","band":"peak"},{"from":"22:00","to":"24:00","band":"valley"}]}]}]},
		"components":[{"key":"energy","name":{"zh":"电度","en":"Energy"},"kind":"bands","bands":[{"register":"sharp","price":"0.868"},{"register":"peak","price":"0.568"},{"register":"flat","price":"0.5"},{"register":"valley","price":"0.288"},{"register":"deep_valley","price":"0.1"}]}]}]}`
)

// Bad input of what moves money: each gets a sentence that names the place, and no table has another row after it.
func TestRefusals_changeNothing(t *testing.T) {
	s, m := webtest.Issued(t)
	ctx := context.Background()
	people := map[string]*webtest.Browser{}
	for _, who := range []string{webtest.Supervisor, webtest.Supervisor2, webtest.Manager, webtest.Administrator, webtest.Clerk, webtest.Clerk2} {
		people[who] = s.SignIn(t, who)
	}
	created := func(who, path, body string) string {
		t.Helper()
		a := people[who].JSON(http.MethodPost, "/api/v1"+path, body)
		require.Equal(t, http.StatusCreated, a.Status, a.Body)
		var made struct {
			ID     string `json:"id"`
			Digest string `json:"digest"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &made), a.Body)
		return made.ID
	}
	meter := string(m)
	hold := created(webtest.Clerk, "/accounts/1001/holds", `{"amount":"100.00","purpose":"refund","subject":"RF-1","expires_at":"2026-12-01T00:00:00Z","reason":"asked for"}`)
	created(webtest.Administrator, "/sites/compound/late-fees", `{"service":"power","reason":"notice 9","rule":{"from":"2026-12-01","due_days":15,"household":"0.001","other":"0.002","other_earlier":"0.003","minimum_fen":100,"waive_fen":5000}}`)
	adjustment := created(webtest.Supervisor, "/adjustments", `{"kind":"wrong_wiring","meter":"`+meter+`","corrected":"2026-10-01","percent":"50","reason":"wired wrongly"}`)
	correction := created(webtest.Supervisor, "/corrections", `{"change":{"carry_over":{"account":"1001","use":1000}},"reason":"the former bills"}`)
	_, err := s.Store.Pool.Exec(ctx, `INSERT INTO payment_plans (id, site_id, account_id, cycle_id, rule, facts, lowest_bill, total_fen, part_fen, outstanding_fen, state, proposed_at)
		SELECT 'Y1', 'compound', '1001', c.id, '{"part_percent": 50}', '{}', $1, 30000, 10000, 30000, 'proposed', business_now() FROM cycles c LIMIT 1`, webtest.IssuedBill)
	require.NoError(t, err)

	tariff := func(file, old, fresh string) string {
		require.Contains(t, file, old)
		raw, err := json.Marshal(map[string]any{"file": json.RawMessage(strings.Replace(file, old, fresh, 1)), "why": "notice 7"})
		require.NoError(t, err)
		return string(raw)
	}
	correct := func(change string) string { return `{"change":` + change + `,"reason":"the photo shows it"}` }
	wired := func(percent, corrected string) string {
		return `{"kind":"wrong_wiring","meter":"` + meter + `","corrected":"` + corrected + `","percent":"` + percent + `","reason":"wired wrongly"}`
	}
	lateRule := func(old, fresh string) string {
		return strings.Replace(`{"service":"power","reason":"notice 9","rule":{"from":"2027-01-01","due_days":15,"household":"0.001","other":"0.002","other_earlier":"0.003","minimum_fen":100,"waive_fen":5000}}`, old, fresh, 1)
	}
	ended := func(second, third string) string {
		return `{"reason":"asked for","second_user":"` + second + `","second_password":"` + webtest.Password + `","third_user":"` + third + `","third_password":"` + webtest.Password + `"}`
	}
	place := func(amount, expires string) string {
		return `{"amount":"` + amount + `","purpose":"refund","subject":"RF-2","expires_at":"` + expires + `","reason":"asked for"}`
	}
	const (
		admin, sup, sup2, manager, clerk = webtest.Administrator, webtest.Supervisor, webtest.Supervisor2, webtest.Manager, webtest.Clerk
		run                              = "/runs/compound/2026-09/1"
		far                              = "2026-12-01T00:00:00Z"
		input, conflict, closed, blocked = billing.CodeInvalidInput, billing.CodeConflict, billing.CodeClosed, billing.CodeBlocked
	)
	for _, c := range []struct {
		name, who, path, body string
		code                  billing.Code
		sentence              string
	}{
		// Prices.
		{"a gap in the steps", admin, "/tariff-changes", tariff(stepped, `{"price":"0.838"}`, `{"up_to":"9000","price":"0.838"}`), input, "component step: tier 3: the last tier must have no upper edge, or use above 9000 has no price"},
		{"steps that overlap", admin, "/tariff-changes", tariff(stepped, `"4800"`, `"2760"`), input, "component step: tier 2: the upper edge 2760 is not above 2760"},
		{"a step without an edge", admin, "/tariff-changes", tariff(stepped, `"up_to":"2760",`, ``), input, "tier 1: only the last tier may have no upper edge"},
		{"a gap between the bands without a price", admin, "/tariff-changes", tariff(strings.Replace(banded, `{"from":"22:00","to":"24:00"`, `{"from":"22:30","to":"24:00"`, 1), `{"register":"flat","price":"0.5"},`, ``), input, "component energy: band flat: the price is missing"},
		{"bands that overlap", admin, "/tariff-changes", tariff(banded, `{"from":"08:00","to":"22:00"`, `{"from":"07:30","to":"22:00"`), input, "segment 07:30–22:00: the band peak overlaps valley 00:00–08:00"},
		{"a band that ends before it starts", admin, "/tariff-changes", tariff(banded, `{"from":"08:00","to":"22:00"`, `{"from":"08:00","to":"07:00"`), input, "segment 08:00–07:00: it ends before it starts"},
		{"a band without a price", admin, "/tariff-changes", tariff(banded, `,{"register":"valley","price":"0.288"}`, ``), input, "band valley: the price is missing"},
		{"a step without a price", admin, "/tariff-changes", tariff(stepped, `"up_to":"4800","price":"0.588"`, `"up_to":"4800"`), input, "component step: tier 2: the price is missing"},
		{"a negative limit", admin, "/tariff-changes", tariff(stepped, `"2760"`, `"-5"`), input, "component step: tier 1: the limit -5 is negative"},
		{"a negative price", admin, "/tariff-changes", tariff(stepped, `"0.538"`, `"-0.538"`), input, "tier 1: the price -0.538 is negative"},
		{"an end before its start", admin, "/tariff-changes", tariff(stepped, `"from":"2026-11-01"`, `"from":"2026-11-01","until":"2026-10-01"`), input, "it ends (until 2026-10-01) before it starts"},
		{"no price at all", admin, "/tariff-changes", tariff(stepped, `"kind":"steps"`, `"kind":"slabs"`), input, "slabs"},
		{"a ceiling below zero", manager, "/sites/compound/price-ceilings", `{"service":"power","from":"2026-11-01","price":"-0.5","reason":"notice 3"}`, input, "-0.5"},

		// Runs and bills.
		{"a re-issue", sup2, run + "/issue", ``, closed, "is issued or cancelled already: nothing was changed"},
		{"a late verification", sup, run + "/verify", ``, closed, "run compound/2026-09/1 is issued or cancelled already: nothing was changed"},
		{"a hold of an issued bill", sup, "/bills/" + string(webtest.IssuedBill) + "/hold", `{"reason":"in doubt"}`, closed, "run compound/2026-09/1 is issued or cancelled already: nothing was changed"},
		{"a late fee that isn't there", sup, "/bills/" + string(webtest.IssuedBill) + "/waive-late-fee", `{"reason":"late slip"}`, closed, "late fee"},

		// Corrections.
		{"a correction on a closed day", sup, "/corrections", `{"change":{"carry_over":{"account":"1001","use":2000}},"reason":"x","dated_on":"2026-09-30"}`, closed, "2026-09-30 is not open for entries: leave the day empty"},
		{"a correction of two things", sup, "/corrections", correct(`{"carry_over":{"account":"1001","use":2000},"quantity":{"account":"1001","month":"2026-09-01","kind":"kvarh","value":"1"}}`), input, "A correction changes one thing"},
		{"a negative use before opening", sup, "/corrections", correct(`{"carry_over":{"account":"1001","use":-1}}`), input, "can't be -0.01 kWh"},
		{"a use that stands already", sup, "/corrections", correct(`{"carry_over":{"account":"1001","use":0}}`), input, "nothing would change"},
		{"a negative quantity", sup, "/corrections", correct(`{"quantity":{"account":"1001","month":"2026-09-01","kind":"kvarh","value":"-1"}}`), input, "The quantity -1 is negative"},
		{"an unknown register", sup, "/corrections", correct(`{"terms":{"account":"1001","from":"2026-09-10","tariff":"zj-residential","register":"shoulder"}}`), input, "Name the register that the contract bills by"},
		{"terms before the opening", sup, "/corrections", correct(`{"terms":{"account":"1001","from":"2026-09-01","tariff":"zj-residential","persons":5}}`), input, "lies before account 1001 was opened"},
		{"a reading that isn't there", sup, "/corrections", correct(`{"reading":{"meter":"` + meter + `","at":"2026-09-20T16:00:00Z","registers":[1,0,0,1,0,0]}}`), billing.CodeNotFound, "has no reading of 2026-09-21 00:00"},
		{"registers of another meter", sup, "/corrections", correct(`{"reading":{"meter":"` + meter + `","at":"2026-09-30T16:00:00Z","registers":[1,1]}}`), billing.CodeInvalidReading, "register"},
		{"a ratio of nothing", sup, "/corrections", correct(`{"ratio":{"fitting":1,"at":"2026-09-09T16:00:00Z","ratio":0}}`), input, "the ratio 0 can't be"},
		{"one's own correction", sup, "/corrections/" + correction + "/approve", `{"digest":"00"}`, billing.CodeSelfApproval, "another person must approve"},
		{"an approval of another preview", sup2, "/corrections/" + correction + "/approve", `{"digest":"00"}`, billing.CodeStale, "preview"},

		// Adjustments.
		{"an error of nothing", sup, "/adjustments", wired("0", "2026-10-01"), input, "0 percent changes nothing"},
		{"what can't be reckoned back", sup, "/adjustments", wired("-100", "2026-10-01"), input, "can't be reckoned with"},
		{"a fault in the future", sup, "/adjustments", wired("5", "2026-10-09"), input, "2026-10-09 lies in the future"},
		{"days that aren't billed", sup, "/adjustments", wired("5", "2026-10-02"), blocked, "covers 2026-10-01: the customer pays as read first"},
		{"the same time again", sup, "/adjustments", wired("5", "2026-10-01"), conflict, "adjusted once"},
		{"a fault that ends before it begins", sup, "/adjustments", `{"kind":"other_fault","meter":"` + meter + `","corrected":"2026-09-20","since":"2026-09-25","normal_month":"2026-08","reason":"stuck"}`, input, "ends (2026-09-20) before it begins (2026-09-25)"},
		{"a meter without a test", sup, "/adjustments", `{"kind":"meter_error","meter":"` + meter + `","corrected":"2026-10-01","reason":"fast"}`, input, "no test of meter " + meter},
		{"a test in the future", sup, "/meters/" + meter + "/tests", `{"tested_on":"2026-10-09","error_percent":"2.5","certificate":"JD-1"}`, input, "future"},
		{"one's own adjustment", sup, "/adjustments/" + adjustment + "/reject", `{"reason":"my own"}`, billing.CodeSelfApproval, "withdraw it instead"},
		{"an undo of what isn't booked", sup, "/adjustments/" + adjustment + "/undo", `{"reason":"a mistake"}`, blocked, "isn't booked"},
		{"an undo of nothing", sup, "/adjustments/J404/undo", `{"reason":"a mistake"}`, billing.CodeNotFound, "there is no adjustment J404"},

		// Payment plans.
		{"a plan ended by one colleague twice", sup, "/payment-plans/Y1/end", ended(sup2, sup2), billing.CodeSelfApproval, "takes three persons"},
		{"a plan ended with oneself", sup, "/payment-plans/Y1/end", ended(sup2, sup), billing.CodeSelfApproval, "colleague"},
		{"a plan ended with a clerk", sup, "/payment-plans/Y1/end", ended(sup2, clerk), billing.CodeForbidden, "may not decide on payment plans"},
		{"a proposed plan settled", sup, "/payment-plans/Y1/settle", `{"reason":"he pays"}`, closed, "payment plan Y1 is proposed: nothing was changed"},
		{"a plan that isn't there", sup, "/payment-plans/Y7/approve", ``, billing.CodeNotFound, "there is no payment plan Y7"},
		{"a clerk's approval of a plan", clerk, "/payment-plans/Y1/approve", ``, billing.CodeForbidden, "may not decide on payment plans"},

		// Holds.
		{"a hold of nothing", clerk, "/accounts/1001/holds", place("0", far), input, "more than zero"},
		{"a negative hold", clerk, "/accounts/1001/holds", place("-1", far), input, "more than zero"},
		{"a hold beyond the credit", clerk, "/accounts/1001/holds", place("999999.00", far), blocked, "available"},
		{"a hold that has ended", clerk, "/accounts/1001/holds", place("1.00", "2026-09-01T00:00:00Z"), input, "would have ended already"},
		{"a payment that nobody approved", sup, "/holds/" + hold + "/post", `{"amount":"1.00","channel":"transfer","reason":"paid"}`, blocked, "Nobody has approved hold " + hold},
		{"a payment beyond the hold", sup, "/holds/" + hold + "/post", `{"amount":"100.01","channel":"transfer","reason":"paid"}`, input, "keeps back 100.00 yuan"},
		{"a clerk's approval of a hold", clerk, "/holds/" + hold + "/approve", `{"reason":"checked"}`, billing.CodeForbidden, "may not"},

		// Late fees.
		{"a negative late fee", admin, "/sites/compound/late-fees", lateRule(`"household":"0.001"`, `"household":"-0.001"`), input, "household of the late-fee rule: A share of -0.001 a day can't be"},
		{"a late fee without a field", admin, "/sites/compound/late-fees", lateRule(`,"waive_fen":5000`, ``), input, "The late-fee rule lacks waive_fen"},
		{"a negative ceiling", admin, "/sites/compound/late-fees", lateRule(`"waive_fen":5000`, `"waive_fen":-1`), input, "waive_fen of the late-fee rule"},
		{"a late fee of billed days", admin, "/sites/compound/late-fees", lateRule(`2027-01-01`, `2026-09-15`), conflict, "are billed already"},
		{"one's own late fee", admin, "/sites/compound/late-fees/1/approve", ``, billing.CodeForbidden, "may not"},
		{"a late fee that nobody proposed", manager, "/sites/compound/late-fees/9/approve", ``, billing.CodeNotFound, "There is no late-fee rule 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Unchanged(t, func() {
				refused(t, people[c.who].JSON(http.MethodPost, "/api/v1"+c.path, c.body), api.StatusOf(billing.Errorf(c.code, "x")), c.code, c.sentence)
			})
		})
	}
}
