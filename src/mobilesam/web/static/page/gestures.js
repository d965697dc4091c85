/** Pointer, wheel and touch on the photo, as hovers, clicks, boxes and moves. */

import { boxFrom } from "../core/prompts.js";

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./stage.js").Stage} Stage */

const SLOP = 6; // pixels that a click may move
const LONG_PRESS = 480; // milliseconds
const WHEEL_PAUSE = 160; // milliseconds between two extents

/** @typedef {"add" | "remove" | "box" | "pan"} Tool */

export class Gestures {
  /**
   * @param {Stage} stage
   * @param {Editor} editor
   */
  constructor(stage, editor) {
    this.stage = stage;
    this.editor = editor;
    /** @type {Tool} */
    this.tool = "add";
    this.isSpaceDown = false;
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    /** @type {{x: number, y: number, isPan: boolean, isRight: boolean, isMoved: boolean} | null} */
    this.press = null;
    this.timer = 0;
    this.lastWheel = 0;
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.cancel(event));
    canvas.addEventListener("pointerleave", () => !this.press && editor.hover(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** @param {PointerEvent} event */
  down(event) {
    this.stage.canvas.focus({ preventScroll: true });
    this.stage.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.editor.crosshair = null;
    clearTimeout(this.timer);
    if (this.pointers.size > 1) {
      this.endDrag();
      return;
    }
    const isPan = this.tool === "pan" || this.isSpaceDown || event.button === 1;
    this.press = { x: event.clientX, y: event.clientY, isPan, isRight: event.button === 2, isMoved: false };
    if (event.pointerType !== "mouse" && !isPan) this.timer = window.setTimeout(() => this.longPress(), LONG_PRESS);
  }

  longPress() {
    if (!this.press || this.press.isMoved) return;
    const place = this.stage.place(this.press.x, this.press.y);
    this.press = null;
    navigator.vibrate?.(12);
    if (place) this.editor.click(place, 0);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (before && this.pointers.size === 2) return this.pinch(event, before);
    if (before) this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (!this.press) {
      if (event.pointerType === "mouse" && !before) {
        this.editor.crosshair = null;
        this.editor.hover(this.tool === "pan" ? null : this.stage.place(event.clientX, event.clientY));
      }
      return;
    }
    const { press } = this;
    if (Math.hypot(event.clientX - press.x, event.clientY - press.y) > SLOP) press.isMoved = true;
    if (!press.isMoved || !before) return;
    clearTimeout(this.timer);
    if (press.isPan) return this.stage.pan(event.clientX - before.x, event.clientY - before.y);
    if (press.isRight) return;
    this.editor.preview = null;
    this.editor.drag = this.dragged(event);
    this.stage.draw();
  }

  /** @param {PointerEvent} event */
  dragged(event) {
    const { press, stage } = this;
    if (!press) return null;
    const from = stage.placeAnywhere(press.x, press.y);
    const to = stage.placeAnywhere(event.clientX, event.clientY);
    return boxFrom(from, to, [stage.photo.height, stage.photo.width]);
  }

  /**
   * @param {PointerEvent} event
   * @param {{x: number, y: number}} before
   */
  pinch(event, before) {
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return;
    const now = { x: event.clientX, y: event.clientY };
    const apart = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    const frame = this.stage.canvas.getBoundingClientRect();
    this.stage.zoom(apart, [(now.x + other.x) / 2 - frame.left, (now.y + other.y) / 2 - frame.top]);
    this.stage.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.pointers.set(event.pointerId, now);
  }

  /** @param {PointerEvent} event */
  up(event) {
    clearTimeout(this.timer);
    const { press } = this;
    this.pointers.delete(event.pointerId);
    if (!press) return;
    const box = press.isMoved && !press.isPan && !press.isRight ? this.dragged(event) : null;
    this.endDrag();
    if (box) {
      this.editor.box(box);
    } else if (!press.isMoved && !(press.isPan && event.button !== 2)) {
      const place = this.stage.place(event.clientX, event.clientY);
      const isRemoval = press.isRight || event.shiftKey || this.tool === "remove";
      if (place) this.editor.click(place, isRemoval ? 0 : 1);
    }
  }

  /** @param {PointerEvent} event */
  cancel(event) {
    this.pointers.delete(event.pointerId);
    clearTimeout(this.timer);
    this.endDrag();
  }

  endDrag() {
    this.press = null;
    this.editor.drag = null;
    this.stage.draw();
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      const frame = this.stage.canvas.getBoundingClientRect();
      const factor = Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 180);
      this.stage.zoom(factor, [event.clientX - frame.left, event.clientY - frame.top]);
    } else if (event.timeStamp - this.lastWheel > WHEEL_PAUSE && event.deltaY) {
      this.lastWheel = event.timeStamp;
      this.editor.chooseNext(event.deltaY < 0 ? 1 : -1);
    }
  }
}
