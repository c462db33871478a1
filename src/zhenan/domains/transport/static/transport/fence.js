// A fence on the map; in the editor it is drawn there: a click adds a point, dragging moves one. The text field of the
// form is what is sent, and may be typed in instead.
import { config, drawFences, fit, makeMap, maplibregl, shapeOf } from "./base.js";

const map = await makeMap();
const flat = (fences) => fences.flatMap(shapeOf).flatMap((f) => f.geometry.coordinates.flat(f.geometry.type === "Polygon" ? 1 : 0));
if (config.fences) {
  drawFences(map, config.fences);
  fit(map, flat(config.fences));
}
if (config.draw) {
  const field = document.getElementById("id_points"), shape = document.getElementById("id_shape"), size = document.getElementById("id_size_m");
  let points = [], corners = [];
  const read = () => {
    try { points = JSON.parse(field.value || "[]").filter((p) => p.length === 2).map((p) => [+p[0], +p[1]]); } catch { points = []; }
  };
  const draw = () => {
    drawFences(map, [{ points, shape: shape.value, size_m: +size.value || 0 }]);
    corners.forEach((marker) => marker.remove());
    corners = points.map((p, k) => {
      const dot = document.createElement("div");
      dot.className = "track-corner";
      const marker = new maplibregl.Marker({ element: dot, draggable: true }).setLngLat([p[1], p[0]]).addTo(map);
      marker.on("dragend", () => { const at = marker.getLngLat(); points[k] = [+at.lat.toFixed(6), +at.lng.toFixed(6)]; write(); });
      return marker;
    });
  };
  function write() {
    field.value = JSON.stringify(points);
    draw();
  }
  map.on("click", (event) => {
    const at = [+event.lngLat.lat.toFixed(6), +event.lngLat.lng.toFixed(6)];
    points = shape.value === "circle" ? [at] : [...points, at];
    write();
  });
  document.getElementById("undo").addEventListener("click", () => { points = points.slice(0, -1); write(); });
  document.getElementById("clear").addEventListener("click", () => { points = []; write(); });
  field.addEventListener("change", () => { read(); draw(); });
  [shape, size].forEach((one) => one.addEventListener("change", draw));
  read();
  draw();
  if (points.length) fit(map, flat([{ points, shape: shape.value, size_m: +size.value || 0 }]));
}
