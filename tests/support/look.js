// What is wrong with the page as it stands: cut off, unlabelled, nameless. Called by tests/test_pages_look.py.
() => {
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const tell = (e) => e.outerHTML.replace(/\s+/g, " ").slice(0, 160);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const labelledBy = (e) =>
    (e.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.innerText || "").join("");
  const own = (e) => e.getAttribute("aria-label") || e.getAttribute("title") || labelledBy(e);
  const inner = (e) => [...e.querySelectorAll("img[alt], [aria-label]")].map((x) => x.alt || x.getAttribute("aria-label")).join("");
  const name = (e) => (own(e) || e.innerText || inner(e) || "").trim();
  const scrolled = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement) {
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(p).overflowX)) return true;
    }
    return false;
  };
  const wide = document.documentElement.scrollWidth;
  const asksNothing = ["hidden", "submit", "button", "reset", "image"];
  // Fields that lie over each other: one cannot be read or reached.
  const fields = all("form input, form select, form textarea")
    .filter((e) => shown(e) && !["hidden", "checkbox", "radio", "range"].includes(e.type))
    .map((e) => [e, e.getBoundingClientRect()]);
  const covers = ([, a], [, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  const ids = all("[id]").map((e) => e.id).filter(Boolean);
  return {
    lang: document.documentElement.lang,
    headings: all("h1").filter(shown).length,
    overBy: wide - innerWidth,
    over: wide <= innerWidth + 1 ? [] : all("body *")
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && shown(e) && !scrolled(e)).slice(-3).map(tell),
    unlabelled: all("input, select, textarea")
      .filter((e) => shown(e) && !asksNothing.includes(e.type) && !e.labels?.length && !own(e)).map(tell),
    nameless: all("button, a[href], [role=button]").filter((e) => shown(e) && !name(e)).map(tell),
    pictures: all("img:not([alt])").map(tell),
    covered: fields.filter((one, at) => fields.some((other, n) => n > at && covers(one, other))).map(([e]) => tell(e)),
    twice: ids.filter((id, at) => ids.indexOf(id) !== at),
  };
};
