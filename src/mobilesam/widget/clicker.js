/** A photo in a notebook whose objects are cut out by clicks: the page's editor, with Python as its encoder. */

import { areasOf, roughAreas } from "../web/static/core/extents.js";
import { bestIndex } from "../web/static/core/logits.js";
import { isAmbiguous } from "../web/static/core/prompts.js";
import { Model, outlineOf } from "../web/static/engine/predict.js";
import { Roads } from "../web/static/engine/roads.js";
import { ort, startRuntime } from "../web/static/engine/runtime.js";
import { Editor } from "../web/static/page/editor.js";
import { Gestures } from "../web/static/page/gestures.js";
import { Stage } from "../web/static/page/stage.js";

/** @typedef {import("../web/static/core/types.js").Box} Box */
/** @typedef {import("../web/static/core/types.js").Hw} Hw */
/** @typedef {{width: number, height: number, side: number, card: any}} Facts */

/** Questions to Python, each with one answer. */
class Kernel {
  /** @param {any} model  anywidget's */
  constructor(model) {
    this.model = model;
    this.last = 0;
    /** @type {Map<number, (answer: {message: any, buffers: DataView[]}) => void>} */
    this.waiting = new Map();
    this.heard = (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => {
      this.waiting.get(message.id)?.({ message, buffers });
      this.waiting.delete(message.id);
    };
    model.on("msg:custom", this.heard);
  }

  /**
   * @param {any} question
   * @returns {Promise<{message: any, buffers: DataView[]}>}
   */
  ask(question) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, (answer) => (answer.message.error ? reject(new Error(answer.message.error)) : resolve(answer)));
      this.model.send({ ...question, id });
    });
  }

  close() {
    this.model.off("msg:custom", this.heard);
  }
}

/** The page's model, whose photos and regions Python encodes. */
class Asking extends Model {
  /**
   * @param {any} card
   * @param {Uint8Array} decoder
   * @param {Kernel} kernel
   */
  constructor(card, decoder, kernel) {
    super(card, null, decoder, null, new Roads());
    this.kernel = kernel;
  }

  /** @param {number} side */
  async embed(side) {
    if (!this.embeddings.has(side)) this.embeddings.set(side, await this.encoded(null));
  }

  /** @param {Box} region */
  encodeRegion(region) {
    return this.encoded(region);
  }

  /** @param {Box | null} region */
  async encoded(region) {
    const { message, buffers } = await this.kernel.ask({ kind: "encode", region });
    return new ort.Tensor("float32", floats(buffers[0]), message.shape);
  }
}

/** The tasks of the page's worker that the editor asks for, here without a worker. */
class Tasks {
  /**
   * @param {Promise<Asking>} model
   * @param {number} side
   */
  constructor(model, side) {
    this.model = model;
    this.side = side; // hovering uses it too: Python encodes the photo once
    /** @type {Promise<any>} */
    this.busy = Promise.resolve(); // the runtime does one thing at a time
  }

  /**
   * @param {string} task
   * @param {any} wish
   */
  call(task, wish = {}) {
    const result = this.busy.then(() => this.run(task, wish));
    this.busy = result.catch(() => {});
    return Object.assign(result, { id: 0 });
  }

  /**
   * @param {string} task
   * @param {any} wish
   */
  async run(task, { prompt, prior, answer, hasPrior, choice }) {
    const model = await this.model;
    if (task === "look") {
      const better = await model.lookAgain(prompt, answer, hasPrior);
      return better === answer ? null : { answer: better, areas: areasOf(better), outline: outlineOf(better, choice, false) };
    }
    const found = await model.predict(prompt, this.side, prior);
    const index = bestIndex(found.scores, isAmbiguous(prompt, Boolean(prior)));
    const isHover = task === "hover";
    return { answer: found, areas: isHover ? roughAreas(found) : areasOf(found), index, choice: index, outline: outlineOf(found, index, isHover) };
  }
}

/**
 * @param {DataView} view
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytes(view) {
  return new Uint8Array(/** @type {ArrayBuffer} */ (view.buffer), view.byteOffset, view.byteLength);
}

/** @param {DataView} view */
function floats(view) {
  return new Float32Array(bytes(view).slice().buffer); // a copy, because floats must lie at multiples of four
}

/**
 * Fetch the decoder and the runtime from Python and start them.
 * @param {Kernel} kernel
 * @param {Facts} facts
 */
async function start(kernel, facts) {
  const { message, buffers } = await kernel.ask({ kind: "files" });
  /** @type {Map<string, Uint8Array<ArrayBuffer>>} */
  const files = new Map(message.names.map((/** @type {string} */ name, /** @type {number} */ i) => [name, bytes(buffers[i])]));
  const address = (/** @type {string} */ name) => {
    const type = name.includes(".wasm.gz") ? "application/gzip" : "text/javascript";
    return URL.createObjectURL(new Blob([/** @type {any} */ (files.get(name.split("?")[0]))], { type }));
  };
  await startRuntime(address, () => {}, 1, "wasm");
  const model = new Asking(facts.card, /** @type {any} */ (files.get("decoder.onnx")), kernel);
  model.setPhoto({ width: facts.width, height: facts.height, data: new Uint8ClampedArray() });
  await Promise.all([model.embed(facts.side), model.decoder(facts.side)]);
  return model;
}

/**
 * @param {HTMLElement} el
 * @param {Facts} facts
 */
function build(el, facts) {
  el.classList.add("mobilesam-clicker");
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.style.aspectRatio = `${facts.width} / ${facts.height}`;
  canvas.setAttribute("aria-label", `Photo, ${facts.width} by ${facts.height} pixels; click an object`);
  // The wheel scrolls the notebook; with Ctrl it zooms. Registered before the page's gestures, which would take it.
  canvas.addEventListener("wheel", (event) => event.ctrlKey || event.metaKey || event.stopImmediatePropagation());
  const bar = document.createElement("div");
  const button = (/** @type {string} */ text, /** @type {string} */ title) => {
    const made = bar.appendChild(document.createElement("button"));
    [made.textContent, made.title, made.type] = [text, title, "button"];
    return made;
  };
  const buttons = {
    next: button("Next object", "The next click starts another object"),
    undo: button("Undo", "Take back the last step"),
    clear: button("Clear", "Forget all objects"),
  };
  const status = bar.appendChild(document.createElement("span"));
  status.setAttribute("role", "status");
  el.append(canvas, bar);
  return { canvas, buttons, status };
}

/**
 * @param {Editor} editor
 * @param {ReturnType<typeof build>["buttons"]} buttons
 */
function wire(editor, { next, undo, clear }) {
  next.onclick = () => editor.select(null);
  undo.onclick = () => editor.undo();
  clear.onclick = () => editor.clear();
}

/** @param {{model: any, el: HTMLElement}} view */
async function render({ model, el }) {
  /** @type {Facts} */
  const facts = model.get("_facts");
  const { canvas, buttons, status } = build(el, facts);
  const say = (/** @type {string} */ text) => (status.textContent = text);
  say("Loading the model…");
  const kernel = new Kernel(model);
  const started = start(kernel, facts);
  const stage = new Stage(canvas);
  const failed = (/** @type {Error} */ error) => say(error.message);
  let sent = "[]";
  const changed = () => {
    el.dataset.busy = editor.isAnswering ? "yes" : "";
    const objects = editor.doc.objects.map(({ prompt }) => prompt);
    if (JSON.stringify(objects) === sent) return;
    sent = JSON.stringify(objects);
    model.set("objects", JSON.parse(sent));
    model.save_changes();
  };
  const editor = new Editor(/** @type {any} */ (new Tasks(started, facts.side)), stage, { changed, say, failed });
  editor.side = facts.side;
  stage.editor = editor;
  new Gestures(stage, editor);
  wire(editor, buttons);
  const cleared = () => {
    sent = JSON.stringify(model.get("objects"));
    if (sent === "[]" && editor.doc.objects.length) editor.clear();
  };
  model.on("change:objects", cleared);
  stage.show(await createImageBitmap(new Blob([bytes(model.get("_photo"))])), facts);
  await started.then(() => {
    editor.isReady = true;
    el.dataset.ready = "yes";
    say("Click an object; right click what is not part of it; drag a box");
  }, failed);
  return () => {
    model.off("change:objects", cleared);
    kernel.close();
  };
}

export default { render };
