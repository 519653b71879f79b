// Submissions: each task that was computed, and what became of it.

import { coins, element } from "./dom.js";
import { record, submission, submissions } from "./records.js";

const SHOWN = 50;

export class Submissions {
  #body;
  #pending;

  /** `body`: of the table. */
  constructor(body) {
    this.#body = body;
  }

  /** Reads what earlier visits left; resolves to all of it, the latest first. */
  async restore() {
    const all = await submissions();
    this.#pending = all.find(({ status }) => status === "pending")?.cid;
    this.#draw(all);
    return all;
  }

  /** A task was computed, or found computed. */
  async computed({ cid, task, receipt }) {
    this.#pending = cid;
    await this.#put({ cid, task, receipt, status: "pending", time: Date.now() });
  }

  /** It was accepted. */
  async accepted(event) {
    this.#pending = undefined;
    await this.#put({ ...event, status: "accepted", time: Date.now() });
  }

  /** It was not. */
  async rejected({ transaction, reason }) {
    if (!this.#pending) return;
    const cid = this.#pending;
    this.#pending = undefined;
    await this.#put({ cid, transaction, reason, status: "rejected", time: Date.now() });
  }

  async #put(entry) {
    await record({ ...(await submission(entry.cid)), ...entry });
    this.#draw(await submissions(SHOWN));
  }

  #draw(entries) {
    const rows = entries.slice(0, SHOWN).map((entry) => {
      const status = element("td", entry.reason ? `${entry.status}: ${entry.reason}` : entry.status);
      status.className = entry.status;
      const texts = [entry.cid, entry.gradientDigest, entry.transaction].map((text) => {
        const cell = element("td", text ?? "–");
        cell.className = "digest";
        return cell;
      });
      const time = element("td", new Date(entry.time).toLocaleTimeString());
      const reward = element("td", entry.reward ? coins(entry.reward) : "–");
      return element("tr", time, status, element("td", entry.loss?.toFixed(4) ?? "–"), reward, ...texts);
    });
    this.#body.replaceChildren(...rows);
  }
}
