package auth

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meterflow/meterflow/internal/billing"
)

func person(role billing.Role) Actor {
	return Actor{UserID: billing.UserID("u-" + string(role)), Name: "N", Role: role, Sites: []billing.SiteID{"river"}}
}

// The whole table once more, written down by hand: a change of who may do what has to be made twice.
func TestCan_everyRoleAndAction(t *testing.T) {
	want := map[billing.Role]string{
		supervisor:    "approve_adjustment approve_correction approve_tariff check_round close_day control_clock decide_exception decide_plan enter_reading exchange_meter issue_run make_adjustment make_correction order_restore plan_round protect push_prices record_meter_test see_rounds settle_hold simulate_tariff start_cycle start_run stop_cuts verify_run view waive_late_fee work_batch",
		clerk:         "approve_recharge enter_recharge place_hold see_rounds view",
		manager:       "approve_adjustment approve_correction approve_tariff close_day control_clock decide_plan end_protection order_cut order_restore protect push_prices see_rounds set_ceiling settle_hold simulate_tariff start_cycle stop_commands stop_cuts verify_journal view work_batch",
		administrator: "allow_commands control_clock edit_tariff manage_users master_data see_rounds simulate_tariff stop_commands verify_journal view",
		customer:      "view_own",
		reader:        "read_round see_rounds",
	}
	for _, role := range billing.Roles {
		var may []string
		for _, action := range Actions() {
			err := Can(person(role), action, "river")
			if err == nil {
				may = append(may, string(action))
				continue
			}
			require.Equal(t, billing.CodeForbidden, billing.CodeOf(err))
			require.Contains(t, err.Error(), "ask a ", "a refusal says who can")
		}
		require.Equal(t, want[role], strings.Join(may, " "), role)
	}
}

func TestCan_separationOfDuties(t *testing.T) {
	money := []Action{PlaceHold, SettleHold, WaiveLateFee, CloseDay, EnterRecharge, ApproveRecharge, VerifyRun, IssueRun, StartRun, DecideException, MakeCorrection, ApproveCorrection, MakeAdjustment, ApproveAdjustment, DecidePlan}
	for _, action := range money {
		require.Error(t, Can(person(administrator), action, "river"), "an administrator touches no money: %s", action)
	}
	for _, role := range billing.Roles {
		drafts := Can(person(role), EditTariff, "") == nil
		require.False(t, drafts && Can(person(role), ApproveTariff, "") == nil, "%s both drafts and approves prices", role)
		require.False(t, drafts && Can(person(role), SetCeiling, "") == nil, "%s both drafts prices and lifts what bounds them", role)
		takes := Can(person(role), EnterRecharge, "") == nil
		issues := Can(person(role), IssueRun, "") == nil
		require.False(t, takes && issues, "%s both takes in money and issues bills", role)
	}
}

func TestCan_siteAndNobody(t *testing.T) {
	err := Can(person(clerk), View, "plaza")
	require.Equal(t, billing.CodeForbidden, billing.CodeOf(err))
	require.Equal(t, "You do not work for site plaza; ask an administrator to add it to you.", err.Error())
	require.NoError(t, Can(person(clerk), View, ""))

	require.Equal(t, billing.CodeUnauthenticated, billing.CodeOf(Can(Actor{}, View, "river")))
	require.Equal(t, billing.CodeUnauthenticated, billing.CodeOf(Can(FromContext(context.Background()), View, "")))
	require.Equal(t, billing.CodeForbidden, billing.CodeOf(Can(person(manager), "invented", "river")))
	require.Equal(t, billing.CodeForbidden, billing.CodeOf(Can(Actor{UserID: "u", Role: "invented"}, View, "")))
}

func TestCanSeeAccount(t *testing.T) {
	li := person(customer)
	li.Customer = "c-li"
	require.NoError(t, CanSeeAccount(li, "river", "c-li"))
	require.Equal(t, billing.CodeNotFound, billing.CodeOf(CanSeeAccount(li, "river", "c-wang")))
	li.Customer = ""
	require.Error(t, CanSeeAccount(li, "river", ""), "a customer without a customer number sees nothing")
	require.NoError(t, CanSeeAccount(person(clerk), "river", "c-wang"))
	require.Equal(t, billing.CodeForbidden, billing.CodeOf(CanSeeAccount(person(clerk), "plaza", "c-wang")))
}

func TestCanOrderCut_protection(t *testing.T) {
	require.NoError(t, CanOrderCut(person(manager), "river", false))
	require.Equal(t, billing.CodeBlocked, billing.CodeOf(CanOrderCut(person(manager), "river", true)))
	require.Equal(t, billing.CodeForbidden, billing.CodeOf(CanOrderCut(person(clerk), "river", true)))
}

func TestMakerAndCheckers(t *testing.T) {
	zhang := Actor{UserID: "zhang", Role: clerk}
	require.Equal(t, billing.CodeSelfApproval, billing.CodeOf(NotMaker(zhang, "zhang")))
	require.NoError(t, NotMaker(zhang, "wang"))
	require.Equal(t, billing.CodeAlreadyApproved, billing.CodeOf(NotAgain(zhang, "wang", "zhang")))
	require.NoError(t, NotAgain(zhang, "wang"))
	require.NoError(t, NotAgain(zhang))
}

func TestContext(t *testing.T) {
	ctx := WithActor(context.Background(), person(clerk))
	require.Equal(t, person(clerk), FromContext(ctx))
	require.True(t, slices.Contains(FromContext(ctx).Sites, "river"))
}

func TestPassword(t *testing.T) {
	hash, err := HashPassword("correct horse")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"))
	again, err := HashPassword("correct horse")
	require.NoError(t, err)
	require.NotEqual(t, hash, again, "each hash has its own salt")

	require.NoError(t, CheckPassword("correct horse", hash))
	wrong := CheckPassword("wrong horse", hash)
	require.Equal(t, billing.CodeUnauthenticated, billing.CodeOf(wrong))
	unknown := CheckPassword("nobody signs in with this", "")
	require.Equal(t, billing.CodeUnauthenticated, billing.CodeOf(unknown), "even the stand-in's password opens nothing")
	require.Equal(t, wrong.Error(), unknown.Error(), "the refusal doesn't tell whether the name exists")
	require.Equal(t, billing.CodeUnauthenticated, billing.CodeOf(CheckPassword(strings.Repeat("a", 1_000_000), hash)))
	require.Equal(t, billing.CodeInternal, billing.CodeOf(CheckPassword("correct horse", "no hash")))

	for _, bad := range []string{"", "seven77", strings.Repeat("密", MaxPassword+1)} {
		_, err := HashPassword(bad)
		require.Equal(t, billing.CodeInvalidInput, billing.CodeOf(err))
	}
	_, err = HashPassword("电表电表电表电表")
	require.NoError(t, err, "characters are counted, not bytes")
}
