// Alarms by day, a bar for each version of the rule.
(() => {
  "use strict";
  const box = document.getElementById("trial-days");
  if (!box) return;
  const days = JSON.parse(document.getElementById("trial-by-day").textContent);
  const labels = JSON.parse(document.getElementById("trial-labels").textContent);
  const names = [...new Set(Object.values(days).flat().map(([day]) => day))].sort();
  const colours = { standing: "#2f6690", changed: "#c77700" };
  const series = Object.entries(days).map(([code, rows]) => {
    const known = new Map(rows);
    return { name: labels[code], type: "bar", itemStyle: { color: colours[code] }, data: names.map((day) => known.get(day) || 0) };
  });
  const chart = echarts.init(box, null, { renderer: "svg" });
  chart.setOption({
    aria: { enabled: true },
    tooltip: { trigger: "axis", confine: true },
    legend: { top: 0 },
    grid: { left: 8, right: 16, top: 36, bottom: 8, containLabel: true },
    xAxis: { type: "category", data: names },
    yAxis: { type: "value", minInterval: 1 },
    series,
  });
  new ResizeObserver(() => chart.resize()).observe(box);
})();
