// The map: MapLibre on a blank style with our own polygons; names, clusters and alarms are HTML markers, so that no glyph
// and no tile is fetched from anywhere. With a Tianditu key in the settings its tiles lie below.
import * as maplibregl from "../vendor/maplibre/maplibre-gl.mjs";

const config = JSON.parse(document.getElementById("map-config").textContent);
const box = document.getElementById("map");
const state = new Map(); // layer code → {shown, features, markers}
const FADE = ["#dfe9f3", "#e9eef3", "#e3efe8", "#efece3", "#e8e6f1", "#e4edf0", "#eee7e7"];

document.querySelectorAll("[data-colour]").forEach((swatch) => { swatch.style.background = swatch.dataset.colour; });

function style() {
  const sources = {};
  const layers = [{ id: "ground", type: "background", paint: { "background-color": "#eef2f6" } }];
  if (config.tianditu) {
    for (const [name, kind] of [["base", "vec"], ["names", "cva"]]) {
      sources[name] = {
        type: "raster", tileSize: 256, maxzoom: 18, attribution: "天地图",
        tiles: [0, 1, 2, 3].map((n) => `https://t${n}.tianditu.gov.cn/${kind}_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=${kind}&STYLE=default&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX={z}&TILEROW={y}&TILECOL={x}&tk=${config.tianditu}`),
      };
      layers.push({ id: name, type: "raster", source: name });
    }
  }
  return { version: 8, sources, layers };
}

function text(tag, words, css) {
  const element = document.createElement(tag);
  element.textContent = words;
  if (css) element.className = css;
  return element;
}
function popup(feature) {
  const body = document.createElement("div");
  const { name, detail, url } = feature.properties;
  body.append(text("strong", name || ""));
  if (detail) body.append(text("div", detail));
  if (url) {
    const link = text("a", config.words.open);
    link.href = url;
    body.append(link);
  }
  return new maplibregl.Popup({ offset: 12, maxWidth: "280px" }).setLngLat(feature.geometry.coordinates).setDOMContent(body);
}

function bounds(features) {
  const all = new maplibregl.LngLatBounds();
  const walk = (part) => (typeof part[0] === "number" ? all.extend(part) : part.forEach(walk));
  features.forEach((feature) => walk(feature.geometry.coordinates));
  return all;
}

async function json(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function divisions(map) {
  const all = await json(config.divisions);
  const counties = all.features.filter((f) => f.properties.area && f.properties.level === "county");
  counties.forEach((f, at) => { f.properties.fade = FADE[at % FADE.length]; });
  map.addSource("counties", { type: "geojson", data: { type: "FeatureCollection", features: counties } });
  map.addLayer({ id: "county-fill", type: "fill", source: "counties", paint: { "fill-color": ["get", "fade"], "fill-opacity": config.tianditu ? 0.15 : 1 } });
  map.addLayer({ id: "county-line", type: "line", source: "counties", paint: { "line-color": "#7d93ab", "line-width": 1.4 } });
  if (counties.length) map.fitBounds(bounds(counties), { padding: 30, animate: false });
  const towns = [];
  all.features.filter((f) => !f.properties.area).forEach((f) => {
    const county = f.properties.level === "county";
    const marker = new maplibregl.Marker({ element: text("div", f.properties.name, `map-name${county ? "" : " town"}`) }).setLngLat(f.geometry.coordinates);
    if (county) marker.addTo(map);
    else towns.push(marker);
  });
  let shown = false;
  map.on("zoom", () => {
    const show = map.getZoom() >= 10.5;
    if (show !== shown) towns.forEach((marker) => (show ? marker.addTo(map) : marker.remove()));
    shown = show;
  });
}

// Points without a level lie in a clustered source; points with a level are few and urgent: pulsing markers.
function addLayer(map, layer) {
  map.addSource(layer.code, { type: "geojson", cluster: true, clusterRadius: 46, clusterMaxZoom: 15, data: { type: "FeatureCollection", features: [] } });
  map.addLayer({
    id: `${layer.code}-points`, type: "circle", source: layer.code, filter: ["!", ["has", "point_count"]],
    paint: { "circle-radius": ["interpolate", ["linear"], ["zoom"], 9, 4, 14, 7], "circle-color": layer.colour, "circle-stroke-color": "#fff", "circle-stroke-width": 1.5 },
  });
  // Clusters are asked for in the source's own tiles: an invisible layer makes MapLibre keep them.
  map.addLayer({ id: `${layer.code}-clusters`, type: "circle", source: layer.code, filter: ["has", "point_count"], paint: { "circle-radius": 1, "circle-opacity": 0 } });
  map.on("click", `${layer.code}-points`, (event) => popup(event.features[0]).addTo(map));
  map.on("mouseenter", `${layer.code}-points`, () => { map.getCanvas().style.cursor = "pointer"; });
  map.on("mouseleave", `${layer.code}-points`, () => { map.getCanvas().style.cursor = ""; });
  state.set(layer.code, { shown: true, clusters: new Map(), alarms: [] });
}

function drawClusters(map, layer) {
  const own = state.get(layer.code);
  const seen = new Map();
  if (own.shown && map.getSource(layer.code)) {
    for (const feature of map.querySourceFeatures(layer.code, { filter: ["has", "point_count"] })) {
      seen.set(feature.properties.cluster_id, feature);
    }
  }
  for (const [id, marker] of own.clusters) {
    if (!seen.has(id)) {
      marker.remove();
      own.clusters.delete(id);
    }
  }
  for (const [id, feature] of seen) {
    if (own.clusters.has(id)) continue;
    const count = feature.properties.point_count;
    const side = 26 + Math.min(26, Math.round(Math.log10(count) * 10));
    const dot = text("button", feature.properties.point_count_abbreviated, "map-cluster");
    dot.type = "button";
    Object.assign(dot.style, { width: `${side}px`, height: `${side}px`, background: layer.colour });
    dot.setAttribute("aria-label", `${layer.label} ${count}, ${config.words.more}`);
    dot.addEventListener("click", async () => {
      const zoom = await map.getSource(layer.code).getClusterExpansionZoom(id);
      map.easeTo({ center: feature.geometry.coordinates, zoom });
    });
    own.clusters.set(id, new maplibregl.Marker({ element: dot }).setLngLat(feature.geometry.coordinates).addTo(map));
  }
}

async function fill(map, layer) {
  const own = state.get(layer.code);
  const count = document.querySelector(`[data-layer-count="${layer.code}"]`);
  let data;
  try {
    data = await json(layer.url);
  } catch {
    count.textContent = config.words.failed;
    return;
  }
  const graded = data.features.filter((f) => f.properties.level && f.geometry.type === "Point");
  map.getSource(layer.code).setData({ type: "FeatureCollection", features: data.features.filter((f) => !f.properties.level) });
  count.textContent = data.features.length.toLocaleString();
  own.alarms.forEach((marker) => marker.remove());
  own.alarms = graded.sort((a, b) => b.properties.level - a.properties.level).slice(-500).map((feature) => {
    const dot = document.createElement("button");
    dot.type = "button";
    dot.className = `map-alarm l${feature.properties.level}`;
    dot.setAttribute("aria-label", `${feature.properties.name} ${feature.properties.detail || ""}`);
    const marker = new maplibregl.Marker({ element: dot }).setLngLat(feature.geometry.coordinates).setPopup(popup(feature));
    if (own.shown) marker.addTo(map);
    return marker;
  });
}

function show(map, layer, shown) {
  const own = state.get(layer.code);
  own.shown = shown;
  for (const part of ["points", "clusters"]) map.setLayoutProperty(`${layer.code}-${part}`, "visibility", shown ? "visible" : "none");
  own.alarms.forEach((marker) => (shown ? marker.addTo(map) : marker.remove()));
  drawClusters(map, layer);
}

async function start() {
  const map = new maplibregl.Map({
    container: box, style: style(), center: [119.45, 32.0], zoom: 8.6, minZoom: 6, maxZoom: 18, dragRotate: false, pitchWithRotate: false,
    attributionControl: config.tianditu ? {} : false,
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ unit: "metric" }), "bottom-right");
  await map.once("load");
  await divisions(map);
  const layers = [...config.layers].reverse(); // the first in the list lies on top
  layers.forEach((layer) => addLayer(map, layer));
  await Promise.all(layers.map((layer) => fill(map, layer)));
  const redraw = () => layers.forEach((layer) => drawClusters(map, layer));
  map.on("moveend", redraw);
  map.on("sourcedata", (event) => { if (event.isSourceLoaded) redraw(); });
  map.on("idle", redraw);
  document.querySelectorAll("[data-layer]").forEach((tick) => {
    const layer = layers.find((one) => one.code === tick.dataset.layer);
    tick.addEventListener("change", () => show(map, layer, tick.checked));
    if (!tick.checked) show(map, layer, false);
  });
  document.querySelectorAll("[data-layer-live]").forEach((ear) => {
    const layer = layers.find((one) => one.code === ear.dataset.layerLive);
    ear.addEventListener("live", () => fill(map, layer));
  });
  box.dataset.ready = "yes";
}

start().catch((fault) => {
  box.replaceChildren(text("p", /webgl/i.test(String(fault && fault.message)) ? config.words.noGl : String(fault), "map-none"));
});
