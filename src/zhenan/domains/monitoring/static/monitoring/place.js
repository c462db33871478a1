// Fills hidden fields data-geo="lon"/"lat" with the phone's place when it allows; the form works without it.
(() => {
  "use strict";
  function fill() {
    const fields = document.querySelectorAll("[data-geo]");
    if (!fields.length || !navigator.geolocation) return;
    navigator.geolocation.getCurrentPosition((found) => {
      fields.forEach((field) => {
        field.value = field.dataset.geo === "lon" ? found.coords.longitude.toFixed(6) : found.coords.latitude.toFixed(6);
      });
    }, () => {}, { enableHighAccuracy: true, timeout: 10000, maximumAge: 30000 });
  }
  document.addEventListener("DOMContentLoaded", fill);
  document.addEventListener("htmx:afterSettle", fill);
})();
