// A visitor of the mining page: what a person sees and presses.

export const MINUTE = 60_000;

/** A fresh visitor on the node's page, who has agreed unless told otherwise; errors and foreign requests are noted. */
export async function visit(browser, node, { consent = true, context, ...options } = {}) {
  const visitor =
    context ?? (await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...options }));
  const page = await visitor.newPage();
  const seen = { errors: [], foreign: [] };
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (origin !== node.url && !request.url().startsWith("blob:")) seen.foreign.push(request.url());
  });
  await page.goto(node.url);
  await page.waitForFunction(() => document.querySelector("r3mes-miner").dataset.state === "ready");
  if (consent && !context) {
    await button(page, "I agree").click();
    await button(page, "Start").waitFor();
  }
  return { page, visitor, seen };
}

export const button = (page, name) => page.getByRole("button", { name, exact: true });

/** Waits for a state of the miner. */
export const state = (page, wanted) =>
  page.waitForFunction((wanted) => document.querySelector("r3mes-miner").dataset.state === wanted, wanted, {
    timeout: 2 * MINUTE,
  });

/** Waits for so many accepted tasks. */
export const accepted = (page, least, timeout = 5 * MINUTE) =>
  page.waitForFunction(
    (least) => Number(document.querySelector("r3mes-miner").shadowRoot.querySelector("#accepted").textContent) >= least,
    least,
    { timeout },
  );

/** The text of a part of the miner. */
export const shown = (page, id) =>
  page.evaluate((id) => document.querySelector("r3mes-miner").shadowRoot.getElementById(id).textContent, id);

/** The address that this browser's own key has. */
export const ownAddress = (page) => shown(page, "address");

/** Opens all that can be folded. */
export const unfold = (page) =>
  page.evaluate(() =>
    document
      .querySelector("r3mes-miner")
      .shadowRoot.querySelectorAll("details")
      .forEach((details) => (details.open = true)),
  );
