/** Keeps the page and its model for times without a network, and adds the headers that threads need. */

const CACHE = "mobilesam-page-2";
const PAGE = [
  "./", "style.css", "icon.svg", "manifest.webmanifest",
  "core/contours.js", "core/enclosure.js", "core/extents.js", "core/filters.js", "core/history.js", "core/interchange.js", "core/logits.js", "core/outlines.js",
  "core/png.js", "core/prompts.js", "core/resize.js", "core/rle.js", "core/types.js", "core/viewport.js", "core/zoom.js",
  "engine/photo.js", "engine/photos.js", "engine/predict.js", "engine/roads.js", "engine/runtime.js", "engine/search.js", "engine/worker.js", "engine/write.js",
  "page/client.js", "page/editor.js", "page/gestures.js", "page/keys.js", "page/main.js", "page/offline.js",
  "page/panel.js", "page/privacy.js", "page/stage.js", "page/unsaved.js",
  "vendor/ort.wasm.min.mjs", "vendor/ort-wasm-simd-threaded.mjs",
  "examples/coffee.png", "examples/chelsea.png",
];
const LASTING = /\.wasm\.gz$|\.onnx$/; // never change under one address: the model's hash is part of it

/** @type {any} */
const worker = self;

worker.addEventListener("install", (/** @type {any} */ event) => {
  const fresh = PAGE.map((path) => new Request(path, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)).then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (/** @type {any} */ event) => {
  event.waitUntil(dropOld().then(() => worker.clients.claim()));
});

async function dropOld() {
  for (const name of await caches.keys()) {
    if (name.startsWith("mobilesam-page-") && name !== CACHE) await caches.delete(name);
  }
}

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const url = new URL(event.request.url);
  const isOurs = url.origin === location.origin && url.pathname.startsWith(new URL("./", location.href).pathname);
  const isService = /\/(v1|healthz|readyz|metrics|docs|openapi\.json)(\/|$)/.test(url.pathname);
  if (event.request.method === "GET" && isOurs && !isService) event.respondWith(answer(event.request, url));
});

/**
 * What never changes comes from the cache; the rest from the network, or without one from the cache.
 * @param {Request} request
 * @param {URL} url
 */
async function answer(request, url) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(request, { ignoreVary: true });
  if (known && LASTING.test(url.pathname)) return isolated(known);
  try {
    const response = await fetch(request);
    if (response.ok && response.status === 200) {
      if (url.search && LASTING.test(url.pathname)) await cache.delete(request, { ignoreSearch: true }); // an older model
      // A full disk costs the offline page, not this one.
      cache.put(request, response.clone()).catch(() => {});
    }
    return isolated(response);
  } catch (error) {
    if (known) return isolated(known);
    const start = request.mode === "navigate" ? await cache.match("./") : undefined;
    if (start) return isolated(start);
    throw error;
  }
}

/**
 * The same response with the headers that let the page use threads.
 * @param {Response} response
 */
function isolated(response) {
  if (response.type === "opaque" || response.type === "opaqueredirect" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
