// The statistics panel: shows the loss, the accepted and pending tasks, the earnings, the balance, and the mining
// rates.

import { Chart } from "./chart.js";
import { find, tableRow } from "./dom.js";
import { formatCoins, formatLoss } from "./format.js";
import { Rates, WINDOWS } from "./rates.js";

/** @import { MinerEvent } from "./r3mes_www.js" */
/** @import { Submission } from "./storage.js" */

/** The largest number of losses from earlier visits that the chart shows after the page has been loaded. */
const RESTORED_LOSSES = 200;

/** Shows the numbers of tasks over all visits with this browser, and the earnings and rates of the current session. */
export class Statistics {
  #root;
  #chart;
  #rates = new Rates();
  #accepted = 0;
  #rejected = 0;
  #pending = 0;
  #earned = 0;
  /** @type {number | undefined} the balance of the payout address in micro-units, if known */
  #balance;
  /** The rewards of the miner that the ledger holds back in escrow, in micro-units. */
  #escrow = 0;

  /** @param {ParentNode} root contains the elements to fill */
  constructor(root) {
    this.#root = root;
    this.#chart = new Chart(find(root, "#chart", HTMLCanvasElement), find(root, "#chart-caption", HTMLElement));
  }

  /**
   * Computes statistics from the submissions of earlier visits, and shows them: how many tasks were accepted and how
   * many rejected, and the chart of losses.
   * @param {Submission[]} submissions all stored submissions, latest first
   */
  restore(submissions) {
    const accepted = submissions.filter(({ status }) => status === "accepted");
    this.#accepted = accepted.length;
    this.#rejected = submissions.filter(({ status }) => status === "rejected").length;
    for (const { loss } of accepted.slice(0, RESTORED_LOSSES).reverse()) this.#chart.add(loss);
    this.#show();
  }

  /**
   * Shows a balance.
   * @param {number | undefined} balance the balance of the payout address in micro-units, if known
   * @param {number} escrow the miner's rewards in escrow, in micro-units
   */
  showBalance(balance, escrow) {
    this.#balance = balance;
    this.#escrow = escrow;
    this.#show();
  }

  /** Starts a session. Its earnings and rates begin at zero. */
  beginSession() {
    this.#rates.begin();
    this.#earned = 0;
    this.#show();
  }

  /** Counts a computed task as pending. */
  addComputed() {
    this.#pending = 1;
    this.#show();
  }

  /**
   * Counts the pending task as accepted, and shows its loss, its reward and the new balance.
   * @param {Extract<MinerEvent, { event: "accepted" }>} event
   */
  addAccepted({ tokens, loss, reward, balance, escrow }) {
    this.#accepted += 1;
    this.#pending = 0;
    this.#earned += reward;
    this.#balance = balance;
    this.#escrow = escrow;
    this.#rates.add(tokens);
    this.#chart.add(loss);
    this.#part("loss").textContent = formatLoss(loss, "void");
    this.#show();
  }

  /** Counts the pending task as rejected. */
  addRejected() {
    this.#rejected += 1;
    this.#pending = 0;
    this.#show();
  }

  /** Shows the current rates. Call this at intervals, because the rates fall while no task is accepted. */
  showRates() {
    const rows = Object.entries(WINDOWS).map(([name, window]) => {
      const average = this.#rates.average(window);
      if (!average) return tableRow(name, "–", "–");
      return tableRow(name, Math.round(average.tokensPerSecond), average.tasksPerMinute.toFixed(1));
    });
    this.#part("rates").replaceChildren(...rows);
  }

  #show() {
    const finished = this.#accepted + this.#rejected;
    this.#part("accepted").textContent = String(this.#accepted);
    this.#part("pending").textContent = String(this.#pending);
    this.#part("share").textContent = finished ? `${Math.round((100 * this.#accepted) / finished)} %` : "–";
    this.#part("earned").textContent = formatCoins(this.#earned);
    const escrow = this.#escrow ? ` + ${formatCoins(this.#escrow)} in escrow` : "";
    this.#part("balance").textContent = this.#balance === undefined ? "–" : formatCoins(this.#balance) + escrow;
    this.showRates();
  }

  /** @param {string} id */
  #part(id) {
    return find(this.#root, `#${id}`, HTMLElement);
  }
}
