/** The keyboard: everything that the pointer can do. */

import { byId } from "./panel.js";

/** @typedef {import("./editor.js").Editor} Editor */

const STEP = 8; // pixels of the screen
const FAR = 40;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * @param {Editor} editor
 * @param {import("./stage.js").Stage} stage
 * @param {import("./gestures.js").Gestures} gestures
 * @param {Record<string, (event: KeyboardEvent) => void>} page  what other keys do, by name; with "Ctrl+" before
 */
export function listen(editor, stage, gestures, page) {
  addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input:not([type=checkbox]), select, dialog[open]")) return;
    const isOnCanvas = target === stage.canvas || target === document.body;
    const withCtrl = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (isOnCanvas && key in ARROWS) {
      event.preventDefault();
      moveCrosshair(editor, stage, ARROWS[key], event.shiftKey ? FAR : STEP);
    } else if (isOnCanvas && key === "Enter" && editor.crosshair) {
      event.preventDefault();
      editor.click(editor.crosshair, event.shiftKey || gestures.tool === "remove" ? 0 : 1);
    } else if (isOnCanvas && key === " ") {
      event.preventDefault();
      gestures.isSpaceDown = true;
      stage.canvas.classList.add("moves");
    } else {
      const name = withCtrl ? `Ctrl+${event.shiftKey ? "Shift+" : ""}${key}` : key;
      if (!(name in page) || document.body.dataset.state === "empty" && name !== "?") return;
      event.preventDefault();
      page[name](event);
    }
  });
  addEventListener("keyup", (event) => {
    if (event.key !== " ") return;
    gestures.isSpaceDown = false;
    stage.canvas.classList.toggle("moves", gestures.tool === "pan");
  });
  stage.canvas.addEventListener("blur", () => {
    if (!editor.crosshair) return;
    editor.crosshair = null;
    editor.hover(null);
  });
  byId("help").addEventListener("click", (event) => {
    if (event.target === event.currentTarget) /** @type {HTMLDialogElement} */ (byId("help")).close();
  });
}

/**
 * @param {Editor} editor
 * @param {import("./stage.js").Stage} stage
 * @param {[number, number]} direction
 * @param {number} step
 */
function moveCrosshair(editor, stage, [dx, dy], step) {
  const { width, height } = stage.photo;
  const [x, y] = editor.crosshair || [width / 2 - (dx * step) / stage.view.scale, height / 2 - (dy * step) / stage.view.scale];
  const hold = (/** @type {number} */ at, /** @type {number} */ most) => Math.min(Math.max(at, 0.5), most - 0.5);
  editor.crosshair = [hold(x + (dx * step) / stage.view.scale, width), hold(y + (dy * step) / stage.view.scale, height)];
  editor.hover(editor.crosshair);
  stage.draw();
}
