package page

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
)

func TestEveryCode_hasStatusAndTitle(t *testing.T) {
	en := locale.WithLang(context.Background(), locale.EN)
	for _, code := range billing.Codes {
		err := billing.Errorf(code, "why")
		require.GreaterOrEqual(t, Status(err), 400, code)
		require.Contains(t, titles, code)
		require.NotEqual(t, Title(context.Background(), err), Title(en, err), code)
	}
	require.Equal(t, http.StatusInternalServerError, Status(errors.New("inside")))
	require.NotContains(t, Sentence(en, errors.New("inside")), "inside")
}

func posted(values ...string) *http.Request {
	form := url.Values{}
	for i := 0; i+1 < len(values); i += 2 {
		form.Add(values[i], values[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_ = r.ParseForm()
	return r
}

func TestInput_collectsWhatIsWrong(t *testing.T) {
	in := Read(posted("amount", "12.345", "reason", " ", "n", "x", "day", "2026-02-30", "at", "soon", "pick", "c", "name", ""))
	in.Money("amount")
	in.Reason()
	in.Int("n")
	in.Day("day")
	in.Time("at", time.UTC)
	in.OneOf("pick", "a", "b")
	in.Required("name")
	var problems Problems
	require.ErrorAs(t, in.Err(), &problems)
	require.Len(t, problems, 7)
	require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(in.Err()))
}

func TestInput_readsWhatIsRight(t *testing.T) {
	zone := time.FixedZone("China", 8*3600)
	in := Read(posted("amount", " 12.34 ", "reason", " paid ", "n", "-3", "day", "2026-02-28", "at", "2026-02-28T08:15", "pick", "a", "nonce", "N"))
	require.Equal(t, billing.Money(1234), in.Money("amount"))
	require.Equal(t, "paid", in.Reason())
	require.Equal(t, int64(-3), in.Int("n"))
	require.Equal(t, "2026-02-28", in.Day("day").String())
	require.True(t, in.Time("at", zone).Equal(time.Date(2026, 2, 28, 0, 15, 0, 0, time.UTC)))
	require.Equal(t, "a", in.OneOf("pick", "a", "b"))
	require.Equal(t, "N", in.Nonce())
	require.NoError(t, in.Err())
}

func TestAmount_refusesWhatIsNoPayment(t *testing.T) {
	for _, text := range []string{"", "0", "0.00", "-1", "1.234", "1e2", "1,000", "一百", "99999999999999999999", "12.", ".5"} {
		_, err := Amount(text)
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err), text)
	}
}

func TestForm_givesBackWhatWasTyped(t *testing.T) {
	r := posted("amount", "12.345", "nonce", "N1")
	fresh := FormOf(r, "enter")
	require.False(t, fresh.Tried())
	require.Equal(t, "0.00", fresh.Value("amount", "0.00"))
	require.NotEmpty(t, fresh.Nonce().Value)
	require.Equal(t, http.StatusOK, status(r.Context()))

	problems := Problems{"amount": billing.Errorf(billing.CodeInvalidInput, "too many decimals")}
	ctx := context.WithValue(locale.WithLang(r.Context(), locale.EN), refusedKey{}, refused{action: "enter", typed: r.PostForm, err: problems})
	r = r.WithContext(ctx)
	tried := FormOf(r, "enter")
	require.Equal(t, "12.345", tried.Value("amount", "0.00"))
	require.Equal(t, "too many decimals", tried.Problem("amount"))
	require.Empty(t, tried.Error(), "the field says it")
	require.Equal(t, "N1", tried.Nonce().Value, "a form tried again is the same decision")
	require.False(t, FormOf(r, "other").Tried())
	require.Equal(t, http.StatusUnprocessableEntity, status(ctx))
}

func TestForm_numberAfterAnAnswer(t *testing.T) {
	for code, kept := range map[billing.Code]bool{
		billing.CodeUnavailable: true, billing.CodeInternal: true, // it may have been taken
		billing.CodeInvalidInput: false, billing.CodeInvalidReading: false, billing.CodeConflict: false,
	} {
		r := posted("value", "0.01", "nonce", "N1")
		err := billing.Errorf(code, "no")
		r = r.WithContext(context.WithValue(r.Context(), refusedKey{}, refused{action: "manual", typed: r.PostForm, err: err}))
		require.Equal(t, kept, FormOf(r, "manual").Nonce().Value == "N1", code)
	}
}

func TestList_livesInTheAddress(t *testing.T) {
	l := ListOf(httptest.NewRequest(http.MethodGet, "/recharges?state=entered&page=3&empty=", nil))
	require.Equal(t, 100, l.Offset())
	require.Equal(t, "/recharges?site=b&state=entered", l.Href("site", "b"))
	require.Equal(t, "/recharges", l.Href("state", ""))
	require.Equal(t, "/recharges", l.ClearHref("state"))
	require.Empty(t, l.ClearHref("site"))
	require.Empty(t, l.One("state", "credited"))
	p := l.Pager(50, 151)
	require.Equal(t, "/recharges?page=2&state=entered", p.PrevHref)
	require.Equal(t, "/recharges?page=4&state=entered", p.NextHref)
	require.Empty(t, l.Pager(1, 101).NextHref)
	require.Equal(t, 1, ListOf(httptest.NewRequest(http.MethodGet, "/x?page=-5", nil)).Page)
}

func TestLocal_staysOnThisSite(t *testing.T) {
	require.Equal(t, "/a?b=c", Local("/a?b=c"))
	for _, back := range []string{"", "a", "//evil", `/\evil`, "https://evil", "/a\nb"} {
		require.Equal(t, "/", Local(back), back)
	}
}

func TestNavigation_leadsEachRoleWhereItMayGo(t *testing.T) {
	ctx := context.Background()
	reads := auth.Actor{UserID: "u", Role: billing.RoleReader}
	require.NoError(t, auth.Can(reads, auth.SeeRounds, ""))
	require.Error(t, auth.Can(reads, auth.View, ""))
	require.Equal(t, []place{placeRounds}, places[billing.RoleReader], "a reader sees rounds, and no balances or last values")
	for role := range places {
		if role == billing.RoleReader {
			continue
		}
		require.NoError(t, auth.Can(auth.Actor{UserID: "u", Role: role}, auth.View, ""), role)
		items := navigation(ctx, role, store.Waiting{Cases: 2, OverdueCases: 1, Recharges: 3, RunsToVerify: 1, RunsToIssue: 1, Cuts: 4}, "/exceptions")
		require.GreaterOrEqual(t, len(items), 10)
		counts := map[string]int{}
		for _, item := range items {
			counts[item.Href] = item.Count
			require.Equal(t, item.Href == "/exceptions", item.Active)
		}
		require.Equal(t, map[string]int{"/exceptions": 2, "/runs": 2, "/recharges": 3, "/cutoffs": 4}, without0(counts), role)
	}
}

func without0(m map[string]int) map[string]int {
	kept := map[string]int{}
	for k, v := range m {
		if v != 0 {
			kept[k] = v
		}
	}
	return kept
}

func TestTimeline_namesOtherThingsAndHidesTheWorkflowAsActor(t *testing.T) {
	ctx := locale.WithLang(context.Background(), locale.EN)
	v := Timeline(ctx, "recharge", "R1", []store.Event{
		{Kind: "recharge", Entity: "R1", Event: "approved", From: "approved_once", To: "approved", Actor: "clerk2", ActorName: "刘收费", Data: []byte(`{"amount_fen":12345,"slip":"S 1"}`)},
		{Kind: "command", Entity: "D1", Event: "page_charged", To: "sending", Actor: "workflow", WorkflowID: "recharge/R1", Data: []byte(`{}`)},
		{Kind: "thing", Entity: "T", Event: "never_heard_of", From: "a", To: "a", Actor: "test"},
	})
	require.Len(t, v.Events, 3)
	require.Equal(t, "刘收费", v.Events[0].By)
	require.NotContains(t, v.Events[0].What, "R1", "the page is about it")
	var html strings.Builder
	require.NoError(t, v.Events[0].Detail.Render(ctx, &html))
	require.Contains(t, html.String(), "123.45")
	require.Contains(t, html.String(), "S 1")
	require.Empty(t, v.Events[1].By)
	require.Contains(t, v.Events[1].What, "Command D1")
	require.Equal(t, "/trace?q=recharge%2FR1", v.Events[1].WorkflowHref)
	require.Contains(t, v.Events[2].What, "never heard of", "an event without a word is shown as it is stored")
	require.Empty(t, v.Events[2].From, "nothing changed")
	require.Nil(t, v.Events[1].Detail)
}
