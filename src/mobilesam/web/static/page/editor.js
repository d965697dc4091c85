/** What the user has made of a photo, and what happens on hover, click, box and key. */

import { extentOf, indexOf, nextExtent } from "../core/extents.js";
import { History } from "../core/history.js";
import { plane } from "../core/logits.js";

/** @typedef {import("../core/types.js").Answer} Answer */
/** @typedef {import("../core/types.js").Box} Box */
/** @typedef {import("../core/types.js").Outline} Outline */
/** @typedef {import("../core/types.js").Prompt} Prompt */
/** @typedef {import("../engine/search.js").Found} Found */
/**
 * @typedef {object} Thing  an object that the user has cut out
 * @property {number} id
 * @property {number} number  of the object in the photo, from 1
 * @property {string} name
 * @property {string} colour
 * @property {Prompt} prompt
 * @property {boolean} hasPrior
 * @property {Answer} answer
 * @property {number[]} areas  of the answer's masks
 * @property {number} choice  which of the answer's masks
 * @property {Outline} outline
 */
/** @typedef {{objects: Thing[], active: number | null}} Doc */

// The library's colours (Okabe and Ito), which colour-blind people can tell apart too.
const COLOURS = ["#009e73", "#e69f00", "#56b4e9", "#d55e00", "#0072b2", "#cc79a7", "#f0e442"];
const SURE = 90; // percent, from which on no help is offered
const HOVER_SIDE = 384; // pixels; the side at which hovering keeps up with the pointer
const EVERYTHING = { side: HOVER_SIDE, minScore: 0.4, minStability: 0.7, maxOverlap: 0.7 };

export class Editor {
  /**
   * @param {import("./client.js").Client} client
   * @param {import("./stage.js").Stage} stage
   * @param {{changed: () => void, say: (text: string) => void, failed: (error: Error) => void, remedy?: string}} page  remedy: what helps against a mask that is not right
   */
  constructor(client, stage, page) {
    this.client = client;
    this.stage = stage;
    this.page = page;
    /** @type {History<Doc>} */
    this.history = new History({ objects: [], active: null });
    this.isReady = false;
    this.side = 512;
    this.looksAgain = true;
    this.perSide = 20;
    this.session = 0;
    this.lastId = 0;
    this.reset();
  }

  /** Forget everything, for another photo. */
  reset() {
    this.stopSearch();
    this.session++;
    this.isReady = false;
    this.history = new History({ objects: [], active: null });
    /** @type {Outline | null} */
    this.preview = null;
    /** @type {Found[]} */
    this.suggestions = [];
    /** @type {Found | null} */
    this.aimed = null;
    /** @type {Box | null} */
    this.drag = null;
    /** @type {[number, number] | null} */
    this.crosshair = null;
    /** @type {[number, number] | null} */
    this.pointer = null;
    this.isHovering = false;
    this.isAnswering = false;
    /** @type {number | null} */
    this.wishedExtent = null;
    /** @type {{areas: number[], index: number} | null} */
    this.hovered = null; // the masks at the pointer, and the one that is shown
  }

  get doc() {
    return this.history.now;
  }

  get activeObject() {
    return this.doc.objects.find((one) => one.id === this.doc.active) || null;
  }

  /** @param {number} [index] */
  colour(index = this.nextNumber - 1) {
    return COLOURS[index % COLOURS.length];
  }

  /**
   * A suggestion's colour, the same while others come and go.
   * @param {Found} found
   */
  tint(found) {
    return this.colour(found.box[0] * 7 + found.box[1] * 13 + found.box[2] * 3 + found.box[3]);
  }

  changed() {
    this.stage.draw();
    this.page.changed();
  }

  /** @param {Doc} doc */
  push(doc) {
    this.history.push(doc);
    this.preview = null;
    this.changed();
  }

  // Hovering: one question is with the worker, and the newest place of the pointer waits.

  /** @param {[number, number] | null} place */
  hover(place) {
    this.pointer = place;
    if (!this.isReady) return;
    if (!place) {
      if (this.preview || this.aimed) [this.preview, this.aimed] = [null, null];
      this.stage.draw();
      return;
    }
    this.aimed = this.suggestionAt(place);
    if (this.aimed) {
      this.preview = null;
      this.stage.draw();
    } else if (!this.isHovering && !this.isAnswering && !this.searching) {
      this.ask(place);
    }
  }

  /** @param {[number, number]} place */
  async ask(place) {
    const session = this.session;
    this.isHovering = true;
    const { prompt, prior } = this.extended(place, this.label);
    try {
      const wish = { prompt, side: HOVER_SIDE, prior, extent: this.activeObject ? null : this.wishedExtent };
      const { outline, areas, index } = await this.client.call("hover", wish);
      if (session !== this.session) return;
      this.hovered = { areas, index };
      if (this.pointer && !this.aimed && !this.isAnswering) this.preview = outline;
      performance.mark("mobilesam:hover");
      this.stage.draw();
    } catch (error) {
      this.page.failed(/** @type {Error} */ (error));
    } finally {
      if (session === this.session) this.isHovering = false;
    }
    if (this.pointer && this.pointer !== place && !this.isHovering) this.hover(this.pointer);
  }

  label = 1; // of a click with the chosen tool

  /**
   * The chosen object's prompt with one more point, or a prompt of this point alone.
   * @param {[number, number]} place
   * @param {number} label
   */
  extended(place, label) {
    const base = this.activeObject;
    if (!base) return { prompt: { points: [place], labels: [1], box: null }, prior: null };
    const { points, labels, box } = base.prompt;
    return { prompt: { points: [...points, place], labels: [...labels, label], box }, prior: this.prior(base) };
  }

  /** @param {Thing} thing */
  prior({ answer, choice }) {
    return { side: answer.side, logits: plane(answer, choice).slice() };
  }

  /** @param {[number, number]} place */
  suggestionAt(place) {
    const under = this.suggestions.filter((one) => this.stage.encloses(one.outline, place));
    return under.sort((a, b) => a.area - b.area)[0] || null;
  }

  // Answers that stay

  /**
   * @param {[number, number]} place
   * @param {number} label
   */
  async click(place, label) {
    if (!this.isReady || this.isAnswering) return;
    const taken = label ? this.suggestionAt(place) : null;
    if (taken) return this.take(taken);
    if (!label && !this.activeObject) return this.page.say("First click the object, then what is not part of it");
    const { prompt, prior } = this.extended(place, label);
    await this.answer(prompt, prior, this.activeObject, this.activeObject ? null : this.wishedExtent);
  }

  /** @param {Box} box */
  async box(box) {
    if (this.isReady && !this.isAnswering) await this.answer({ points: [], labels: [], box }, null, null, null);
  }

  /**
   * @param {Prompt} prompt
   * @param {import("../core/types.js").Prior | null} prior
   * @param {Thing | null} base  the object that it extends
   * @param {number | null} extent  wished, 1-3
   */
  async answer(prompt, prior, base, extent) {
    const session = this.session;
    this.stopSearch();
    this.isAnswering = true;
    this.page.changed();
    try {
      const { answer, areas, choice, outline } = await this.client.call("predict", { prompt, side: this.side, prior, extent });
      if (session !== this.session) return;
      performance.mark("mobilesam:mask");
      const thing = { ...(base || this.newThing()), prompt, answer, areas, choice, outline, hasPrior: Boolean(prior) };
      this.put(thing, Boolean(base));
      this.announce(thing);
      if (this.looksAgain) await this.refine(thing, session);
    } catch (error) {
      this.page.failed(/** @type {Error} */ (error));
    } finally {
      if (session === this.session) {
        this.isAnswering = false;
        this.wishedExtent = null;
        this.changed();
      }
    }
  }

  /**
   * @param {Thing} thing
   * @param {number} session
   */
  async refine(thing, session) {
    const { prompt, answer, hasPrior, choice } = thing;
    const better = await this.client.call("look", { prompt, answer, hasPrior, choice });
    if (!better || session !== this.session) return;
    const finer = (/** @type {Thing} */ one) =>
      ({ ...one, answer: better.answer, areas: better.areas, outline: one.choice === choice ? better.outline : one.outline });
    this.history.mend((doc) => ({
      ...doc,
      objects: doc.objects.map((one) => (one.answer === answer ? finer(one) : one)),
    }));
    this.changed();
  }

  newThing() {
    const number = this.nextNumber;
    return { id: ++this.lastId, number, name: `object ${number}`, colour: this.colour(number - 1) };
  }

  get nextNumber() {
    return 1 + Math.max(0, ...this.doc.objects.map((one) => one.number));
  }

  /**
   * @param {Thing} thing
   * @param {boolean} isKnown
   */
  put(thing, isKnown) {
    const { objects } = this.doc;
    const next = isKnown ? objects.map((one) => (one.id === thing.id ? thing : one)) : [...objects, thing];
    this.push({ objects: next, active: thing.id });
  }

  /** @param {Thing} thing */
  announce(thing) {
    const percent = Math.round(100 * Math.min(1, Math.max(0, thing.answer.scores[thing.choice])));
    const remedy = percent < SURE && thing.areas.length === 4 && this.page.remedy ? `. ${this.page.remedy}` : "";
    this.page.say(`${thing.name}: the model is ${percent} % sure${remedy}`);
  }

  /** @param {Found} found  a suggestion of "everything" */
  take(found) {
    const prompt = { points: [], labels: [], box: null };
    this.suggestions = this.suggestions.filter((one) => one !== found);
    this.aimed = null;
    const thing = { ...this.newThing(), prompt, answer: found.answer, areas: [found.area], choice: 0, outline: found.outline, hasPrior: false };
    this.push({ objects: [...this.doc.objects, thing], active: this.suggestions.length ? null : thing.id });
    this.announce(thing);
  }

  /** The extent of the chosen object, or the one wished for the next; null where neither is one of the three. */
  get extent() {
    const thing = this.activeObject;
    return (thing ? extentOf(thing.areas, thing.choice) : this.wishedExtent) || null;
  }

  /** Whether there are three extents to choose from: of the chosen object, or for the next one. */
  get hasExtents() {
    const thing = this.activeObject;
    return this.isReady && (!thing || thing.areas.length === 4);
  }

  /**
   * Choose one of the three extents, of the chosen object or of what hovering shows.
   * @param {number} extent  1 the smallest to 3 the largest
   */
  async choose(extent) {
    const thing = this.activeObject;
    if (!this.hasExtents) return;
    if (!thing) {
      this.wishedExtent = extent;
      this.page.changed();
      if (this.pointer) this.ask(this.pointer);
      return;
    }
    const choice = indexOf(thing.areas, extent);
    if (thing.choice === choice) return;
    const session = this.session;
    const outline = await this.client.call("outline", { answer: thing.answer, choice });
    if (session === this.session && this.activeObject === thing) this.put({ ...thing, choice, outline }, true);
  }

  /** @param {number} step  1 to a larger extent, -1 to a smaller one */
  chooseNext(step) {
    const { areas, index } = this.hovered || { areas: [], index: 0 };
    const thing = this.activeObject;
    if (thing) this.choose(nextExtent(thing.areas, thing.choice, step));
    else if (this.wishedExtent) this.choose(Math.min(3, Math.max(1, this.wishedExtent + step)));
    else this.choose(nextExtent(areas, index, step));
  }

  // Objects

  /** @param {number | null} id */
  select(id) {
    this.history.mend((doc) => (doc === this.history.now ? { ...doc, active: id } : doc));
    this.preview = null;
    this.changed();
    if (this.pointer) this.hover(this.pointer);
  }

  /**
   * @param {number} id
   * @param {string} name
   */
  rename(id, name) {
    const objects = this.doc.objects.map((one) => (one.id === id ? { ...one, name: name.trim() || one.name } : one));
    this.push({ ...this.doc, objects });
  }

  /** @param {number} id */
  remove(id) {
    const objects = this.doc.objects.filter((one) => one.id !== id);
    this.push({ objects, active: this.doc.active === id ? null : this.doc.active });
  }

  clear() {
    this.suggestions = [];
    this.aimed = null;
    this.stopSearch();
    if (this.doc.objects.length) this.push({ objects: [], active: null });
    else this.changed();
  }

  undo() {
    if (this.isAnswering || !this.history.undo()) return;
    this.preview = null;
    this.changed();
  }

  redo() {
    if (this.isAnswering || !this.history.redo()) return;
    this.preview = null;
    this.changed();
  }

  // Everything

  /** @type {{id: number} | null} */
  searching = null;

  /** @param {(done: number, total: number, found: number) => void} report */
  async everything(report) {
    if (!this.isReady || this.searching || this.isAnswering) return;
    const session = this.session;
    this.select(null);
    report(0, 1, 0);
    const call = this.client.call("everything", { ...EVERYTHING, perSide: this.perSide }, (_, { done, total, masks }) => {
      if (session !== this.session || this.searching !== call) return;
      this.suggestions = masks.sort((/** @type {Found} */ a, /** @type {Found} */ b) => b.area - a.area);
      report(done, total, masks.length);
      if (this.pointer) this.hover(this.pointer);
      this.stage.draw();
    });
    this.searching = call;
    try {
      await call;
    } finally {
      if (this.searching === call) this.searching = null;
      this.changed();
    }
    if (session === this.session) this.page.say(`${this.suggestions.length} found. Click those you want`);
  }

  stopSearch() {
    if (this.searching) this.client.call("cancel", { which: this.searching.id });
    this.searching = null;
  }
}
