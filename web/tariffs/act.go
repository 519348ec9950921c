package tariffs

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/meterflow/meterflow/internal/auth"
	"github.com/meterflow/meterflow/internal/billing"
	"github.com/meterflow/meterflow/internal/store"
	"github.com/meterflow/meterflow/web/locale"
	"github.com/meterflow/meterflow/web/page"
	"github.com/meterflow/meterflow/workflows"
)

// maxText bounds the short texts of forms, in characters; maxFile an imported file, in bytes.
const (
	maxText = 120
	maxFile = 128 << 10
)

// decision reads what the forms of a change share.
func (h handler) decision(r *http.Request, action auth.Action, reasoned bool) (store.TariffChangeRow, workflows.DecideTariff, *page.Input, error) {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return c, workflows.DecideTariff{}, nil, err
	}
	if err := auth.Can(page.Actor(ctx), action, ""); err != nil {
		return c, workflows.DecideTariff{}, nil, err
	}
	in := page.Read(r)
	d := workflows.DecideTariff{By: page.Actor(ctx).UserID, Revision: int(in.Int("revision"))}
	if reasoned {
		d.Reason = in.Reason()
	}
	return c, d, in, in.Err()
}

func (h handler) submit(r *http.Request) (page.Done, error) {
	c, d, in, err := h.decision(r, auth.EditTariff, false)
	if err != nil {
		return page.Done{}, err
	}
	err = h.Workflows.SubmitTariff(r.Context(), c.ID, d, in.Nonce())
	return page.Done{To: changeHref(c.ID), Said: locale.T(r.Context(), "tariffs.submitted", string(c.ID))}, err
}

func (h handler) approve(r *http.Request) (page.Done, error) {
	c, d, in, err := h.decision(r, auth.ApproveTariff, false)
	if err != nil {
		return page.Done{}, err
	}
	if err := mayApprove(r.Context(), c); err != nil {
		return page.Done{}, err
	}
	said := locale.T(r.Context(), "tariffs.approved_once", string(c.ID))
	if c.State == billing.TariffApprovedOnce {
		said = locale.T(r.Context(), "tariffs.published", string(c.ID), c.From.String())
	}
	err = h.Workflows.ApproveTariff(r.Context(), c.ID, d, in.Nonce())
	return page.Done{To: changeHref(c.ID), Said: said}, err
}

func (h handler) reject(r *http.Request) (page.Done, error) {
	c, d, in, err := h.decision(r, auth.ApproveTariff, true)
	if err != nil {
		return page.Done{}, err
	}
	err = h.Workflows.RejectTariff(r.Context(), c.ID, d, in.Nonce())
	return page.Done{To: changeHref(c.ID), Said: locale.T(r.Context(), "tariffs.rejected", string(c.ID))}, err
}

func (h handler) withdraw(r *http.Request) (page.Done, error) {
	c, d, in, err := h.decision(r, auth.EditTariff, true)
	if err != nil {
		return page.Done{}, err
	}
	err = h.Workflows.WithdrawTariff(r.Context(), c.ID, d, in.Nonce())
	return page.Done{To: changeHref(c.ID), Said: locale.T(r.Context(), "tariffs.withdrawn", string(c.ID))}, err
}

func (h handler) simulate(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.SimulateTariff, ""); err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	s := workflows.SimulateTariff{By: page.Actor(ctx).UserID, Tariff: billing.TariffID(in.Text("tariff"))}
	if text := in.Text("sample"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1_000_000 {
			in.Refuse("sample", billing.Errorf(billing.CodeInvalidInput, "write a whole number of accounts from 1 on, or leave it empty for all"))
		}
		s.Sample = n
	}
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	_, err = h.Workflows.SimulateTariff(ctx, c.ID, s, in.Nonce())
	return page.Done{To: changeHref(c.ID) + "#simulation", Said: locale.T(ctx, "tariffs.simulating")}, err
}

func (h handler) push(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	c, err := h.changeOf(r)
	if err != nil {
		return page.Done{}, err
	}
	if err := auth.Can(page.Actor(ctx), auth.PushPrices, ""); err != nil {
		return page.Done{}, err
	}
	err = h.Workflows.PushPricesAgain(ctx, c.ID, page.Actor(ctx).UserID, page.Read(r).Nonce())
	return page.Done{To: changeHref(c.ID), Said: locale.T(ctx, "tariffs.pushing")}, err
}

// importFile begins a change from a file, uploaded or pasted.
func (h handler) importFile(r *http.Request) (page.Done, error) {
	ctx := r.Context()
	if err := auth.Can(page.Actor(ctx), auth.EditTariff, ""); err != nil {
		return page.Done{}, err
	}
	text, err := fileText(r)
	if err != nil {
		return page.Done{}, err
	}
	in := page.Read(r)
	why := reasonOf(in)
	if err := in.Err(); err != nil {
		return page.Done{}, err
	}
	file, err := billing.ParseTariff([]byte(text))
	if err != nil {
		in.Refuse("file", err)
		return page.Done{}, in.Err()
	}
	return h.begin(r, file, why)
}

// begin drafts a new change.
func (h handler) begin(r *http.Request, file billing.Tariff, why string) (page.Done, error) {
	ctx := r.Context()
	id, err := h.Store.NextTariffChangeID(ctx)
	if err != nil {
		return page.Done{}, err
	}
	if err := h.Workflows.DraftTariff(ctx, workflows.EditTariff{Change: id, By: page.Actor(ctx).UserID, File: file, Why: why}); err != nil {
		return page.Done{}, err
	}
	return page.Done{To: changeHref(id), Said: locale.T(ctx, "tariffs.drafted", string(id))}, nil
}

// reasonOf is the ground of a change: it stands in the journal.
func reasonOf(in *page.Input) string {
	why := in.Required("why")
	if utf8.RuneCountInString(why) > 500 {
		in.Refuse("why", billing.Errorf(billing.CodeInvalidInput, "the reason is too long: use at most 500 characters"))
	}
	return why
}

// fileText takes the uploaded file, or else what was pasted.
func fileText(r *http.Request) (string, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		if err := r.ParseMultipartForm(maxFile); err != nil {
			return "", billing.Errorf(billing.CodeInvalidInput, "the file can't be read, or is larger than 128 KiB: choose a tariff file")
		}
	}
	upload, _, err := r.FormFile("upload")
	if err != nil {
		return r.PostFormValue("file"), nil //nolint:nilerr // no file was chosen: what was pasted counts
	}
	defer upload.Close()
	data, err := io.ReadAll(io.LimitReader(upload, maxFile))
	if err != nil {
		return "", billing.Errorf(billing.CodeInvalidInput, "the file can't be read: choose it again")
	}
	if len(data) == 0 {
		return r.PostFormValue("file"), nil
	}
	r.PostForm.Set("file", string(data)) // a refusal shows it again
	return string(data), nil
}
