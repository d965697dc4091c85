/** Where photos go: said in words wherever the page speaks of it, and chosen where a service can encode them. */

import { byId } from "./panel.js";

const PLACES = { auto: "where it is faster", here: "in this browser", service: "by the service" };

export class Privacy {
  /** @param {import("./client.js").Client} client */
  constructor(client) {
    this.client = client;
    this.service = /** @type {HTMLMetaElement | null} */ (document.querySelector("meta[name=service]"))?.content || "";
    const kept = localStorage.getItem("place") || "";
    this.mode = kept in PLACES ? kept : "auto";
    this.isSent = false;
    client.noticed = ({ isSent }) => {
      this.isSent = isSent;
      this.show();
    };
    for (const row of document.querySelectorAll(".place")) /** @type {HTMLElement} */ (row).hidden = !this.service;
    for (const select of this.selects) {
      for (const [value, text] of Object.entries(PLACES)) select.append(new Option(text, value));
      select.addEventListener("change", () => this.choose(select.value));
    }
    this.choose(this.mode);
  }

  get selects() {
    return /** @type {NodeListOf<HTMLSelectElement>} */ (document.querySelectorAll("[data-place]"));
  }

  /** @param {string} mode */
  choose(mode) {
    this.mode = mode;
    localStorage.setItem("place", mode);
    for (const select of this.selects) select.value = mode;
    this.client.call("place", { mode });
    this.show();
  }

  show() {
    const { short, long } = this.words();
    byId("privacy").textContent = short;
    byId("private").title = long;
    byId("private").classList.toggle("leaves", short !== "Nothing is uploaded");
    byId("help-privacy").textContent = long;
    byId("welcome-privacy").textContent = `The model runs in this browser. ${long}`;
  }

  words() {
    const { host } = location;
    const copies = "copies of the photo and of small objects, at most 512 pixels,";
    if (this.isSent) {
      return { short: `Sent to ${host}`, long: `Reduced ${copies} went to the service at ${host}, which encodes them and keeps nothing.` };
    }
    if (!this.service || this.mode === "here") return { short: "Nothing is uploaded", long: "Your photo never leaves this device." };
    const [goes, go, when] = this.mode === "auto" ? ["May go", "may go", " if that is faster"] : ["Goes", "go", ""];
    return { short: `${goes} to ${host}`, long: `Reduced ${copies} ${go} to the service at ${host}, which encodes them${when} and keeps nothing.` };
  }
}
