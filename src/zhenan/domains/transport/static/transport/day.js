// One vehicle's day: track, slider, speed, trips, stops and fence events.
import { clock, collection, config, drawFences, fit, json, makeMap, maplibregl, say } from "./base.js";

const row = (words, moment, go) => {
  const item = document.createElement("li"), button = document.createElement("button");
  item.className = "list-group-item";
  button.type = "button";
  button.className = "btn btn-link p-0 text-start text-wrap";
  button.textContent = words;
  button.addEventListener("click", () => go(moment));
  item.append(button);
  return item;
};

async function start() {
  const [data, map] = await Promise.all([json(config.data), makeMap()]);  // the map is there while a day is still read
  const slider = document.getElementById("slider"), shown = document.getElementById("slider-time"), play = document.getElementById("play");
  const points = data.positions;
  say(points.length ? "" : config.words.none);
  drawFences(map, data.fences);
  const lines = [[], []];
  for (let k = 1; k < points.length; k += 1) {
    if (data.gaps.some((g) => g[0] < points[k][0] && points[k - 1][0] < g[1])) continue;
    lines[points[k][4] === 1 ? 1 : 0].push([[points[k - 1][1], points[k - 1][2]], [points[k][1], points[k][2]]]);
  }
  const track = lines.map((part, stopped) => ({ type: "Feature", geometry: { type: "MultiLineString", coordinates: part }, properties: { stopped } }));
  map.addSource("track", { type: "geojson", data: collection(track) });
  map.addLayer({ id: "track", type: "line", source: "track", paint: { "line-width": 3, "line-color": ["case", ["==", ["get", "stopped"], 1], "#868e96", "#206bc4"] } });
  const stops = data.stops.map((s) => ({ type: "Feature", geometry: { type: "Point", coordinates: [s.lon, s.lat] }, properties: {} }));
  map.addSource("stops", { type: "geojson", data: collection(stops) });
  map.addLayer({ id: "stops", type: "circle", source: "stops", paint: { "circle-radius": 6, "circle-color": "#b08900", "circle-stroke-color": "#fff", "circle-stroke-width": 2 } });
  if (points.length) fit(map, points.map((p) => [p[1], p[2]]));

  const dot = document.createElement("div");
  dot.className = "track-now";
  const marker = new maplibregl.Marker({ element: dot });
  const go = (moment) => {
    if (!points.length) return;
    let low = 0, high = points.length - 1;
    while (low < high) { const mid = (low + high + 1) >> 1; if (points[mid][0] <= moment) low = mid; else high = mid - 1; }
    const p = points[low];
    marker.setLngLat([p[1], p[2]]).addTo(map);
    shown.textContent = `${clock(moment)} · ${p[3]} km/h`;
    slider.value = String(Math.round(((moment - data.t0) / (data.t1 - data.t0)) * 1000));
  };
  slider.addEventListener("input", () => go(data.t0 + ((data.t1 - data.t0) * slider.value) / 1000));
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = config.words.play; };
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (+slider.value >= 1000) slider.value = "0";
    play.textContent = config.words.pause;
    timer = setInterval(() => {
      if (+slider.value >= 1000) { stop(); return; }
      slider.value = String(+slider.value + 1);
      slider.dispatchEvent(new Event("input"));
    }, 60);
  });

  const legs = document.getElementById("legs"), events = document.getElementById("events");
  const all = [...data.trips.map((t) => [t.t0, `${clock(t.t0)} – ${clock(t.t1)} · ${config.words.moving} · ${t.km.toFixed(1)} km · ≤ ${t.max} km/h`]),
    ...data.stops.map((s) => [s.t0, `${clock(s.t0)} – ${clock(s.t1)} · ${config.words.stopped}`])].sort((a, b) => a[0] - b[0]);
  legs.replaceChildren(...all.map(([moment, words]) => row(words, moment, go)));
  events.replaceChildren(...data.events.map((e) => row(`${clock(e.t)} · ${e.fence} · ${e.word}`, e.t, go)));

  const chart = echarts.init(document.getElementById("speed"));
  new ResizeObserver(() => chart.resize()).observe(document.getElementById("speed"));
  chart.setOption({
    animation: false, aria: { enabled: true }, grid: { left: 44, right: 12, top: 16, bottom: 28 }, tooltip: { trigger: "axis", formatter: (rows) => rows.map((r) => `${clock(r.value[0])} · ${r.value[1]} km/h`).join("<br>") },
    xAxis: { type: "time", min: data.t0, max: data.t1, axisLabel: { formatter: (ms) => clock(ms, { hour: "2-digit", minute: "2-digit", hour12: false }) } }, yAxis: { type: "value", name: "km/h" },
    series: [{ type: "line", name: config.words.speed, showSymbol: false, data: points.map((p) => [p[0], p[3]]),
      markLine: { symbol: "none", silent: true, data: data.events.slice(0, 100).map((e) => ({ xAxis: e.t, label: { show: false } })) } }],
  });
  chart.getZr().on("click", (event) => { const moment = chart.convertFromPixel({ xAxisIndex: 0 }, event.offsetX); if (moment) go(moment); });
  if (points.length) go(points[0][0]);
}

start().catch((fault) => say(`${config.words.failed} (${fault.message})`));
