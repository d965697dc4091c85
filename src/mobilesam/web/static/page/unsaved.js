/** Objects that no file has yet: nobody loses them without being asked. */

import { byId } from "./panel.js";

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./editor.js").Thing} Thing */

export class Unsaved {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Set<string>} */
    this.saved = new Set();
    /** @type {((isYes: boolean) => void) | null} */
    this.answer = null;
    const dialog = this.dialog;
    dialog.addEventListener("close", () => this.tell(dialog.returnValue === "leave"));
    addEventListener("beforeunload", (event) => this.objects.length && event.preventDefault());
  }

  get dialog() {
    return /** @type {HTMLDialogElement} */ (byId("leave"));
  }

  /** The objects that were made or changed since they were last saved. */
  get objects() {
    return this.editor.doc.objects.filter((one) => !this.saved.has(content(one)));
  }

  /** @param {Thing[]} objects  that a file, or the clipboard, has now */
  keep(objects) {
    for (const one of objects) this.saved.add(content(one));
  }

  /** @param {boolean} isYes */
  tell(isYes) {
    this.answer?.(isYes);
    this.answer = null;
  }

  /**
   * Whether the objects may go, for another photo; asked only if some of them are in no file.
   * @param {string} fileName  of the photo that they are in
   * @returns {Promise<boolean>}
   */
  async mayGo(fileName) {
    const count = this.objects.length;
    if (!count) return true;
    this.tell(false); // a photo that was asked about before gives way to this one
    const things = count === 1 ? "1 object" : `${count} objects`;
    byId("leave-text").textContent = `${things} of ${fileName} ${count === 1 ? "has" : "have"} not been saved and would be lost.`;
    this.dialog.returnValue = "";
    if (!this.dialog.open) this.dialog.showModal();
    return new Promise((resolve) => (this.answer = resolve));
  }
}

/**
 * What of an object is lost with the page, as text; names count, because files have them.
 * @param {Thing} thing
 */
function content({ id, name, prompt, choice }) {
  return JSON.stringify([id, name, prompt, choice]);
}
