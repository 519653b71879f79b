// The submissions table: shows the latest 50 computed tasks, and whether their gradients were accepted.

import { element } from "./dom.js";
import { formatCoins, formatLoss, shortenCid } from "./format.js";
import { listSubmissions, loadSubmission, saveSubmission } from "./storage.js";

/** @import { MinerEvent } from "./r3mes_www.js" */
/** @import { Submission } from "./storage.js" */

const MAX_ROWS = 50;

/** Stores the submissions of this browser, and shows the latest 50 of them. */
export class SubmissionTable {
  #body;
  #onReceipt;
  /** @type {{ content: string, row: HTMLElement }[]} the rows, each with the JSON of its submission */
  #rows = [];
  /** @type {string | undefined} the artifact CID of the submission that is neither accepted nor rejected yet */
  #pending;

  /**
   * @param {HTMLElement} body the body of the table
   * @param {(receipt: string) => void} onReceipt called with a receipt, as JSON, that the visitor wants to see
   */
  constructor(body, onReceipt) {
    this.#body = body;
    this.#onReceipt = onReceipt;
  }

  /** Whether a gradient has been computed that is neither accepted nor rejected yet. */
  get hasPending() {
    return this.#pending !== undefined;
  }

  /** Loads and shows the submissions of earlier visits. Resolves to all of them, latest first. */
  async restore() {
    const submissions = await listSubmissions();
    this.#pending = submissions.find(({ status }) => status === "pending")?.cid;
    this.#show(submissions);
    return submissions;
  }

  /**
   * Adds a pending submission for a gradient that was computed just now, or that was computed earlier and found in the
   * cache.
   * @param {Extract<MinerEvent, { event: "computed" | "found" }>} event
   */
  async addComputed({ cid, task, receipt }) {
    this.#pending = cid;
    await this.#save({ cid, task, receipt, status: "pending", time: Date.now() });
  }

  /**
   * Marks a submission as accepted. The event contains the CID of the submission.
   * @param {Extract<MinerEvent, { event: "accepted" }>} event
   */
  async addAccepted(event) {
    this.#pending = undefined;
    await this.#save({ ...event, status: "accepted", time: Date.now() });
  }

  /**
   * Marks the pending submission as rejected. Has no effect if none is pending.
   * @param {Extract<MinerEvent, { event: "rejected" }>} event
   */
  async addRejected({ transaction, reason }) {
    if (!this.#pending) return;
    const cid = this.#pending;
    this.#pending = undefined;
    await this.#save({ cid, transaction, reason, status: "rejected", time: Date.now() });
  }

  /** @param {Submission} submission */
  async #save(submission) {
    await saveSubmission({ ...(await loadSubmission(submission.cid)), ...submission });
    this.#show(await listSubmissions(MAX_ROWS));
  }

  /**
   * Shows submissions. The rows of those that have not changed stay in the document, so that they keep the keyboard focus.
   * @param {Submission[]} submissions
   */
  #show(submissions) {
    const rows = submissions.slice(0, MAX_ROWS).map((submission) => {
      const content = JSON.stringify(submission);
      return this.#rows.find((row) => row.content === content) ?? { content, row: this.#row(submission) };
    });
    for (const { row } of this.#rows.filter((row) => !rows.includes(row))) row.remove();
    rows.forEach(({ row }, index) => {
      const current = this.#body.children[index];
      if (current !== row) this.#body.insertBefore(row, current ?? null);
    });
    this.#rows = rows;
  }

  /** @param {Submission} submission */
  #row({ time, status, reason, loss, reward, cid, gradientDigest, transaction, receipt }) {
    const statusCell = element("td", reason ? `${status}: ${reason}` : status);
    statusCell.className = status;
    const digestCells = [cid, gradientDigest, transaction].map((digest) => {
      const cell = element("td", digest || "–");
      cell.className = "digest";
      return cell;
    });
    return element(
      "tr",
      element("td", new Date(time).toLocaleTimeString()),
      statusCell,
      element("td", formatLoss(loss, "–")),
      element("td", reward ? formatCoins(reward) : "–"),
      ...digestCells,
      element("td", receipt ? this.#receiptButton(cid, receipt) : "–"),
    );
  }

  /**
   * @param {string} cid
   * @param {string} receipt
   */
  #receiptButton(cid, receipt) {
    const button = element("button", "Show");
    button.type = "button";
    button.ariaLabel = `Show the receipt of ${shortenCid(cid)}`;
    button.addEventListener("click", () => this.#onReceipt(receipt));
    return button;
  }
}
