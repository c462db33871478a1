// What every page needs: notes that come and go, questions before grave steps, one submit per click, the service worker.
(() => {
  "use strict";
  const toasts = document.getElementById("toasts");

  function note(level, text) {
    const box = document.createElement("div");
    box.className = `toast-note toast-${level}`;
    const words = document.createElement("span");
    words.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn-close";
    close.setAttribute("aria-label", toasts.dataset.close);
    box.append(words, close);
    if (level === "success" || level === "info") box.dataset.fade = "";
    toasts.append(box);
    fade(box);
  }
  function fade(box) {
    if ("fade" in box.dataset) window.setTimeout(() => box.remove(), 7000);
  }
  if (toasts) {
    toasts.querySelectorAll("[data-fade]").forEach(fade);
    toasts.addEventListener("click", (event) => {
      if (event.target.matches(".btn-close")) event.target.closest(".toast-note").remove();
    });
    document.body.addEventListener("toasts", (event) => {
      const list = event.detail.value || event.detail;
      (Array.isArray(list) ? list : []).forEach((one) => note(one.level, one.text));
    });
    const words = (id) => document.getElementById(id).content.textContent;
    document.body.addEventListener("htmx:responseError", (event) => {
      if (event.detail.xhr.status === 401) window.location.reload();
      else note("error", `${words("failed-text")} (${event.detail.xhr.status} ${event.detail.xhr.getResponseHeader("X-Request-Id") || ""})`);
    });
    let told = 0;
    document.body.addEventListener("htmx:sendError", () => {
      if (Date.now() - told < 15000) return; // a live page would say it again and again
      told = Date.now();
      note("warning", words("offline-text"));
    });
  }

  // Questions: hx-confirm on htmx elements, data-confirm on plain forms and buttons.
  const dialog = document.getElementById("confirm");
  function ask(text, go) {
    dialog.querySelector("#confirm-text").textContent = text;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => { if (dialog.returnValue === "yes") go(); }, { once: true });
    dialog.showModal();
  }
  if (dialog) {
    document.body.addEventListener("htmx:confirm", (event) => {
      if (!event.detail.question) return;
      event.preventDefault();
      ask(event.detail.question, () => event.detail.issueRequest(true));
    });
    document.addEventListener("submit", (event) => {
      const form = event.target;
      const text = (event.submitter && event.submitter.dataset.confirm) || form.dataset.confirm;
      if (!text || form.dataset.confirmed === "yes") return;
      event.preventDefault();
      event.stopImmediatePropagation();
      ask(text, () => {
        form.dataset.confirmed = "yes";
        form.requestSubmit(event.submitter);
        delete form.dataset.confirmed;
      });
    }, true);
  }

  // One submit per click: a second tap on a slow line must not send twice.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method === "dialog" || form.matches("[hx-post], [hx-get], [data-again]")) return;
    window.setTimeout(() => {
      form.querySelectorAll("button:not([type=button])").forEach((button) => {
        button.disabled = true;
        window.setTimeout(() => { button.disabled = false; }, 8000);
      });
    }, 0);
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("button[disabled]").forEach((button) => { button.disabled = false; });
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-print]");
    if (button) window.print();
  });

  if ("serviceWorker" in navigator && document.body.dataset.stream) {
    navigator.serviceWorker.register("/sw.js").catch(() => undefined); // plain http in an intranet: pages work without it
  }
})();
