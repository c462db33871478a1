// Alarms by day, a bar for each version of the rule.
(() => {
  "use strict";
  const box = document.getElementById("trial-days");
  if (!box) return;
  const days = JSON.parse(document.getElementById("trial-by-day").textContent);
  const labels = JSON.parse(document.getElementById("trial-labels").textContent);
  const seen = Object.values(days).flat().map(([day]) => day).sort();
  const names = []; // every day from the first alarm to the last, those without one too
  for (let day = Date.parse(seen[0]); day <= Date.parse(seen[seen.length - 1]); day += 86400000) names.push(new Date(day).toISOString().slice(0, 10));
  const colours = { standing: "#2f6690", changed: "#c77700" };
  const series = ["standing", "changed"].filter((code) => days[code]).map((code) => {
    const known = new Map(days[code]);
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
