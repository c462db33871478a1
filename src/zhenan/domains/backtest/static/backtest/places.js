// Where the events of a fence's back-test were: its shape and its events, a colour for each version.
import { collection, config, fit, makeMap, shapeOf } from "../transport/base.js";

const colours = { standing: "#2f6690", changed: "#c77700" };
const map = await makeMap();
for (const [number, shape] of config.shapes.entries()) {
  const name = `shape-${number}`, colour = colours[shape.version];
  map.addSource(name, { type: "geojson", data: collection(shapeOf(shape)) });
  map.addLayer({ id: name, type: "fill", source: name, filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": colour, "fill-opacity": 0.12 } });
  map.addLayer({ id: `${name}-line`, type: "line", source: name, paint: { "line-color": colour, "line-width": 1.5 } });
}
// The changed version's events are drawn below, larger: where both have one, a ring shows around the other.
for (const [version, radius] of [["changed", 6], ["standing", 3.5]]) {
  const points = (config.places[version] || []).map((at) => ({ type: "Feature", geometry: { type: "Point", coordinates: at }, properties: {} }));
  map.addSource(`events-${version}`, { type: "geojson", data: collection(points) });
  map.addLayer({ id: `events-${version}`, type: "circle", source: `events-${version}`, paint: { "circle-radius": radius, "circle-color": colours[version], "circle-opacity": 0.75 } });
}
const corners = config.shapes.flatMap((shape) => shapeOf(shape).flatMap((f) => f.geometry.coordinates.flat(f.geometry.type === "Polygon" ? 1 : 0)));
fit(map, [...corners, ...Object.values(config.places).flat()]);
