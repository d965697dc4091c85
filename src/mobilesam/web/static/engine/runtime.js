/** onnxruntime-web with its compressed WebAssembly, and the model's files. */

import * as ort from "../vendor/ort.wasm.min.mjs";

export { ort };

const WASM = "vendor/ort-wasm-simd-threaded.wasm.gz?v=1.30.0"; // the version, so that caches never mix two
const MOST_THREADS = 4; // more hardly help, and take a phone's other cores

/**
 * @typedef {object} ModelCard  what the page reads of model.json
 * @property {string} name
 * @property {number} image_size
 * @property {string} image_sizes
 * @property {number} zoom_below
 * @property {number} click_zoom_below
 * @property {Record<string, string>} sha256
 */

/** @typedef {(done: number, total: number) => void} Progress  bytes */

/** Number of threads that this browser lets the page use; one where the page is not isolated from others. */
export function threadCount() {
  return self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
}

/**
 * Fetch a file, reporting bytes as they come.
 * @param {string} url
 * @param {(bytes: number) => void} [came]
 */
export async function fetchBytes(url, came = () => {}) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Error("The model could not be downloaded. Check your connection, then try again.");
  }
  if (!response.ok || !response.body) throw new Error(`${new URL(url).pathname} could not be downloaded (${response.status}).`);
  const reader = response.body.getReader();
  const chunks = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    came(value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/**
 * Undo gzip, unless the server has done so already.
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
async function inflate(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Start the runtime.
 * @param {string} base  address of the page's folder
 * @param {(bytes: number) => void} came
 * @param {number} threads
 */
export async function startRuntime(base, came, threads) {
  ort.env.wasm.wasmBinary = (await inflate(await fetchBytes(new URL(WASM, base).href, came))).buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL("vendor/ort-wasm-simd-threaded.mjs", base).href };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
}

/**
 * Open a graph.
 * @param {Uint8Array} bytes
 * @param {number | null} grid  side of the embedding in cells, for a decoder, which then works at this side alone
 */
export function openGraph(bytes, grid) {
  /** @type {any} */
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all", enableMemPattern: false };
  if (grid) options.freeDimensionOverrides = { g: grid, l: 4 * grid };
  return ort.InferenceSession.create(bytes, options);
}
