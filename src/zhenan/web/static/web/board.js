// The board's chart and clock. A wall screen never needs a click: everything comes by the live feed, and again each minute.
(() => {
  "use strict";
  const box = document.getElementById("board-chart");
  const dark = document.body.classList.contains("wall");
  const ink = dark ? "#c9d6e5" : "#3d4956";
  const line = dark ? "#24374e" : "#d9dfe7";
  const colours = { alarm: dark ? "#ff7a6e" : "#b81f1a", hazard: dark ? "#ffb454" : "#c77700" };
  let chart = null;

  async function draw() {
    const answer = await fetch(box.dataset.chart, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const data = await answer.json();
    const total = data.series.flatMap((one) => one.values).reduce((a, b) => a + b, 0);
    chart = chart || echarts.init(box, null, { renderer: "svg" });
    const size = dark ? 18 : 13;
    chart.setOption({
      animationDuration: 400,
      aria: { enabled: true, label: { description: `${box.dataset.label}: ${data.names.map((name, at) => `${name} ${data.series.map((s) => `${s.name} ${s.values[at]}`).join(", ")}`).join("; ")}` } },
      color: data.series.map((one) => colours[one.code]),
      textStyle: { color: ink, fontFamily: "inherit", fontSize: size },
      tooltip: { trigger: "axis", confine: true },
      legend: { top: 8, textStyle: { color: ink, fontSize: size } },
      grid: { left: 16, right: 24, top: 48, bottom: 12, containLabel: true },
      xAxis: { type: "category", data: data.names, axisLabel: { color: ink, interval: 0, fontSize: size, hideOverlap: false, rotate: box.clientWidth < 520 ? 35 : 0 }, axisLine: { lineStyle: { color: line } }, axisTick: { show: false } },
      yAxis: { type: "value", minInterval: 1, axisLabel: { color: ink, fontSize: size }, splitLine: { lineStyle: { color: line } } },
      graphic: total ? [] : [{ type: "text", left: "center", top: "middle", style: { text: box.dataset.empty, fill: ink, fontSize: size + 1 } }],
      series: data.series.map((one) => ({ name: one.name, type: "bar", data: one.values, barMaxWidth: 26, label: { show: dark, position: "top", color: ink, fontSize: size, formatter: (p) => p.value || "" } })),
    }, true);
  }
  const safely = () => draw().catch(() => undefined);
  if (box) {
    safely();
    box.addEventListener("live", safely);
    new ResizeObserver(() => chart && chart.resize()).observe(box);
    window.setInterval(safely, 60000);
  }
  window.setInterval(() => {
    document.querySelectorAll("#board-tiles, #board-feed").forEach((part) => part.dispatchEvent(new CustomEvent("live")));
  }, 60000);
  const clock = document.querySelector("[data-clock]");
  if (clock) window.setInterval(() => { clock.textContent = new Date().toLocaleTimeString("zh-CN", { hour12: false }); }, 1000);
  // A screen that hangs for months starts afresh each night: browsers leak.
  if (dark) window.setTimeout(() => window.location.reload(), 12 * 3600 * 1000);
})();
