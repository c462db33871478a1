// Keyboard and choosing on list pages: "/" searches, j and k walk the rows, Enter opens, a click on a row opens it.
(() => {
  "use strict";
  const rows = () => [...document.querySelectorAll("#list-results tr[data-href]")];
  const typing = (el) => el.closest("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.getElementById("list-search");
    if (typing(event.target)) {
      if (event.key === "Escape") {
        event.preventDefault(); // else the browser empties the search, and the rows found are gone as one walks them
        event.target.blur();
      }
      return;
    }
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "j" || event.key === "k") {
      const all = rows();
      const at = all.indexOf(document.activeElement.closest("tr"));
      const next = all[Math.max(0, Math.min(all.length - 1, at + (event.key === "j" ? 1 : -1)))];
      if (next) {
        next.focus();
        next.scrollIntoView({ block: "nearest" });
      }
    } else if (event.key === "Enter" && event.target.matches("tr[data-href]")) {
      window.location.assign(event.target.dataset.href);
    }
  });

  // A list that is asked for again, as when the search is left, keeps the row that one stands on.
  let standing = null;
  document.addEventListener("htmx:beforeSwap", () => {
    const row = document.activeElement.closest("#list-results tr[data-href]");
    if (row && row === document.activeElement) standing = row.dataset.href;
  });
  document.addEventListener("htmx:afterSwap", () => {
    const row = standing && rows().find((one) => one.dataset.href === standing);
    standing = null;
    if (row && document.activeElement === document.body) row.focus();
  });

  document.addEventListener("click", (event) => {
    const row = event.target.closest("#list-results tr[data-href]");
    if (!row || event.target.closest("a, button, input, label, summary") || String(window.getSelection())) return;
    window.location.assign(row.dataset.href);
  });

  function showChosen() {
    const bar = document.querySelector("[data-bulk]");
    if (!bar) return;
    const picks = [...document.querySelectorAll("#list-bulk input[name=ids]")];
    const chosen = picks.filter((box) => box.checked).length;
    const all = bar.querySelector("input[name=all]");
    bar.hidden = chosen === 0 && !all.checked;
    const count = bar.querySelector("[data-bulk-count]");
    count.textContent = `${count.dataset.one}${chosen}`;
    const head = document.querySelector("[data-pick-all]");
    head.checked = chosen === picks.length && chosen > 0;
    head.indeterminate = chosen > 0 && chosen < picks.length;
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) {
      document.querySelectorAll("#list-bulk input[name=ids]").forEach((box) => { box.checked = event.target.checked; });
    }
    if (event.target.closest("#list-bulk")) showChosen();
  });
})();
