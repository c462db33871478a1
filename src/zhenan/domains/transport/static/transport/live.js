// All vehicles on the map: where they are now, asked again every ten seconds, or the minutes before a chosen moment.
import { clock, collection, config, json, makeMap, maplibregl, say } from "./base.js";

const map = await makeMap();
map.addSource("vehicles", { type: "geojson", data: collection([]) });
map.addSource("trails", { type: "geojson", data: collection([]) });
map.addLayer({ id: "trails", type: "line", source: "trails", paint: { "line-color": "#206bc4", "line-width": 2, "line-opacity": 0.6 } });
map.addLayer({ id: "vehicles", type: "circle", source: "vehicles", paint: { "circle-radius": 6, "circle-color": ["case", [">", ["get", "speed"], 5], "#0ca678", "#868e96"], "circle-stroke-color": "#fff", "circle-stroke-width": 1.5 } });
const slider = document.getElementById("area-slider"), shown = document.getElementById("area-time");
let past = null;

map.on("click", "vehicles", (event) => {
  const { id, name, detail } = event.features[0].properties;
  const body = document.createElement("div"), title = document.createElement("strong"), link = document.createElement("a");
  title.textContent = name;
  link.textContent = config.words.day;
  link.href = config.day.replace("/0/", `/${id}/`);
  body.append(title, document.createElement("br"), detail || "", document.createElement("br"), link);
  new maplibregl.Popup({ offset: 10 }).setLngLat(event.lngLat).setDOMContent(body).addTo(map);
});

async function live() {
  if (past || document.hidden) return;
  try {
    const data = await json(config.live);
    if (past) return;
    map.getSource("vehicles").setData(data);
    map.getSource("trails").setData(collection([]));
    say(`${data.features.length.toLocaleString()} ${config.words.vehicles}`);
  } catch (fault) {
    say(`${config.words.failed} (${fault.message})`);
  }
}

function at(moment) {
  shown.textContent = clock(moment);
  const features = past.vehicles.flatMap((vehicle) => {
    const before = vehicle.points.filter((p) => p[0] <= moment), last = before[before.length - 1];
    return last ? [{ type: "Feature", geometry: { type: "Point", coordinates: [last[1], last[2]] }, properties: { id: vehicle.id, name: vehicle.name, speed: last[3], detail: `${last[3]} km/h · ${clock(last[0])}` } }] : [];
  });
  map.getSource("vehicles").setData(collection(features));
}

document.getElementById("area-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const moment = document.getElementById("area-at").value, minutes = document.getElementById("area-minutes").value;
  const b = map.getBounds(), box = [b.getWest(), b.getSouth(), b.getEast(), b.getNorth()].map((n) => n.toFixed(5)).join(",");
  say(config.words.loading);
  try {
    past = await json(`${config.area}?bbox=${box}&minutes=${minutes}&at=${encodeURIComponent(moment)}`);
    const trails = past.vehicles.filter((v) => v.points.length > 1).map((v) => ({ type: "Feature", geometry: { type: "LineString", coordinates: v.points.map((p) => [p[1], p[2]]) }, properties: {} }));
    map.getSource("trails").setData(collection(trails));
    slider.disabled = false;
    slider.value = "1000";
    at(past.at);
    say(`${past.vehicles.length.toLocaleString()} ${config.words.vehicles}${past.left_out ? ` · ${past.left_out} ${config.words.leftOut}` : ""}`);
  } catch (fault) {
    say(`${config.words.failed} (${fault.message})`);
  }
});
slider.addEventListener("input", () => { if (past) at(past.at - past.minutes * 6e4 * (1 - slider.value / 1000)); });
document.getElementById("area-live").addEventListener("click", () => { past = null; slider.disabled = true; shown.textContent = ""; live(); });
setInterval(live, 10000);
live();
