/** The page: opens photos, and connects the parts. */

import { Client } from "./client.js";
import { Editor } from "./editor.js";
import { Gestures } from "./gestures.js";
import { listen } from "./keys.js";
import { keepFiles, startServiceWorker } from "./offline.js";
import { byId, Panel } from "./panel.js";
import { Privacy } from "./privacy.js";
import { Stage } from "./stage.js";
import { Unsaved } from "./unsaved.js";

const BASE = new URL("../", import.meta.url).href;
const HOVER_SIDE = 384;
const hasWebgpu = Boolean(/** @type {HTMLMetaElement | null} */ (document.querySelector("meta[name=webgpu]"))?.content);
const MEGABYTES = hasWebgpu && "gpu" in navigator ? 22.9 : 20.0; // of model and runtime, for the progress bar
const SAID = 2600; // milliseconds at least; longer texts stay longer
const SAID_PER_LETTER = 65;

const canvas = byId("canvas");
const stage = new Stage(/** @type {HTMLCanvasElement} */ (canvas));
const client = new Client();
let fileName = "photo";
/** @type {Blob | null} */
let waiting = null;
let said = 0;
let opening = 0;

const page = {
  changed, say, failed, remedy: "Too much or too little? Try 1, 2, 3",
  fileName: () => fileName, saved: (/** @type {import("./editor.js").Thing[]} */ objects) => unsaved.keep(objects),
};
const editor = new Editor(client, stage, page);
stage.editor = editor;
const gestures = new Gestures(stage, editor);
const unsaved = new Unsaved(editor);
const panel = new Panel(editor, client, page);
const privacy = new Privacy(client);

/** @param {string} name */
function checked(name) {
  return /** @type {HTMLInputElement} */ (byId(name)).checked;
}

/** @param {string} text */
function say(text) {
  byId("status").textContent = text;
  byId("status").classList.add("on");
  clearTimeout(said);
  said = window.setTimeout(() => byId("status").classList.remove("on"), Math.max(SAID, SAID_PER_LETTER * text.length));
}

/** @param {Error} error */
function failed(error) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("trouble"));
  byId("busy").hidden = true;
  byId("trouble-text").textContent = error.message;
  byId("retry").hidden = !waiting;
  if (!dialog.open) dialog.showModal();
  byId(waiting ? "retry" : "dismiss").focus();
}

function changed() {
  document.body.toggleAttribute("data-busy", editor.isAnswering);
  panel.update();
  const thing = editor.activeObject;
  for (const button of document.querySelectorAll("[data-choice]")) {
    const is = Number(/** @type {HTMLElement} */ (button).dataset.choice) === editor.extent;
    button.setAttribute("aria-pressed", String(is));
    /** @type {HTMLButtonElement} */ (button).disabled = !editor.hasExtents;
  }
  const set = (/** @type {string} */ id, /** @type {boolean} */ isOn) =>
    (/** @type {HTMLButtonElement} */ (byId(id)).disabled = !isOn);
  set("undo", editor.history.past.length > 0);
  set("redo", editor.history.future.length > 0);
  set("clear", editor.doc.objects.length + editor.suggestions.length > 0);
  set("next", Boolean(thing));
  set("everything", editor.isReady && !editor.searching);
  byId("search").hidden = !editor.searching;
}

/**
 * @param {string} text
 * @param {number | null} [share]  0-1; null where it is not known
 * @param {string} [more]
 */
function busy(text, share = null, more = "") {
  const bar = /** @type {HTMLProgressElement} */ (byId("busy-bar"));
  byId("busy").hidden = false;
  byId("busy-text").textContent = text;
  byId("busy-more").textContent = more;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

/** @type {Promise<any> | null} */
let loading = null;

/** Load the model once; a failed load can be tried again. */
function loadModel() {
  loading ||= client
    .call("load", { base: BASE, service: privacy.service, webgpu: hasWebgpu ? localStorage.getItem("gpu") || "on" : "off" }, (stage_, { done }) => {
      const isDownload = stage_ === "bytes";
      progress = isDownload ? Math.min(1, done / 1e6 / MEGABYTES) : null;
      if (!byId("busy").hidden) showLoading();
    })
    .then((loaded) => {
      const { threads, kind } = loaded;
      byId("threads").textContent = kind === "webgpu" ? "the graphics card" : threads > 1 ? `${threads} threads` : "one thread";
      document.body.dataset.runtime = kind;
      document.body.dataset.model = "loaded";
      performance.mark("mobilesam:model");
      keepFiles(loaded.files).catch(() => {}); // the page works without, while there is a network
    })
    .catch((error) => {
      loading = null;
      throw error;
    });
  return loading;
}

/** @type {number | null} */
let progress = 0;

function showLoading() {
  if (progress === null) busy("Opening the model", null, "Once loaded, the page works without a network.");
  else busy("Loading the model", progress, `${(progress * MEGABYTES).toFixed(1)} of ${MEGABYTES} MB, only the first time`);
}

/**
 * Open a photo and let the model look at it.
 * @param {Blob} blob
 * @param {string} name
 */
async function openPhoto(blob, name) {
  const turn = ++opening;
  busy("Opening the photo");
  let photo;
  try {
    photo = await client.call("open", { blob, turn });
  } catch (error) {
    waiting = null; // the photo before, if any, stays open
    if (turn === opening) failed(/** @type {Error} */ (error));
    return;
  }
  if (turn === opening) byId("busy").hidden = true;
  const isWanted = turn === opening && (await unsaved.mayGo(fileName));
  // Not awaited: from here on the page shows what the worker uses, also if another photo is asked for meanwhile.
  if (turn === opening) client.call("use", { turn, isWanted }).catch(failed);
  if (turn !== opening || !isWanted) return photo.shown.close();
  editor.reset();
  waiting = blob;
  fileName = name || "photo.png";
  show(photo);
  try {
    await look(editor.session);
  } catch (error) {
    if (turn === opening) failed(/** @type {Error} */ (error));
  }
}

/** @param {{width: number, height: number, shown: ImageBitmap}} photo */
function show({ width, height, shown }) {
  document.body.dataset.ready = "";
  document.body.dataset.state = "ready";
  byId("file-name").textContent = `${fileName} · ${width} × ${height}`;
  canvas.setAttribute("aria-label", `${fileName}, ${width} by ${height} pixels. Arrow keys move the crosshair, Enter clicks.`);
  stage.show(shown, { width, height });
  stage.resize();
  changed();
}

/**
 * Let the model look at the open photo: small and fast for hovering first, then for results.
 * @param {number} session
 */
async function look(session) {
  if (document.body.dataset.model !== "loaded") showLoading();
  await loadModel();
  if (session !== editor.session) return;
  busy("Looking at the photo");
  await client.call("embed", { side: HOVER_SIDE });
  if (session !== editor.session) return;
  editor.isReady = true;
  byId("busy").hidden = true;
  waiting = null;
  document.body.dataset.ready = "hover";
  changed();
  canvas.focus({ preventScroll: true });
  say(matchMedia("(hover: hover)").matches ? "Point at something, then click" : "Tap something");
  await client.call("embed", { side: editor.side });
  if (session === editor.session) document.body.dataset.ready = "all";
}

/** @param {FileList | File[] | null | undefined} files */
function openFirst(files) {
  const file = files?.[0];
  if (file) openPhoto(file, file.name);
}

function connectOpeners() {
  for (const id of ["open", "pick"]) byId(id).addEventListener("click", () => byId("file").click());
  byId("camera").addEventListener("click", () => byId("shot").click());
  for (const id of ["file", "shot"]) {
    const input = /** @type {HTMLInputElement} */ (byId(id));
    input.addEventListener("change", () => {
      openFirst(input.files);
      input.value = "";
    });
  }
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-example]"))) {
    button.addEventListener("click", async () => {
      const address = button.dataset.example || "";
      try {
        openPhoto(await (await fetch(new URL(address, BASE))).blob(), address.split("/").pop() || "");
      } catch {
        failed(new Error("The example could not be loaded. Check your connection, then try again."));
      }
    });
  }
  addEventListener("paste", (event) => openFirst([...(event.clipboardData?.files || [])].filter((file) => file.type.startsWith("image/"))));
  let depth = 0;
  addEventListener("dragenter", () => (byId("drop").hidden = ++depth <= 0));
  addEventListener("dragleave", () => (byId("drop").hidden = --depth <= 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    byId("drop").hidden = true;
    openFirst(event.dataTransfer?.files);
  });
  byId("retry").addEventListener("click", () => waiting && openPhoto(waiting, fileName));
  byId("trouble").addEventListener("close", () => canvas.focus());
}

/** @param {import("./gestures.js").Tool} tool */
function useTool(tool) {
  gestures.tool = tool;
  editor.label = tool === "remove" ? 0 : 1;
  canvas.classList.toggle("moves", tool === "pan");
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-tool]"))) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
}

function everything() {
  const bar = /** @type {HTMLProgressElement} */ (byId("search-bar"));
  const search = editor.everything((done, total, found) => {
    byId("search").hidden = false;
    bar.value = done / total;
    byId("search-text").textContent = `${found} found`;
  });
  changed();
  search.catch(failed);
}

function nextObject() {
  if (editor.searching) editor.stopSearch();
  else if (!editor.activeObject && editor.suggestions.length) editor.suggestions = [];
  editor.select(null);
}

function connectTools() {
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-tool]"))) {
    button.addEventListener("click", () => useTool(/** @type {any} */ (button.dataset.tool)));
  }
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-choice]"))) {
    button.addEventListener("click", () => editor.choose(Number(button.dataset.choice)));
  }
  /** @type {Record<string, () => void>} */
  const actions = {
    undo: () => editor.undo(),
    redo: () => editor.redo(),
    clear: () => editor.clear(),
    next: nextObject,
    everything,
    "search-stop": nextObject,
    "zoom-in": () => stage.zoom(1.4),
    "zoom-out": () => stage.zoom(1 / 1.4),
    "zoom-fit": () => stage.fit(),
    "help-open": help,
    theme: switchTheme,
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("gpu-row").hidden = !hasWebgpu;
  /** @type {HTMLInputElement} */ (byId("gpu")).checked = localStorage.getItem("gpu") !== "off";
  byId("gpu").addEventListener("change", () => {
    localStorage.setItem("gpu", checked("gpu") ? "on" : "off");
    location.reload(); // the runtime cannot be exchanged while it runs
  });
  byId("second-look").addEventListener("change", () => (editor.looksAgain = checked("second-look")));
  byId("side").addEventListener("change", (event) => (editor.side = Number(/** @type {HTMLSelectElement} */ (event.target).value)));
  byId("grid").addEventListener("change", (event) => (editor.perSide = Number(/** @type {HTMLSelectElement} */ (event.target).value)));
}

function help() {
  /** @type {HTMLDialogElement} */ (byId("help")).showModal();
}

function switchTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

function connectKeys() {
  listen(editor, stage, gestures, {
    1: () => editor.choose(1), 2: () => editor.choose(2), 3: () => editor.choose(3),
    n: nextObject, Escape: nextObject, e: everything, "?": help,
    a: () => useTool("add"), r: () => useTool("remove"), b: () => useTool("box"), h: () => useTool("pan"),
    "+": () => stage.zoom(1.4), "=": () => stage.zoom(1.4), "-": () => stage.zoom(1 / 1.4), 0: () => stage.fit(),
    Delete: () => editor.activeObject && editor.remove(editor.activeObject.id),
    Backspace: () => editor.activeObject && editor.remove(editor.activeObject.id),
    "Ctrl+z": () => editor.undo(), "Ctrl+Shift+z": () => editor.redo(), "Ctrl+y": () => editor.redo(),
    "Ctrl+c": () => panel.copy(), "Ctrl+s": () => panel.save("cutout"),
  });
}

function showNetwork() {
  byId("offline").hidden = navigator.onLine;
}

async function start() {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  connectOpeners();
  connectTools();
  connectKeys();
  useTool("add");
  changed();
  showNetwork();
  addEventListener("online", showNetwork);
  addEventListener("offline", showNetwork);
  await startServiceWorker();
  document.body.dataset.started = "yes";
  loadModel().catch(() => {}); // a photo tries again, and says what is wrong
}

start();
