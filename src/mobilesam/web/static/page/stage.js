/** Drawing of the photo, its masks, and what the pointer is about to do. */

import { fit, kept, toPhoto, zoomed } from "../core/viewport.js";

/** @typedef {import("../core/types.js").Outline} Outline */
/** @typedef {import("./editor.js").Editor} Editor */

const WHITE = "#ffffff";
const DARK = "#10151399";

/** @type {WeakMap<Outline, Path2D>} */
const paths = new WeakMap();

/**
 * @param {Outline} outline
 * @returns {Path2D}
 */
export function pathOf(outline) {
  let path = paths.get(outline);
  if (!path) {
    path = new Path2D();
    let at = 0;
    for (const length of outline.lengths) {
      path.moveTo(outline.points[at], outline.points[at + 1]);
      for (let i = 1; i < length; i++) path.lineTo(outline.points[at + 2 * i], outline.points[at + 2 * i + 1]);
      path.closePath();
      at += 2 * length;
    }
    paths.set(outline, path);
  }
  return path;
}

export class Stage {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.view = { scale: 1, x: 0, y: 0 };
    this.photo = { width: 1, height: 1 };
    /** @type {ImageBitmap | null} */
    this.shown = null;
    this.isFitted = true;
    this.isWaiting = false;
    /** @type {Editor | null} */
    this.editor = null;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  get screen() {
    return { width: this.canvas.clientWidth || 1, height: this.canvas.clientHeight || 1 };
  }

  resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.screen.width * ratio);
    this.canvas.height = Math.round(this.screen.height * ratio);
    if (this.isFitted) this.view = fit(this.photo, this.screen);
    this.paint();
  }

  /**
   * @param {ImageBitmap} shown
   * @param {{width: number, height: number}} photo
   */
  show(shown, photo) {
    this.shown?.close();
    [this.shown, this.photo] = [shown, photo];
    this.fit();
  }

  fit() {
    this.isFitted = true;
    this.view = fit(this.photo, this.screen);
    this.draw();
  }

  /**
   * @param {number} factor
   * @param {[number, number]} [at]
   */
  zoom(factor, at = [this.screen.width / 2, this.screen.height / 2]) {
    this.isFitted = false;
    this.view = zoomed(this.view, factor, at, this.photo, this.screen);
    this.draw();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.isFitted = false;
    this.view = kept({ ...this.view, x: this.view.x + dx, y: this.view.y + dy }, this.photo, this.screen);
    this.draw();
  }

  /**
   * The place in the photo under a place of the window; null outside of the photo.
   * @param {number} clientX
   * @param {number} clientY
   * @returns {[number, number] | null}
   */
  place(clientX, clientY) {
    const [x, y] = this.placeAnywhere(clientX, clientY);
    return x >= 0 && y >= 0 && x < this.photo.width && y < this.photo.height ? [x, y] : null;
  }

  /**
   * @param {number} clientX
   * @param {number} clientY
   */
  placeAnywhere(clientX, clientY) {
    const frame = this.canvas.getBoundingClientRect();
    return toPhoto(this.view, [clientX - frame.left, clientY - frame.top]);
  }

  /**
   * Whether a mask's outline encloses a place in the photo.
   * @param {Outline} outline
   * @param {[number, number]} place
   */
  encloses(outline, [x, y]) {
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    return this.context.isPointInPath(pathOf(outline), x, y, "evenodd");
  }

  draw() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.paint();
    });
  }

  paint() {
    const { context, canvas, view, photo, editor } = this;
    const ratio = devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.shown || !editor) return;
    context.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
    context.imageSmoothingEnabled = view.scale < 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.shown, 0, 0, photo.width, photo.height);
    const unit = 1 / view.scale; // of the screen, in the photo
    for (const one of editor.suggestions) if (one !== editor.aimed) this.mask(one.outline, editor.tint(one), 0.3, 0.75, unit);
    if (editor.aimed) this.mask(editor.aimed.outline, editor.tint(editor.aimed), 0.66, 2, unit);
    const { objects, active } = editor.doc;
    for (const one of objects) this.mask(one.outline, one.colour, one.id === active ? 0.5 : 0.38, one.id === active ? 2 : 1.25, unit);
    if (editor.preview) this.mask(editor.preview, editor.activeObject?.colour || editor.colour(), 0.42, 1.5, unit);
    this.marks(editor, unit);
  }

  /**
   * @param {Outline} outline
   * @param {string} colour
   * @param {number} opacity
   * @param {number} width
   * @param {number} unit
   */
  mask(outline, colour, opacity, width, unit) {
    const { context } = this;
    const path = pathOf(outline);
    context.globalAlpha = opacity;
    context.fillStyle = colour;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
    context.lineJoin = "round";
    context.lineWidth = (width + 2) * unit;
    context.strokeStyle = DARK;
    context.stroke(path);
    context.lineWidth = width * unit;
    context.strokeStyle = WHITE;
    context.stroke(path);
  }

  /**
   * Points and box of the chosen object, the box being drawn, and the crosshair.
   * @param {Editor} editor
   * @param {number} unit
   */
  marks(editor, unit) {
    const { context } = this;
    const prompt = editor.activeObject?.prompt;
    for (const box of [editor.drag, prompt?.box]) {
      if (!box) continue;
      for (const [colour, width] of /** @type {[string, number][]} */ ([[DARK, 4], [WHITE, 2]])) {
        context.strokeStyle = colour;
        context.lineWidth = width * unit;
        context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      }
    }
    prompt?.points.forEach(([x, y], i) => {
      context.beginPath();
      context.arc(x, y, 6.5 * unit, 0, 2 * Math.PI);
      context.fillStyle = prompt.labels[i] ? "#0a6b50" : "#b3261e";
      context.fill();
      context.lineWidth = 2 * unit;
      context.strokeStyle = WHITE;
      context.stroke();
      context.beginPath();
      context.moveTo(x - 3 * unit, y);
      context.lineTo(x + 3 * unit, y);
      if (prompt.labels[i]) {
        context.moveTo(x, y - 3 * unit);
        context.lineTo(x, y + 3 * unit);
      }
      context.stroke();
    });
    if (editor.crosshair) this.cross(editor.crosshair, unit);
  }

  /**
   * @param {[number, number]} place
   * @param {number} unit
   */
  cross([x, y], unit) {
    const { context } = this;
    for (const [colour, width] of /** @type {[string, number][]} */ ([[DARK, 4], [WHITE, 2]])) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 5 * dx * unit, y + 5 * dy * unit);
        context.lineTo(x + 17 * dx * unit, y + 17 * dy * unit);
      }
      context.strokeStyle = colour;
      context.lineWidth = width * unit;
      context.stroke();
    }
  }
}
