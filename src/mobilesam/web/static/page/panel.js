/** The list of objects, and the files that can be taken away. */

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./editor.js").Thing} Thing */

const SWATCH = "M12 3c5 0 8.5 3 8.5 7.8 0 5-3.6 10.2-9 10.2C6.5 21 3.5 17.5 3.5 12.8 3.5 7 7 3 12 3Z";
const CROSS = "m7 7 10 10M17 7 7 17";

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  return /** @type {T} */ (document.getElementById(id));
}

export class Panel {
  /**
   * @param {Editor} editor
   * @param {import("./client.js").Client} client
   * @param {{say: (text: string) => void, failed: (error: Error) => void, fileName: () => string, saved: (objects: Thing[]) => void}} page
   */
  constructor(editor, client, page) {
    this.editor = editor;
    this.client = client;
    this.page = page;
    this.listed = "";
    for (const button of document.querySelectorAll("[data-form]")) {
      button.addEventListener("click", () => this.save(/** @type {HTMLElement} */ (button).dataset.form || ""));
    }
    byId("copy").addEventListener("click", () => this.copy());
    byId("handle").addEventListener("click", () => {
      const isOpen = byId("panel").classList.toggle("open");
      byId("handle").setAttribute("aria-expanded", String(isOpen));
    });
  }

  update() {
    const { objects, active } = this.editor.doc;
    byId("none").hidden = objects.length > 0;
    byId("count").textContent = String(objects.length);
    for (const button of document.querySelectorAll("[data-form], #copy")) {
      /** @type {HTMLButtonElement} */ (button).disabled = !objects.length;
    }
    const listed = `${objects.map((one) => one.id)} ${active}`;
    if (this.listed === listed) return this.showNames(objects);
    this.listed = listed;
    const focused = document.activeElement;
    const at = [...byId("objects").querySelectorAll("button, input")].indexOf(/** @type {Element} */ (focused));
    byId("objects").replaceChildren(...objects.map((one) => this.row(one, one.id === active)));
    const controls = /** @type {NodeListOf<HTMLElement>} */ (byId("objects").querySelectorAll("button, input"));
    if (at >= 0) (controls[Math.min(at, controls.length - 1)] || byId("canvas")).focus({ preventScroll: true });
  }

  /**
   * Only the names: rows that someone is typing or clicking in stay.
   * @param {Thing[]} objects
   */
  showNames(objects) {
    const fields = /** @type {NodeListOf<HTMLInputElement>} */ (byId("objects").querySelectorAll("input"));
    fields.forEach((field, i) => {
      if (field !== document.activeElement) field.value = objects[i].name;
    });
  }

  /**
   * @param {Thing} thing
   * @param {boolean} isChosen
   */
  row(thing, isChosen) {
    const row = document.createElement("li");
    row.classList.toggle("chosen", isChosen);
    const swatch = button("swatch", isChosen ? `Done with ${thing.name}` : `Go on with ${thing.name}`, SWATCH);
    swatch.setAttribute("aria-pressed", String(isChosen));
    swatch.querySelector("path")?.setAttribute("fill", thing.colour);
    swatch.addEventListener("click", () => this.editor.select(isChosen ? null : thing.id));
    const name = document.createElement("input");
    name.value = thing.name;
    name.setAttribute("aria-label", "Name of the object");
    name.spellcheck = false;
    name.maxLength = 80;
    name.addEventListener("change", () => this.editor.rename(thing.id, name.value));
    const remove = button("icon", `Delete ${thing.name}`, CROSS);
    remove.addEventListener("click", () => this.editor.remove(thing.id));
    row.append(swatch, name, remove);
    return row;
  }

  /** @param {string} form */
  wish(form) {
    const { doc, activeObject } = this.editor;
    const onlyActive = /** @type {HTMLInputElement} */ (byId("only-active")).checked;
    const chosen = onlyActive && activeObject ? [activeObject] : doc.objects;
    const isWhole = !(/** @type {HTMLInputElement} */ (byId("cropped")).checked);
    const objects = chosen.map(({ name, colour, answer, choice }) => ({ name, colour, answer, choice }));
    return { form: form === "cutout" && isWhole ? "cutout-full" : form, fileName: this.page.fileName(), objects, chosen };
  }

  /** @param {string} form */
  async save(form) {
    if (!this.editor.doc.objects.length) return;
    try {
      const { chosen, ...wish } = this.wish(form);
      const { blob, name } = await this.client.call("write", wish);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      this.page.saved(chosen);
      this.page.say(`Saved ${name}`);
    } catch (error) {
      this.page.failed(/** @type {Error} */ (error));
    }
  }

  async copy() {
    if (!this.editor.doc.objects.length) return;
    try {
      const { chosen, ...wish } = this.wish("cutout");
      const made = this.client.call("write", wish).then(({ blob }) => blob);
      await navigator.clipboard.write([new ClipboardItem({ "image/png": made })]);
      this.page.saved(chosen);
      this.page.say("Copied. Paste it anywhere");
    } catch {
      this.page.say("This browser does not let the page copy pictures; save the cut-out instead");
    }
  }
}

/**
 * @param {string} kind
 * @param {string} label
 * @param {string} path
 */
function button(kind, label, path) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.setAttribute("aria-label", label);
  made.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
  return made;
}
