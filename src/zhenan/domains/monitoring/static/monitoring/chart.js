// Charts of a point: elements with data-series="URL" fetch their readings and draw them with the set-points, the
// onset, the raise and the clear. Drawn again when the live feed moves (data-live on the element).
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
    const values = data.points.map((p) => p[1]).concat((data.set_points || []).map((s) => s.value)).filter((v) => v !== null);
    if (!values.length) return {};
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * 0.08;
    const tidy = (v, up) => { const step = 10 ** Math.floor(Math.log10(room)); return (up ? Math.ceil(v / step) : Math.floor(v / step)) * step; };
    return { min: low >= 0 && low < high * 0.3 ? 0 : tidy(low - room, false), max: tidy(high + room, true) };
  }
  function options(data) {
    return {
      animation: false,
      aria: { enabled: true },
      grid: { left: 56, right: 24, top: 32, bottom: 56 },
      tooltip: { trigger: "axis", valueFormatter: (v) => (v === null || v === undefined ? "–" : `${v} ${data.unit}`) },
      dataZoom: [{ type: "inside" }, { type: "slider", height: 18, bottom: 8 }],
      xAxis: { type: "time", min: data.since, max: data.until },
      yAxis: { type: "value", scale: true, name: data.unit, nameTextStyle: { align: "left" }, ...span(data) },
      series: [{
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
      if (state) state.textContent = data.points.length ? "" : box.dataset.none;
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
