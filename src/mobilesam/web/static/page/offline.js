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

/** @param {ServiceWorkerContainer} serviceWorker */
async function serve(serviceWorker) {
  await serviceWorker.register(new URL("../sw.js", import.meta.url));
  await serviceWorker.ready;
  if (serviceWorker.controller) return;
  await new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
}
