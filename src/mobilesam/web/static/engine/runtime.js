/** onnxruntime-web with its compressed WebAssembly, and the model's files. */

/** @type {any} */
export let ort = null; // of the build that `startRuntime` chose

const VERSION = "v=1.30.0"; // part of the address, so that caches never mix two
const BUILDS = {
  wasm: { script: "ort.wasm.min.mjs", loader: "ort-wasm-simd-threaded.mjs", wasm: `ort-wasm-simd-threaded.wasm.gz?${VERSION}` },
  webgpu: {
    script: "ort.webgpu.min.mjs",
    loader: "ort-wasm-simd-threaded.asyncify.mjs",
    wasm: `ort-wasm-simd-threaded.asyncify.wasm.gz?${VERSION}`,
  },
};
const MOST_THREADS = 4; // more hardly help, and take a phone's other cores

/**
 * @typedef {object} ModelCard  what the page reads of model.json
 * @property {string} name
 * @property {number} image_size
 * @property {string} image_sizes
 * @property {number} zoom_below
 * @property {number} click_zoom_below
 * @property {number} [outside_box]
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
 * Whether this browser gives the page a graphics card.
 * @param {boolean} takesSoftware  whether one that the processor imitates will do, which is far slower than WebAssembly
 */
export async function hasAdapter(takesSoftware) {
  try {
    const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter({ powerPreference: "high-performance" });
    return Boolean(adapter && (takesSoftware || !isSoftware(adapter)));
  } catch {
    return false;
  }
}

/** @param {any} adapter */
function isSoftware({ info, isFallbackAdapter }) {
  return Boolean(isFallbackAdapter || info?.isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(`${info?.architecture} ${info?.description}`));
}

/**
 * Start the runtime.
 * @param {string | ((name: string) => string)} base  address of the page's folder, or that of each file in vendor/
 * @param {(bytes: number) => void} came
 * @param {number} threads
 * @param {"wasm" | "webgpu"} kind
 */
export async function startRuntime(base, came, threads, kind) {
  const build = BUILDS[kind];
  const at = typeof base === "function" ? base : (/** @type {string} */ name) => new URL(`vendor/${name}`, base).href;
  const [bytes, script] = await Promise.all([fetchBytes(at(build.wasm), came), import(at(build.script))]);
  ort = script;
  ort.env.wasm.wasmBinary = (await inflate(bytes)).buffer;
  ort.env.wasm.wasmPaths = { mjs: at(build.loader) };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  providers = kind === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
}

/** @type {string[]} */
let providers = ["wasm"];

/**
 * Open a graph.
 * @param {Uint8Array} bytes
 * @param {number | null} grid  side of the embedding in cells, for a decoder, which then works at this side alone
 * @param {{path: string, data: Uint8Array}[]} externalData  other files whose weights the graph uses
 */
export function openGraph(bytes, grid, externalData = []) {
  /** @type {any} */
  const options = { executionProviders: providers, externalData, graphOptimizationLevel: "all", enableMemPattern: false, logSeverityLevel: 3 };
  if (grid) options.freeDimensionOverrides = externalData.length ? { g: grid } : { g: grid, l: 4 * grid };
  return ort.InferenceSession.create(bytes, options);
}
