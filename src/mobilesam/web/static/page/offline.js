/** The service worker: the page without a network, and threads on hosts that do not send the headers they need. */

const PATIENCE = 2500; // milliseconds; without the worker everything works, with one thread and a network

/** Start it; resolves when it serves this page, or when it does not come. */
export async function startServiceWorker() {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  const { serviceWorker } = navigator;
  try {
    await Promise.race([serve(serviceWorker), new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  } catch {
    return; // private windows refuse it
  }
  // Its headers isolate the page, which threads need, only from the next load on; nothing is lost by that now.
  if (serviceWorker.controller && !crossOriginIsolated && !sessionStorage.getItem("reloaded")) {
    sessionStorage.setItem("reloaded", "1");
    location.reload();
    await new Promise(() => {});
  }
}

/**
 * Ask for the model's files once more, if the service worker came too late to keep them; the browser has them at hand.
 * @param {string[]} addresses
 */
export async function keepFiles(addresses) {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  await navigator.serviceWorker.ready;
  if (!navigator.serviceWorker.controller) {
    await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
  }
  for (const address of addresses) {
    if (!(await caches.match(address, { ignoreVary: true }))) await (await fetch(address)).arrayBuffer();
  }
}

/** @param {ServiceWorkerContainer} serviceWorker */
async function serve(serviceWorker) {
  await serviceWorker.register(new URL("../sw.js", import.meta.url));
  await serviceWorker.ready;
  if (serviceWorker.controller) return;
  await new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
}
