/** The worker: opens photos and runs the model, so that the page never waits. One message, one answer. */

import { isAmbiguous } from "../core/prompts.js";
import { areasOf, indexOf, roughAreas } from "../core/extents.js";
import { bestIndex } from "../core/logits.js";
import { openPhoto } from "./photo.js";
import { Photos } from "./photos.js";
import { Model, outlineOf } from "./predict.js";
import { Roads } from "./roads.js";
import { fetchBytes, hasAdapter, openGraph, startRuntime, threadCount } from "./runtime.js";
import { searchAll } from "./search.js";
import { writeFile } from "./write.js";

/** @type {any} */
const port = self;
/** @type {Promise<Model> | null} */
let loading = null;
const photos = new Photos();
/** @type {Promise<any>} */
let busy = Promise.resolve(); // tasks run one after the other, since the runtime does one thing at a time
/** @type {"wasm" | "webgpu"} */
let kind = "wasm";
const roads = new Roads();
roads.tell = () => port.postMessage({ notice: { isSent: roads.isSent, last: roads.last } });
/** @type {Set<number>} */
const cancelled = new Set();

/** @param {number} id @param {string} stage @param {any} data */
function progress(id, stage, data) {
  port.postMessage({ id, stage, ...data });
}

/**
 * @param {number} id
 * @param {{base: string, threads?: number, service?: string, webgpu?: string}} wish
 */
async function load(id, { base, threads, service, webgpu }) {
  roads.address = service ? new URL(service, base).href : "";
  let done = 0;
  const came = (/** @type {number} */ bytes) => progress(id, "bytes", { done: (done += bytes) });
  const at = (/** @type {string} */ name, sha = "") => new URL(`model/${name}${sha && `?sha256=${sha.slice(0, 16)}`}`, base).href;
  const card = JSON.parse(new TextDecoder().decode(await fetchBytes(at("model.json"))));
  const file = (/** @type {string} */ name) => fetchBytes(at(name, card.sha256?.[name]), came);
  const used = threads || threadCount();
  kind = webgpu && webgpu !== "off" && (await hasAdapter(webgpu === "any")) ? "webgpu" : "wasm";
  const many = card.sha256?.["decoder_many.onnx"] ? file("decoder_many.onnx") : null;
  const [encoderBytes, decoderBytes, manyBytes] = await Promise.all([
    file("encoder.onnx"), file("decoder.onnx"), many, startRuntime(base, came, used, kind),
  ]);
  progress(id, "opening", {});
  return new Model(card, await openGraph(encoderBytes, null), decoderBytes, manyBytes, roads);
}

/** @type {Record<string, (wish: any, id: number) => Promise<any>>} */
const TASKS = {
  async load(wish, id) {
    loading ||= load(id, wish).catch((error) => {
      loading = null;
      throw error;
    });
    const { card } = await loading;
    const fetched = performance.getEntriesByType("resource").map(({ name }) => name);
    const files = fetched.filter((name) => /\/model\/|\/vendor\//.test(name));
    return { card, threads: wish.threads || threadCount(), files, kind };
  },

  async open({ blob, turn }) {
    const { pixels, shown } = await photos.open(turn, () => openPhoto(blob));
    return { width: pixels.width, height: pixels.height, shown };
  },

  async use({ turn, isWanted }) {
    photos.choose(turn, isWanted);
  },

  async embed({ side }) {
    const model = await ready();
    await model.embed(side);
    await model.decoder(side);
  },

  async hover({ prompt, side, prior, extent }) {
    const answer = await (await ready()).predict(prompt, side, prior);
    const areas = roughAreas(answer);
    const index = extent ? indexOf(areas, extent) : bestIndex(answer.scores, isAmbiguous(prompt, Boolean(prior)));
    return { outline: outlineOf(answer, index, true), areas, index };
  },

  async predict({ prompt, side, prior, extent }) {
    const answer = await (await ready()).predict(prompt, side, prior);
    const areas = areasOf(answer);
    const index = extent ? indexOf(areas, extent) : bestIndex(answer.scores, isAmbiguous(prompt, Boolean(prior)));
    return { answer, areas, choice: index, outline: outlineOf(answer, index, false) };
  },

  async look({ prompt, answer, hasPrior, choice }) {
    const better = await (await ready()).lookAgain(prompt, answer, hasPrior);
    return better === answer ? null : { answer: better, areas: areasOf(better), outline: outlineOf(better, choice, false) };
  },

  async outline({ answer, choice }) {
    return outlineOf(answer, choice, false);
  },

  async everything(wish, id) {
    return searchAll(await ready(), wish, (found) => progress(id, "found", found), () => cancelled.has(id));
  },

  async cancel({ which }) {
    cancelled.add(which);
  },

  async place({ mode }) {
    roads.mode = mode;
  },

  async write(wish) {
    return writeFile((await ready()).pixels, wish);
  },
};

const IMMEDIATE = new Set(["cancel", "load", "open", "place", "use"]);

async function ready() {
  if (!loading) throw new Error("The model is not loaded.");
  const model = await loading;
  if (photos.used && model.photo !== photos.used) model.setPhoto(photos.used);
  return model;
}

/** @param {number} id @param {string} task @param {any} wish */
function inTurn(id, task, wish) {
  if (IMMEDIATE.has(task)) return TASKS[task](wish, id);
  const result = busy.then(() => TASKS[task](wish, id));
  busy = result.catch(() => {});
  return result;
}

port.onmessage = async (/** @type {MessageEvent} */ { data: { id, task, wish } }) => {
  try {
    const result = await inTurn(id, task, wish);
    port.postMessage({ id, result }, result?.shown ? [result.shown] : []);
  } catch (error) {
    port.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
