// Keys, row clicks, confirmations and the age of a live page. Every page reads and decides without this file.
(() => {
  'use strict';
  const $ = (sel, from = document) => from.querySelector(sel);
  const $$ = (sel, from = document) => [...from.querySelectorAll(sel)];
  document.documentElement.classList.add('js');

  // Lists: j and k move, enter opens, x selects. The row in hand has the class "at" and the focus of its link.
  const rows = () => $$('[data-list] [data-row]').filter((row) => row.offsetParent !== null);
  const at = () => $('[data-row].at');
  const goTo = (row) => {
    if (!row) return;
    at()?.classList.remove('at');
    row.classList.add('at');
    ($('a.row-link', row) || $('input', row))?.focus({ preventScroll: true });
    row.scrollIntoView({ block: 'nearest' });
  };
  const step = (by) => {
    const all = rows();
    const here = all.indexOf(at());
    goTo(here < 0 ? all[0] : all[here + by]);
  };
  const pick = () => {
    const box = at() && $('input[name="id"]', at());
    if (box) { box.checked = !box.checked; box.dispatchEvent(new Event('change', { bubbles: true })); }
  };
  const typing = (el) => el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) && !/^(checkbox|radio)$/.test(el.type);

  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === 'Escape') {
      $$('details.menu[open]').forEach((d) => { d.open = false; });
      if (typing(e.target)) e.target.blur();
      return;
    }
    if (typing(e.target)) return;
    if (e.key === '/' && $('[data-trace]')) {
      e.preventDefault();
      $('[data-trace]').focus();
      $('[data-trace]').select();
      return;
    }
    const act = { j: () => step(1), k: () => step(-1), x: pick }[e.key];
    if (act && rows().length) { e.preventDefault(); act(); return; }
    if (e.key === 'Enter' && e.target === document.body && at()?.dataset.href) { location.href = at().dataset.href; return; }
    const button = $$('[data-key]').find((b) => b.dataset.key === e.key && b.offsetParent !== null && !b.disabled);
    if (button) { e.preventDefault(); button.focus(); button.click(); }
  });
  document.addEventListener('focusin', (e) => {
    const row = e.target.closest?.('[data-row]');
    if (row && row !== at()) { at()?.classList.remove('at'); row.classList.add('at'); }
  });

  document.addEventListener('click', (e) => {
    $$('details.menu[open]').forEach((d) => { if (!d.contains(e.target)) d.open = false; });
    if (e.target.closest('[data-print]')) { window.print(); return; }
    // The whole row opens, unless something in it was meant or text is being selected.
    const row = e.target.closest('[data-row]');
    if (!row || !row.dataset.href || e.target.closest('a,button,input,label,summary') || String(getSelection())) return;
    if (e.ctrlKey || e.metaKey) window.open(row.dataset.href, '_blank', 'noopener');
    else location.href = row.dataset.href;
  });

  // A question once more, and one click only: a second one would be a second decision.
  document.addEventListener('submit', (e) => {
    const ask = e.submitter?.dataset.confirm;
    if (ask && !window.confirm(ask)) { e.preventDefault(); return; }
    if (e.target.method !== 'post') return;
    if (e.target.dataset.sent) { e.preventDefault(); return; }
    e.target.dataset.sent = '1';
  });
  window.addEventListener('pageshow', () => $$('form[data-sent]').forEach((f) => delete f.dataset.sent));

  // Selection: the count, and one box in the head for all.
  const count = (form) => {
    const n = $$('input[name="id"]:checked', form).length;
    const label = $('[data-bulk-count]', form);
    if (label) label.textContent = label.dataset.text.replace('{n}', n);
  };
  $$('form.bulk').forEach((form) => {
    const head = $('th.pick', form);
    if (head) {
      const all = document.createElement('input');
      all.type = 'checkbox';
      all.setAttribute('aria-label', head.textContent.trim());
      all.addEventListener('change', () => {
        $$('input[name="id"]', form).forEach((box) => { box.checked = all.checked; });
        count(form);
      });
      head.append(all);
    }
    form.addEventListener('change', () => count(form));
    count(form);
  });

  // A table wider than the page scrolls by itself; its head can't stick then.
  const fit = () => $$('.table-wrap').forEach((wrap) => {
    wrap.classList.remove('scrolls');
    wrap.classList.toggle('scrolls', wrap.scrollWidth > wrap.clientWidth + 1);
  });
  window.addEventListener('resize', fit);
  document.addEventListener('htmx:afterSettle', fit);
  fit();

  // Choosing in a filter applies it.
  $$('form.filter select').forEach((s) => s.addEventListener('change', () => s.form.requestSubmit()));

  // Live regions say how old they are once the stream is gone; the age is real time, not the business clock's.
  $$('[data-live]').forEach((live) => {
    let last = Date.now();
    let broken = false;
    const stale = $('[data-stale]', live);
    live.addEventListener('htmx:sseMessage', () => { last = Date.now(); });
    live.addEventListener('htmx:sseOpen', () => { broken = false; });
    live.addEventListener('htmx:sseError', () => { broken = true; });
    setInterval(() => {
      stale.hidden = !broken;
      if (broken) stale.textContent = stale.dataset.text.replace('{n}', Math.round((Date.now() - last) / 1000));
    }, 1000);
  });
})();
