// Service worker {{version}}: static files from the cache, refreshed behind; pages always from the server, with one
// page for when there is none. Pages with records are never kept on the device.
"use strict";
const CACHE = "zhenan-{{version}}";
const OFFLINE = "/offline/";
const SHELL = [OFFLINE, "/static/web/zhenan.css", "/static/web/icon.svg", "/static/vendor/tabler/css/tabler.min.css", "/static/vendor/icons/tabler-icons.min.css"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name.startsWith("zhenan-") && name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});
self.addEventListener("fetch", (event) => {
  const request = event.request;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith("/static/")) event.respondWith(fromCache(event, request));
  else if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
});
async function fromCache(event, request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  const fresh = fetch(request).then((answer) => {
    if (answer.ok && answer.status === 200) cache.put(request, answer.clone());
    return answer;
  });
  if (!kept) return fresh;
  event.waitUntil(fresh.catch(() => undefined));
  return kept;
}
