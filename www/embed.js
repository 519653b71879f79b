// The page that other sites embed in a frame. It contains the miner element, <r3mes-miner>, which the parent page
// controls by messages. docs/EMBEDDING.md documents the protocol.
//
// The node decides which sites may embed this page, with the directive `frame-ancestors` in its Content-Security-Policy
// header.

import { find } from "./dom.js";
import { errorMessage } from "./format.js";
import { ParentWallet } from "./parent-wallet.js";
import { R3mesMiner } from "./r3mes-miner.js";
import { MAX_INTENSITY, MIN_INTENSITY } from "./settings.js";
import { isKept } from "./storage.js";

/** The versions of the message protocol between this frame and its parent page, oldest first. */
const VERSIONS = [1, 2];
/** The events of the miner element that are passed on to the parent page, by the first version that has them. */
const EVENTS = {
  1: ["state", "step", "submit", "reward", "error", "consent"],
  2: ["needs-consent", "needs-payee", "progress"],
};
const BACKENDS = ["auto", "gpu", "cpu"];

/** @typedef {Record<string, unknown>} Fields the fields of a message */

const miner = find(document, "r3mes-miner", R3mesMiner);
/**
 * The origin of the parent page, or `undefined` until the parent page has sent its first message. Until then, this
 * frame sends only the message `ready`, which a parent page of any origin can receive.
 * @type {string | undefined}
 */
let parentOrigin;
/** The version of the protocol that the parent page uses. */
let version = 1;
let ready = false;
let sentHeight = 0;
/** The wallet of the parent page, if the page offers one. */
const parentWallet = new ParentWallet((call) => send("call", call));
let lastState = { state: miner.state, reason: "" };

/** @type {Record<string, (message: Fields) => unknown>} */
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

/** @type {Record<string, (message: Fields) => unknown>} the commands that version 2 adds */
const commandsOf2 = {
  configure({ address, backend, intensity, signer }) {
    if (address !== undefined && typeof address !== "string") throw new Error("address is not a string");
    if (backend !== undefined && !BACKENDS.includes(String(backend))) {
      throw new Error(`backend ${backend} is none of ${BACKENDS.join(", ")}`);
    }
    if (signer !== undefined) miner.signer = parentWallet.provider(signer);
    if (intensity !== undefined) commands.setIntensity?.({ intensity });
    if (address !== undefined) miner.setAttribute("address", address);
    if (backend !== undefined) miner.setAttribute("backend", String(backend));
  },
  result: (message) => parentWallet.settle(message),
};

/**
 * Sends a message to the parent page. Sends nothing while the origin of the parent page is unknown, or if this
 * page is not in a frame.
 * @param {string} type
 * @param {object} fields the other fields of the message
 */
function send(type, fields, origin = parentOrigin, r3mes = version) {
  if (origin && parent !== window) parent.postMessage({ ...fields, r3mes, type }, origin);
}

/** Sends the message `ready` in each version, because the version of the parent page is not known yet. */
async function sendReady() {
  const kept = await isKept();
  for (const known of VERSIONS) send("ready", known > 1 ? { versions: VERSIONS, kept } : {}, "*", known);
}

for (const [since, types] of Object.entries(EVENTS)) {
  for (const type of types) {
    miner.addEventListener(`r3mes:${type}`, (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      if (type === "state") {
        lastState = detail;
        if (!ready) sendReady();
        ready = true;
      }
      if (version >= Number(since)) send(type, detail);
      else if (type === "needs-consent") send("error", { message: "The user has not agreed to mining yet." });
      else if (type === "needs-payee") send("error", { message: "The user has not chosen yet who is paid." });
    });
  }
}

/** Sends the height of this page, if it has changed since it was sent last. */
function sendHeight() {
  const height = document.documentElement.offsetHeight;
  if (version < 2 || height === sentHeight) return;
  sentHeight = height;
  send("resize", { height });
}

new ResizeObserver(sendHeight).observe(document.documentElement);

window.addEventListener("message", async ({ data, origin, source }) => {
  if (source !== parent || parent === window || origin === "null" || !data?.r3mes) return;
  parentOrigin ??= origin;
  if (origin !== parentOrigin) return;
  try {
    if (!VERSIONS.includes(data.r3mes)) {
      throw new Error(
        `protocol version ${data.r3mes} is not supported; this frame supports the versions ${VERSIONS.join(" and ")}`,
      );
    }
    version = data.r3mes;
    sendHeight();
    const known = version === 1 ? commands : { ...commands, ...commandsOf2 };
    const command = Object.hasOwn(known, data.type) ? known[data.type] : undefined;
    if (!command) throw new Error(`unknown command ${data.type}`);
    await command(data);
  } catch (error) {
    send("error", { message: errorMessage(error) });
  }
});
