package document

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
)

var update = flag.Bool("update", false, "write the golden texts anew")

var zone = time.FixedZone("Asia/Shanghai", 8*60*60)

func options(l Language) Options {
	return Options{
		Lang: l, Printed: time.Date(2026, 10, 2, 1, 30, 0, 0, time.UTC),
		Site: store.Site{ID: "garden", NameZH: "翠园小区", NameEN: "Garden", Zone: zone},
	}
}

// theBill is a bill with two steps, an exchange of the meter, and a name that GB 2312 can't write.
func theBill() store.BillSheet {
	from, to := billing.MustDate("2026-09-01").Start(zone), billing.MustDate("2026-10-01").Start(zone)
	changed, issued := billing.MustDate("2026-09-15").Start(zone).Add(10*time.Hour), to.Add(12*time.Hour)
	opening, closing := int64(123_456), int64(153_456)
	line := func(seq, tier int, quantity, price string, fen billing.Money) store.BillLine {
		return store.BillLine{
			Seq: seq, Component: "energy", NameZH: "电度电费", NameEN: "Energy", Register: billing.Total, Tier: tier, FromAt: from, ToAt: to, Opening: &opening, Closing: &closing,
			Quantity: billing.MustQuantity(quantity), Price: billing.MustPrice(price), AmountFen: fen,
		}
	}
	return store.BillSheet{
		Bill: store.Bill{
			ID: "B100123-202609-1", Run: "garden/2026-09/1", Site: "garden", Account: "100123", Service: billing.Power, PeriodFrom: billing.MustDate("2026-09-01"),
			PeriodTo: billing.MustDate("2026-10-01"), Version: 1, State: billing.BillIssued, Quantity: 123_000, TotalFen: 68_654, ChargedFen: 66_500,
			Readings: []byte(fmt.Sprintf(`[{"meter":"M-00017","ratio":1,"digits":8,"from":%q,"to":%q,"opening":[123456,0,123456,0,0,0],"closing":[153456,0,153456,0,0,0]},
				{"meter":"M-00099","ratio":1,"digits":8,"from":%q,"to":%q,"opening":[0],"closing":[93000],"estimated":true}]`,
				from.Format(time.RFC3339), changed.Format(time.RFC3339), changed.Format(time.RFC3339), to.Format(time.RFC3339))),
		},
		Customer: "诸葛喆堃", Address: "翠园小区 3 幢 2 单元 1502 室", TariffZH: "浙江居民阶梯电价", TariffEN: "Zhejiang residential steps", IssuedAt: &issued, BalanceFen: -2_154,
		Lines: []store.BillLine{line(1, 1, "1000", "0.538", 53_800), line(2, 2, "230", "0.588", 13_524), line(3, 0, "1230", "0.01081", 1_330)},
	}
}

func bills(list ...store.BillSheet) iter.Seq2[store.BillSheet, error] {
	return func(yield func(store.BillSheet, error) bool) {
		for _, b := range list {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// tool runs a program of poppler on a file; without it the test fails.
func tool(t *testing.T, pdf []byte, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pdf")
	require.NoError(t, os.WriteFile(path, pdf, 0o600))
	out, err := exec.Command(name, append(args, path, "-")...).CombinedOutput()
	require.NoError(t, err, "%s: %s; install poppler-utils", name, out)
	return string(out)
}

// text is what a reader finds in a file, in the order of the page.
func text(t *testing.T, pdf []byte) string {
	return tool(t, pdf, "pdftotext", "-layout", "-enc", "UTF-8")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run with -update if the paper is meant to have changed")
}

func TestBills_golden(t *testing.T) {
	for _, l := range []Language{ZH, EN} {
		for _, paper := range []Paper{A4, Roll} {
			var out bytes.Buffer
			o := options(l)
			o.Paper = paper
			require.NoError(t, Bills(&out, o, "x", bills(theBill())))
			golden(t, "bill-"+string(l)+"-"+string(paper)+".txt", text(t, out.Bytes()))
			keepPicture(t, out.Bytes(), "bill-"+string(l)+"-"+string(paper))
		}
	}
}

// A bill says of each tax that was in force on its last day its rate, its invoice and when it arises.
func TestBills_taxes(t *testing.T) {
	b := theBill()
	b.Input = []byte(`{"tariff": {"id": "t", "versions": [
			{"from": "2026-01-01", "components": [{"key": "vat", "kind": "tax", "name": {"zh": "增值税", "en": "VAT"}, "rate": "0.13", "inclusive": true, "invoice": "专票"}]},
			{"from": "2026-10-01", "components": [{"key": "vat", "kind": "tax", "name": {"zh": "增值税", "en": "VAT"}, "rate": "0.09"}]}]},
		"terms": [{"from": "2026-01-01"}, {"from": "2026-09-20", "tariff": {"id": "u", "versions": [
			{"from": "2026-01-01", "components": [{"key": "vat", "kind": "tax", "name": {"zh": "增值税", "en": "VAT"}, "rate": "0.03", "invoice": "普票", "tax_point": "recharge"}]}]}}, {"from": "2026-10-01"}]}`)
	for _, paper := range []Paper{A4, Roll} {
		var out bytes.Buffer
		o := options(ZH)
		o.Paper = paper
		require.NoError(t, Bills(&out, o, "x", bills(b)))
		require.Contains(t, text(t, out.Bytes()), "税率 0.03，价外 · 发票：普票 · 纳税时点：收款", paper)
	}
	b.Input = bytes.ReplaceAll(b.Input, []byte("2026-09-20"), []byte("2026-10-20"))
	var out bytes.Buffer
	require.NoError(t, Bills(&out, options(EN), "x", bills(b)))
	require.Contains(t, text(t, out.Bytes()), "rate 0.13, in the prices · invoice: 专票 · arises when the bill is issued")
}

// keepPicture puts a file where somebody may look at it, when METERFLOW_KEEP_PAPERS names a folder.
func keepPicture(t *testing.T, pdf []byte, name string) {
	t.Helper()
	if dir := os.Getenv("METERFLOW_KEEP_PAPERS"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".pdf"), pdf, 0o600))
	}
}

func TestBills_copiesNameWhose(t *testing.T) {
	var out bytes.Buffer
	o := options(ZH)
	o.Copies = 2
	held := theBill()
	held.State, held.IssuedAt = billing.BillHeld, nil
	require.NoError(t, Bills(&out, o, "x", bills(held)))
	got := text(t, out.Bytes())
	require.Equal(t, 2, strings.Count(got, "电费账单"))
	require.Contains(t, got, "第一联 用户联")
	require.Contains(t, got, "第二联 存档联")
	require.Contains(t, got, "暂缓发行，非正式账单", "nobody may take it for a bill")
}

func TestBills_anErrorOfTheReaderEndsIt(t *testing.T) {
	var out bytes.Buffer
	broken := func(yield func(store.BillSheet, error) bool) {
		_ = yield(theBill(), nil) && yield(store.BillSheet{}, io.ErrUnexpectedEOF)
	}
	require.ErrorIs(t, Bills(&out, options(ZH), "x", broken), io.ErrUnexpectedEOF)
	require.NotContains(t, out.String(), "%%EOF", "half a file is no file")
	require.NoError(t, Bills(io.Discard, options(ZH), "x", bills()), "a run without bills has an empty file")
}

func payments(n int) func() iter.Seq2[store.PaymentRow, error] {
	return func() iter.Seq2[store.PaymentRow, error] {
		return func(yield func(store.PaymentRow, error) bool) {
			for i := range n {
				p := store.PaymentRow{
					Bill: billing.BillID(fmt.Sprintf("B%06d-202609-1", i)), Account: billing.AccountID(fmt.Sprintf("%06d", i)), Customer: "欧阳明月", Address: fmt.Sprintf("翠园小区 %d 室", i),
					Service: billing.Power, Quantity: 12_345, TotalFen: 6_642, ChargedFen: 6_500, BalanceFen: billing.Money(1000 - 600*i),
				}
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

func TestPaymentList_twoCopies(t *testing.T) {
	run := store.RunRow{Run: store.Run{ID: "garden/2026-09/1", PeriodFrom: billing.MustDate("2026-09-01"), PeriodTo: billing.MustDate("2026-10-01")}, VerifiedName: "孙丽华", IssuedName: "周建国"}
	for _, l := range []Language{ZH, EN} {
		var out bytes.Buffer
		o := options(l)
		o.Copies = 2
		require.NoError(t, PaymentList(&out, o, run, payments(4)))
		golden(t, "payment-list-"+string(l)+".txt", text(t, out.Bytes()))
		keepPicture(t, out.Bytes(), "payment-list-"+string(l))
	}
}

func TestCounterList_threeCopies(t *testing.T) {
	c := store.Counter{
		Account: store.AccountRow{Account: store.Account{ID: "100123", Service: billing.Power}, Name: "诸葛喆堃", Address: "翠园小区 3 幢 1502 室", Balance: 34_000},
		Month:   billing.MonthPeriod(billing.MustDate("2026-09-01")), Bills: []store.BillSheet{theBill()},
		Paid: []store.Paid{{ID: "R1", At: time.Date(2026, 9, 12, 2, 0, 0, 0, time.UTC), Channel: "cash", AmountFen: 20_000, Receipt: "RC-000123"}},
	}
	for _, paper := range []Paper{A4, Roll} {
		var out bytes.Buffer
		o := options(ZH)
		o.Copies, o.Paper = 3, paper
		require.NoError(t, CounterList(&out, o, c))
		golden(t, "counter-list-"+string(paper)+".txt", text(t, out.Bytes()))
		keepPicture(t, out.Bytes(), "counter-list-"+string(paper))
	}
}

func TestAccountStatement(t *testing.T) {
	raw := func(v int64) *int64 { return &v }
	st := store.Statement{
		Account: store.AccountRow{Account: store.Account{ID: "100123", Service: billing.Power}, Name: "诸葛喆堃", Address: "翠园小区 3 幢 1502 室", TariffZH: "浙江居民阶梯电价", Balance: 34_000},
		Period:  billing.MonthPeriod(billing.MustDate("2026-09-01")), Bills: []store.BillSheet{theBill()},
		Months: []store.UseRow{{Service: billing.Power, From: billing.MustDate("2026-09-01"), To: billing.MustDate("2026-10-01"), Meter: "M-00017", Ratio: 1, Opening: raw(123_456),
			Closing: raw(246_456), Use: raw(123_000), Money: true, OpeningFen: 80_500, RechargedFen: 20_000, ChargedFen: 66_500, ClosingFen: 34_000}},
	}
	for d := range 30 {
		day := billing.MustDate("2026-09-01").AddDays(d)
		st.Days = append(st.Days, store.UseRow{Service: billing.Power, From: day, To: day.AddDays(1), Meter: "M-00017", Ratio: 1, Opening: raw(123_456 + int64(d)*4100),
			Closing: raw(123_456 + int64(d+1)*4100), Use: raw(4100), Money: true, ChargedFen: 2_216})
	}
	var out bytes.Buffer
	require.NoError(t, AccountStatement(&out, options(ZH), st))
	got := text(t, out.Bytes())
	for _, part := range []string{"账户对账单", "2026-09-30", "665.00", "1,234.56", "电费账单", "诸葛喆堃", "2026-09-30   M-00017"} {
		require.Contains(t, got, part)
	}
	keepPicture(t, out.Bytes(), "statement")
}

// Fonts are embedded with the used glyphs only: a bill is a small file that needs nothing of the reader.
func TestFonts_areEmbeddedAsSubsets(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Bills(&out, options(ZH), "九月账单", bills(theBill())))
	require.Less(t, out.Len(), 120<<10)
	path := filepath.Join(t.TempDir(), "x.pdf")
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
	listed, err := exec.Command("pdffonts", path).CombinedOutput()
	require.NoError(t, err, "%s", listed)
	require.Equal(t, 2, strings.Count(string(listed), "CID TrueType      Identity-H       yes yes yes"), "both fonts embedded, cut down, and with a way back to text: %s", listed)
	info, err := exec.Command("pdfinfo", path).CombinedOutput()
	require.NoError(t, err, "%s", info)
	require.Contains(t, string(info), "九月账单")
	require.NotContains(t, strings.ToLower(string(info)+string(listed)), "error")
}

// All bills of a run go into one file in bounded memory: ten times the pages take no more of it.
func TestBills_boundedMemory(t *testing.T) {
	many := func(n int) iter.Seq2[store.BillSheet, error] {
		b := theBill()
		return func(yield func(store.BillSheet, error) bool) {
			for range n {
				if !yield(b, nil) {
					return
				}
			}
		}
	}
	peak := func(n int) (most uint64) {
		var mem runtime.MemStats
		w := &meter{sample: func() {
			runtime.GC()
			runtime.ReadMemStats(&mem)
			most = max(most, mem.HeapAlloc)
		}}
		require.NoError(t, Bills(w, options(ZH), "x", many(n)))
		return most
	}
	few, lots := peak(200), peak(2000)
	require.Less(t, lots, few+(2<<20), "2,000 pages keep less than 2 MB more than 200: %d and %d bytes", lots, few)
}

// meter samples now and then what is kept while a file is written.
type meter struct {
	n      int
	next   int
	sample func()
}

func (m *meter) Write(b []byte) (int, error) {
	m.n += len(b)
	if m.n >= m.next {
		m.next = m.n + 400<<10
		m.sample()
	}
	return len(b), nil
}

func TestWords_inBothLanguages(t *testing.T) {
	for key, w := range words {
		if key == "state_" || key == "quality_" {
			continue
		}
		require.NotEmpty(t, w.zh, key)
		require.NotEmpty(t, w.en, key)
		require.Equal(t, strings.Count(w.zh, "%"), strings.Count(w.en, "%"), key)
	}
}

// Charges by the month and late fees rest on no register: they say their own unit, and with part of a month or a factor the arithmetic that gives the amount.
func TestBills_linesWithoutARegister(t *testing.T) {
	b := theBill()
	from, to := b.Lines[0].FromAt, b.Lines[0].ToAt
	b.Lines = append(b.Lines,
		store.BillLine{Seq: 4, Component: "capacity", NameZH: "容量电费", NameEN: "Capacity", FromAt: from, ToAt: to, Unit: "kVA", Quantity: billing.MustQuantity("630"), Price: billing.MustPrice("22"), Thirtieths: 14, AmountFen: 646_800},
		store.BillLine{Seq: 6, Component: "capacity", NameZH: "容量电费", NameEN: "Capacity", FromAt: from, ToAt: to, Unit: "kVA", Quantity: billing.MustQuantity("100"), Price: billing.MustPrice("22"), Factor: billing.MustFactor("0.5"), Thirtieths: 14, AmountFen: 51_333},
		store.BillLine{Seq: 5, Component: "late_fee", NameZH: "违约金（2026-07）", NameEN: "Late fee (2026-07)", FromAt: from, ToAt: to, Unit: "yuan", Quantity: billing.MustQuantity("100"), Price: billing.MustPrice("0.001"), Factor: billing.MustFactor("31"), AmountFen: 310})
	b.TotalFen += 698_443
	for _, paper := range []Paper{A4, Roll} {
		var out bytes.Buffer
		o := options(EN)
		o.Paper = paper
		require.NoError(t, Bills(&out, o, "x", bills(b)))
		shown := text(t, out.Bytes())
		for _, part := range []string{"630.00 kVA", "14/30", "6,468.00", "Late fee (2026-07)", "0.5×14/30", "100.00 CNY", "0.001", "31", "3.10"} {
			require.Contains(t, shown, part, "%s\n%s", paper, shown)
		}
		require.NotContains(t, shown, "…", "nothing is cut off")
		if paper == Roll {
			require.Contains(t, shown, "630.00 kVA × 22 × 14/30")
			require.Contains(t, shown, "100.00 CNY × 0.001 × 31")
		}
	}
}

// The statement of the period of a make-up says how it may be paid.
func TestBills_plans(t *testing.T) {
	b := theBill()
	b.Plans = []store.PaymentPlan{{ID: "Y100123-20260910", TotalFen: 300_00, PartFen: 50_25, Outstanding: 249_75}, {ID: "Y-rejected", State: billing.PlanRejected}, {ID: "Y-cancelled", State: billing.PlanCancelled}}
	for _, paper := range []Paper{A4, Roll} {
		for l, word := range map[Language]string{EN: "plan Y100123-20260910", ZH: "分期 Y100123-20260910"} {
			var out bytes.Buffer
			o := options(l)
			o.Paper = paper
			require.NoError(t, Bills(&out, o, "x", bills(b)))
			read := text(t, out.Bytes())
			for _, shown := range []string{word, "300.00", "50.25", "249.75", "686.54"} {
				require.Contains(t, read, shown)
			}
			require.NotContains(t, read, "Y-", "what is due at once is paid by no plan")
		}
	}
}

// The statement of the period in which a fault was made good shows how it was reckoned, and keeps it out of the bill's total.
func TestBills_adjustments(t *testing.T) {
	b := theBill()
	line := store.AdjustedLine{Bill: "B100123-202608-1", NameZH: "电度电费", NameEN: "Energy", Tier: 2, FromAt: billing.MustDate("2026-08-01").Start(zone), ToAt: billing.MustDate("2026-09-01").Start(zone),
		Price: billing.MustPrice("0.588"), Factor: billing.MustFactor("1"), BilledQuantity: billing.MustQuantity("280"), TrueQuantity: billing.MustQuantity("276.59"), BilledFen: 164_64, TrueFen: 162_63}
	b.Adjustments = []store.StatedAdjustment{{Adjustment: store.Adjustment{ID: "J20260910-0001", TotalFen: -2_01}, Lines: []store.AdjustedLine{line}}}
	back := line
	back.BilledQuantity, back.TrueQuantity, back.BilledFen, back.TrueFen = line.TrueQuantity, line.BilledQuantity, line.TrueFen, line.BilledFen
	b.Adjustments = append(b.Adjustments, store.StatedAdjustment{Adjustment: store.Adjustment{ID: "J20260912-0003", Undoes: "J20260910-0001", TotalFen: 2_01}, Lines: []store.AdjustedLine{back}})
	for _, paper := range []Paper{A4, Roll} {
		for l, words := range map[Language][]string{EN: {"Fault adjustment J20260910-0001", "Fault adjustment J20260912-0003", "Undoes fault adjustment J20260910-0001", "280.00", "276.59", "0.588", "-2.01"}, ZH: {"计量退补 J20260910-0001", "撤销计量退补 J20260910-0001", "不含在本账单"}} {
			var out bytes.Buffer
			o := options(l)
			o.Paper = paper
			require.NoError(t, Bills(&out, o, "x", bills(b)))
			read := strings.ReplaceAll(text(t, out.Bytes()), "−", "-")
			for _, word := range words {
				require.Contains(t, read, word)
			}
			require.Contains(t, read, "686.54", "the bill's own total stays")
		}
	}
}
