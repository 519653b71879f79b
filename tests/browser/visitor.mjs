// Functions for the tests of the mining page. They read what a visitor sees, and press the buttons that a visitor
// presses.

/** @import { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core" */
/** @import { State } from "../../www/session.js" */
/** @import { TestNode } from "./node.mjs" */

export const MINUTE = 60_000;

/**
 * Opens the page of a node as a new visitor. The visitor consents to mining, unless `consent` is false. In the result,
 * `seen` collects the page's errors and its requests to other origins.
 * @param {Browser} browser
 * @param {TestNode} node
 * @param {BrowserContextOptions & { consent?: boolean, context?: BrowserContext }} options `context`: the browser
 *   context of an earlier visit, in which the visitor has already consented
 */
export async function visit(browser, node, { consent = true, context, ...options } = {}) {
  const permissions = ["clipboard-read", "clipboard-write"];
  const visitor = context ?? (await browser.newContext({ permissions, ...options }));
  const page = await visitor.newPage();
  const seen = { errors: /** @type {string[]} */ ([]), foreign: /** @type {string[]} */ ([]) };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") seen.errors.push(message.text());
  });
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== node.url && !request.url().startsWith("blob:")) seen.foreign.push(request.url());
  });
  await page.goto(node.url);
  await waitForState(page, "ready");
  if (consent && !context) {
    await button(page, "I agree").click();
    await button(page, "Start").waitFor();
  }
  return { page, visitor, seen };
}

/**
 * Returns the button whose name is exactly `name`.
 * @param {Page} page
 * @param {string} name
 */
export const button = (page, name) => page.getByRole("button", { name, exact: true });

/**
 * Waits until the miner is in the given state.
 * @param {Page} page
 * @param {State} state
 */
export const waitForState = (page, state) =>
  page.waitForFunction((state) => document.querySelector("r3mes-miner")?.dataset.state === state, state, {
    timeout: 2 * MINUTE,
  });

/**
 * Waits until the page shows at least `tasks` accepted tasks.
 * @param {Page} page
 * @param {number} tasks
 */
export const waitForAccepted = (page, tasks, timeout = 5 * MINUTE) =>
  page.waitForFunction(
    (tasks) => {
      const accepted = document.querySelector("r3mes-miner")?.shadowRoot?.querySelector("#accepted");
      return Number(accepted?.textContent) >= tasks;
    },
    tasks,
    { timeout },
  );

/**
 * Returns the text of the miner's element with this ID.
 * @param {Page} page
 * @param {string} id
 * @returns {Promise<string>}
 */
export const textOf = (page, id) =>
  page.evaluate(
    (id) => document.querySelector("r3mes-miner")?.shadowRoot?.getElementById(id)?.textContent ?? `no element ${id}`,
    id,
  );

/**
 * Returns the address of the key that the page made for this browser.
 * @param {Page} page
 */
export const ownAddress = (page) => textOf(page, "address");

/**
 * Opens every <details> element of the miner.
 * @param {Page} page
 */
export const openDetails = (page) =>
  page.evaluate(() => {
    const all = document.querySelector("r3mes-miner")?.shadowRoot?.querySelectorAll("details") ?? [];
    for (const details of all) details.open = true;
  });
