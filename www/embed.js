// The page that other sites embed in a frame. It contains the miner element, <r3mes-miner>, which the parent page
// controls by messages. docs/EMBEDDING.md documents the protocol.
//
// The node decides which sites may embed this page, with the directive `frame-ancestors` in its Content-Security-Policy
// header.

import { find } from "./dom.js";
import { errorMessage } from "./format.js";
import { R3mesMiner } from "./r3mes-miner.js";
import { MAX_INTENSITY, MIN_INTENSITY } from "./settings.js";

/** The version of the message protocol between this frame and its parent page. */
const VERSION = 1;
/** The events of the miner element that are passed on to the parent page. */
const EVENTS = ["state", "step", "submit", "reward", "error", "consent"];

const miner = find(document, "r3mes-miner", R3mesMiner);
/**
 * The origin of the parent page, or `undefined` until the parent page has sent its first message. Until then, this
 * frame sends only the message `ready`, which a parent page of any origin can receive.
 * @type {string | undefined}
 */
let parentOrigin;
let ready = false;
let lastState = { state: miner.state, reason: "" };

/** @type {Record<string, (message: Record<string, unknown>) => unknown>} */
const commands = {
  start: () => miner.start(),
  pause: () => miner.pause(),
  resume: () => miner.resume(),
  finish: () => miner.finish(),
  stop: () => miner.stop(),
  setIntensity({ intensity }) {
    if (typeof intensity !== "number" || !(intensity >= MIN_INTENSITY && intensity <= MAX_INTENSITY)) {
      throw new Error(`intensity ${intensity} is not a number from ${MIN_INTENSITY} to ${MAX_INTENSITY}`);
    }
    miner.setAttribute("intensity", String(intensity));
  },
  state: () => send("state", lastState),
};

/**
 * Sends a message to the parent page. Sends nothing while the origin of the parent page is unknown, or if this
 * page is not in a frame.
 * @param {string} type
 * @param {object} fields the other fields of the message
 */
function send(type, fields, origin = parentOrigin) {
  if (origin && parent !== window) parent.postMessage({ ...fields, r3mes: VERSION, type }, origin);
}

for (const type of EVENTS) {
  miner.addEventListener(`r3mes:${type}`, (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (type === "state") {
      lastState = detail;
      if (!ready) send("ready", {}, "*");
      ready = true;
    }
    send(type, detail);
  });
}

window.addEventListener("message", async ({ data, origin, source }) => {
  if (source !== parent || parent === window || origin === "null" || !data?.r3mes) return;
  parentOrigin ??= origin;
  if (origin !== parentOrigin) return;
  try {
    if (data.r3mes !== VERSION) {
      throw new Error(`protocol version ${data.r3mes} is not supported; this frame supports version ${VERSION}`);
    }
    const command = Object.hasOwn(commands, data.type) ? commands[data.type] : undefined;
    if (!command) throw new Error(`unknown command ${data.type}`);
    await command(data);
  } catch (error) {
    send("error", { message: errorMessage(error) });
  }
});
