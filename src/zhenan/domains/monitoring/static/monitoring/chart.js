// Charts of a point: elements with data-series="URL" fetch their readings and draw them with the set-points, the
// onset, the raise and the clear. Drawn again when the live feed moves (data-live on the element). Buttons with
// data-span-hours in the same card choose another period; links with data-series-export follow it.
(() => {
  "use strict";
  const charts = new WeakMap();
  const ink = (name, fallback) => getComputedStyle(document.body).getPropertyValue(name).trim() || fallback;

  function lines(data) {
    const marks = (data.set_points || []).map((s) => ({
      yAxis: s.value, name: s.label,
      lineStyle: { color: s.colour, type: "dashed" },
      label: { formatter: `${s.label} ${s.value}`, position: "insideEndTop", color: s.colour },
    }));
    for (const t of data.times || []) {
      marks.push({ xAxis: t.at, lineStyle: { color: t.colour }, label: { formatter: t.label, color: t.colour } });
    }
    return marks;
  }
  // The set-points are always in sight: a reading is read against them.
  function span(data) {
    const values = data.points.map((p) => p[1]).concat((data.set_points || []).map((s) => s.value))
      .concat((data.band || []).flatMap((b) => [b[1], b[2]])).filter((v) => v !== null);
    if (!values.length) return {};
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b)), room = (high - low || Math.abs(high) || 1) * 0.08;
    const tidy = (v, up) => { const step = 10 ** Math.floor(Math.log10(room)); return (up ? Math.ceil(v / step) : Math.floor(v / step)) * step; };
    return { min: low >= 0 && low < high * 0.3 ? 0 : tidy(low - room, false), max: tidy(high + room, true) };
  }
  function told(data, found) {
    const line = (Array.isArray(found) ? found : [found]).find((f) => f.seriesType === "line");
    if (!line) return "";
    const [at, value] = line.value, number = (v) => (v === null || v === undefined ? "–" : `${+(+v).toPrecision(7)} ${data.unit}`);
    const stretch = (data.band || []).find((b) => b[0] === at);
    const text = `${new Date(at).toLocaleString(document.documentElement.lang)}<br>${number(value)}`;
    return echarts.format.encodeHTML(text).replace("&lt;br&gt;", "<br>") + (stretch ? `<br>${echarts.format.encodeHTML(`${number(stretch[1])} … ${number(stretch[2])}`)}` : "");
  }
  // The band from lowest to highest: one polygon an unbroken stretch, so that a gap stays open.
  function band(data) {
    const rows = data.band || [], usual = data.resolution === "day" ? 864e5 : 36e5, half = usual / 2;
    if (!rows.length) return [];
    return [{
      type: "custom", name: data.shown, data: rows, z: 1, clip: true, tooltip: { show: false }, dimensions: ["t", "low", "high"],
      encode: { x: 0, y: [1, 2] }, itemStyle: { color: ink("--tblr-primary", "#206bc4") },
      renderItem: (params, api) => {
        const a = api.coord([api.value(0) - half, api.value(2)]), b = api.coord([api.value(0) + half, api.value(1)]);
        return {
          type: "rect", shape: { x: a[0], y: a[1], width: Math.max(1, b[0] - a[0]), height: Math.max(1, b[1] - a[1]) },
          style: { fill: ink("--tblr-primary", "#206bc4"), opacity: 0.22 },
        };
      },
    }];
  }
  function options(data) {
    return {
      animation: false,
      aria: { enabled: true },
      grid: { left: 56, right: 24, top: 32, bottom: 56 },
      tooltip: { trigger: "axis", formatter: (found) => told(data, found) },
      dataZoom: [{ type: "inside" }, { type: "slider", height: 18, bottom: 8 }],
      xAxis: { type: "time", min: data.since, max: data.until },
      yAxis: { type: "value", scale: true, name: data.unit, nameTextStyle: { align: "left" }, ...span(data) },
      series: [...band(data), {
        type: "line", name: data.name, data: data.points, showSymbol: data.points.length < 120, symbolSize: 4,
        connectNulls: false, step: data.stepped ? "end" : false,
        lineStyle: { width: 1.5, color: ink("--tblr-primary", "#206bc4") }, itemStyle: { color: ink("--tblr-primary", "#206bc4") },
        markLine: { symbol: "none", silent: true, data: lines(data) },
      }],
    };
  }
  async function draw(box) {
    const state = box.querySelector("[data-chart-state]");
    try {
      const answer = await fetch(box.dataset.series, { headers: { Accept: "application/json" } });
      const data = await answer.json();
      if (!answer.ok) throw new Error(data.error || answer.status);
      if (state) state.textContent = !data.points.length ? box.dataset.none : data.resolution === "raw" ? "" : data.shown;
      const canvas = box.querySelector("[data-chart]");
      let chart = charts.get(canvas);
      if (!chart) {
        chart = echarts.init(canvas, null, { renderer: "canvas" });
        charts.set(canvas, chart);
        new ResizeObserver(() => chart.resize()).observe(canvas);
      }
      chart.setOption(options(data), true);
      box.dataset.drawn = String(data.points.length);
    } catch (error) {
      if (state) state.textContent = `${box.dataset.failed} (${error.message})`;
    }
  }
  function choose(button) {
    const card = button.closest(".card"), box = card && card.querySelector("[data-series]");
    if (!box) return;
    const until = new Date(), since = new Date(until - button.dataset.spanHours * 36e5);
    const period = `since=${encodeURIComponent(since.toISOString())}&until=${encodeURIComponent(until.toISOString())}`;
    box.dataset.series = `${box.dataset.series.split("?")[0]}?${period}`;
    card.querySelectorAll("[data-span-hours]").forEach((b) => {
      b.classList.toggle("active", b === button);
      b.setAttribute("aria-pressed", String(b === button));
    });
    card.querySelectorAll("[data-series-export]").forEach((link) => {
      link.href = `${link.pathname}?format=${new URL(link.href).searchParams.get("format")}&${period}`;
    });
    draw(box);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-span-hours]");
    if (button) choose(button);
  });
  function start(root) {
    root.querySelectorAll("[data-series]:not([data-drawn])").forEach((box) => {
      box.dataset.drawn = "";
      draw(box);
      box.addEventListener("live", () => draw(box));
    });
  }
  document.addEventListener("DOMContentLoaded", () => start(document));
  document.addEventListener("htmx:afterSettle", (event) => start(event.target));
})();
