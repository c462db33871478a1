// What the maps of vehicles share: a blank map with our own boundaries, fences as shapes, small helpers.
import * as maplibregl from "../vendor/maplibre/maplibre-gl.mjs";

export const config = JSON.parse(document.getElementById("map-config").textContent);
export const state = document.getElementById("map-state");
export const say = (words) => { state.textContent = words; };
// The city's clock, wherever the browser is: the days that the server cuts are the city's.
export const clock = (ms, shape = {}) => new Date(ms).toLocaleTimeString(document.documentElement.lang, { timeZone: config.zone, ...shape });
export const collection = (features) => ({ type: "FeatureCollection", features });
export { maplibregl };

export async function json(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.status);
  return body;
}

export async function makeMap() {
  const box = document.getElementById("map");
  const layers = [{ id: "ground", type: "background", paint: { "background-color": "#eef2f6" } }], sources = {};
  if (config.tianditu) {
    for (const [name, kind] of [["base", "vec"], ["names", "cva"]]) {
      sources[name] = { type: "raster", tileSize: 256, maxzoom: 18, attribution: "天地图", tiles: [0, 1, 2, 3].map((n) => `https://t${n}.tianditu.gov.cn/${kind}_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=${kind}&STYLE=default&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX={z}&TILEROW={y}&TILECOL={x}&tk=${config.tianditu}`) };
      layers.push({ id: name, type: "raster", source: name });
    }
  }
  let map;
  try {
    map = new maplibregl.Map({
      container: box, style: { version: 8, sources, layers }, center: [119.45, 32.0], zoom: 8.6, minZoom: 4, maxZoom: 18,
      dragRotate: false, pitchWithRotate: false, attributionControl: config.tianditu ? {} : false,
    });
  } catch (fault) {
    say(config.words.noGl);
    throw fault;
  }
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ unit: "metric" }), "bottom-right");
  await map.once("load");
  try {
    const all = await json(config.divisions);
    const areas = all.features.filter((f) => f.properties.area && f.properties.level === "county");
    map.addSource("counties", { type: "geojson", data: collection(areas) });
    map.addLayer({ id: "counties", type: "line", source: "counties", paint: { "line-color": "#7d93ab", "line-width": 1.2 } });
    if (areas.length) fit(map, areas.flatMap((f) => f.geometry.coordinates.flat(f.geometry.type === "MultiPolygon" ? 2 : 1)));
  } catch { /* the boundaries are an ornament here */ }
  box.dataset.ready = "yes";
  return map;
}

export function fit(map, points) {
  const all = new maplibregl.LngLatBounds();
  points.forEach((p) => all.extend([p[0], p[1]]));
  if (!all.isEmpty()) map.fitBounds(all, { padding: 40, maxZoom: 15, animate: false });
}

// Shapes are measured on a plane as the judge does it: metres of a degree at the shape's middle.
export function shapeOf(fence) {
  const points = fence.points.map((p) => [p[1], p[0]]);
  if (!points.length) return [];
  const lat = fence.points.reduce((sum, p) => sum + p[0], 0) / fence.points.length;
  const up = 1 / 110574, right = 1 / (111320 * Math.cos((lat * Math.PI) / 180)), name = { name: fence.name || "" };
  const feature = (type, coordinates) => ({ type: "Feature", geometry: { type, coordinates }, properties: name });
  const ring = (p) => {
    const around = [];
    for (let k = 0; k <= 48; k += 1) around.push([p[0] + Math.cos(k * Math.PI / 24) * fence.size_m * right, p[1] + Math.sin(k * Math.PI / 24) * fence.size_m * up]);
    return around;
  };
  if (fence.shape === "circle") return [feature("Polygon", [ring(points[0])])];
  if (fence.shape === "polygon") return points.length < 3 ? [feature("LineString", points)] : [feature("Polygon", [[...points, points[0]]])];
  const found = points.map((p) => feature("Polygon", [ring(p)]));
  for (let k = 1; k < points.length; k += 1) {
    const [a, b] = [points[k - 1], points[k]], dx = (b[0] - a[0]) / right, dy = (b[1] - a[1]) / up, length = Math.hypot(dx, dy) || 1;
    const x = (-dy / length) * fence.size_m * right, y = (dx / length) * fence.size_m * up;
    found.push(feature("Polygon", [[[a[0] + x, a[1] + y], [b[0] + x, b[1] + y], [b[0] - x, b[1] - y], [a[0] - x, a[1] - y], [a[0] + x, a[1] + y]]]));
  }
  return found;
}

export function drawFences(map, fences) {
  const data = collection(fences.flatMap(shapeOf));
  if (map.getSource("fences")) { map.getSource("fences").setData(data); return; }
  map.addSource("fences", { type: "geojson", data });
  map.addLayer({ id: "fences", type: "fill", source: "fences", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": "#f76707", "fill-opacity": 0.16 } });
  map.addLayer({ id: "fence-lines", type: "line", source: "fences", paint: { "line-color": "#f76707", "line-width": 1.5 } });
}
