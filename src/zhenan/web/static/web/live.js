// The live feed: elements with data-live="topic other" (or "*") get a "live" event when a topic moves; htmx elements
// then ask for themselves again (hx-trigger="live"). The connection exists only while the page is seen and listens.
(() => {
  "use strict";
  const url = document.body.dataset.stream;
  // An element asks again after LEAST_MS, or later where answers take long: a busy server is asked by everyone less often.
  const LEAST_MS = 500;
  const MOST_MS = 5000;
  const SHARE = 4; // of the time, at most one part in so many is spent waiting for an answer
  const LOST_AFTER_MS = 40000; // the server beats every 15 s
  const byId = new Map();
  const byElement = new WeakMap();
  let source = null;
  let last = 0;
  let wasLost = false;

  // What someone is filling in is never swapped away under their hands: the news is offered instead.
  function busy(element) {
    const active = document.activeElement;
    const typing = active && element.contains(active) && active.matches("input, textarea, select");
    return typing || element.querySelector("[data-touched]") !== null;
  }
  function offer(element) {
    element.querySelectorAll("[data-live-news]").forEach((news) => { news.hidden = false; });
  }
  // An answer that was under way when someone began to fill in comes too late to be swapped in.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const asked = event.detail.requestConfig && event.detail.requestConfig.triggeringEvent;
    if (asked && asked.type === "live" && busy(event.detail.target)) {
      event.detail.shouldSwap = false;
      offer(event.detail.target);
    }
  });
  function touch(event) {
    const part = event.target.closest("form, details");
    if (part && part.closest("[data-live]")) part.dataset.touched = "1";
  }
  document.addEventListener("input", touch);
  document.addEventListener("change", touch);
  document.addEventListener("click", (event) => {
    if (event.target.closest("summary")) touch(event);
  });

  // When an element asked last. An answer puts another element with the same id in its place: it waits its turn too.
  function stateOf(element) {
    const [states, key] = element.id ? [byId, element.id] : [byElement, element];
    if (!states.has(key)) states.set(key, { at: 0, took: 0, timer: 0 });
    return states.get(key);
  }
  function refresh(seen) {
    const state = stateOf(seen);
    if (state.timer) return;
    const gap = Math.min(MOST_MS, Math.max(LEAST_MS, SHARE * state.took));
    const wait = Math.max(0, state.at + gap - Date.now());
    state.timer = window.setTimeout(() => {
      state.timer = 0;
      state.at = Date.now();
      const element = seen.isConnected ? seen : seen.id && document.getElementById(seen.id);
      if (!element) return;
      if (busy(element)) {
        offer(element);
      } else {
        element.dispatchEvent(new CustomEvent("live"));
      }
    }, wait);
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    const state = stateOf(event.detail.elt);
    if (state.at) state.took = Date.now() - state.at;
  });
  function spread(topic) {
    document.querySelectorAll("[data-live]").forEach((element) => {
      const topics = element.dataset.live.split(/\s+/);
      if (topic === "*" || topics.includes("*") || topics.includes(topic)) refresh(element);
    });
  }
  function show(live) {
    document.querySelectorAll("[data-feed-state]").forEach((box) => {
      box.hidden = false;
      box.classList.toggle("is-live", live);
      const text = box.querySelector("[data-feed-text]");
      text.textContent = live ? text.dataset.liveText : text.dataset.lostText;
    });
    document.body.classList.toggle("feed-lost", !live);
    if (live && wasLost) spread("*");
    wasLost = !live;
  }
  function beat() {
    last = Date.now();
    show(true);
    document.querySelectorAll("[data-feed-clock]").forEach((clock) => {
      clock.textContent = new Date().toLocaleTimeString("zh-CN", { hour12: false });
    });
  }
  function open() {
    if (source || !url || !document.querySelector("[data-live]")) return;
    source = new EventSource(url);
    last = Date.now();
    source.addEventListener("open", beat);
    source.addEventListener("beat", beat);
    source.addEventListener("change", (event) => {
      beat();
      spread(JSON.parse(event.data).topic);
    });
    source.addEventListener("error", () => {
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        window.setTimeout(open, 5000);
      }
      if (Date.now() - last > 3000) show(false);
    });
  }
  function close() {
    if (source) source.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) { open(); spread("*"); }
  });
  window.addEventListener("pagehide", close);
  window.setInterval(() => {
    if (source && Date.now() - last > LOST_AFTER_MS) {
      show(false);
      close();
      open();
    }
  }, 5000);
  open();
})();
