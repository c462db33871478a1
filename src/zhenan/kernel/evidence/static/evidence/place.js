// Fills hidden fields data-geo="lon"/"lat" with the phone's place when it allows; forms work without it.
// Elements with data-geo-said show what was found. Chinese phones' browsers report WGS-84 here.
(() => {
  "use strict";
  const fields = document.querySelectorAll("input[data-geo]");
  if (!fields.length || !navigator.geolocation) return;
  navigator.geolocation.getCurrentPosition((found) => {
    fields.forEach((field) => {
      field.value = (field.dataset.geo === "lon" ? found.coords.longitude : found.coords.latitude).toFixed(6);
    });
    document.querySelectorAll("[data-geo-said]").forEach((said) => {
      said.hidden = false;
      said.querySelector("b").textContent = `±${Math.round(found.coords.accuracy)} m`;
    });
  }, () => {}, { enableHighAccuracy: true, timeout: 15000, maximumAge: 30000 });
})();
