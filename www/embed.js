// The page for frames on other sites: <r3mes-miner>, driven by its parent's messages. docs/EMBEDDING.md is the protocol.
//
// Which sites may frame it is the node's to say, by `frame-ancestors`; a browser loads it nowhere else.

import "./r3mes-miner.js";

const VERSION = 1;
const EVENTS = ["state", "step", "submit", "reward", "error", "consent"];

const miner = document.querySelector("r3mes-miner");
/** The parent's origin, known from its first message on; nothing but `ready` is told before. */
let host;
let ready = false;
let last = { state: miner.state, reason: "" };

const commands = {
  start: () => miner.start(),
  pause: () => miner.pause(),
  resume: () => miner.resume(),
  finish: () => miner.finish(),
  stop: () => miner.stop(),
  setIntensity({ intensity }) {
    if (!(intensity >= 0.05 && intensity <= 1))
      throw new Error(`intensity ${intensity} is not a number from 0.05 to 1`);
    miner.setAttribute("intensity", intensity);
  },
  state: () => tell("state", last),
};

function tell(type, detail, origin = host) {
  if (origin && parent !== window) parent.postMessage({ ...detail, r3mes: VERSION, type }, origin);
}

for (const type of EVENTS) {
  miner.addEventListener(`r3mes:${type}`, ({ detail }) => {
    if (type === "state") {
      last = detail;
      if (!ready) tell("ready", {}, "*");
      ready = true;
    }
    tell(type, detail);
  });
}

window.addEventListener("message", async ({ data, origin, source }) => {
  if (source !== parent || parent === window || origin === "null" || !data?.r3mes) return;
  host ??= origin;
  if (origin !== host) return;
  try {
    if (data.r3mes !== VERSION) throw new Error(`protocol version ${data.r3mes} is not spoken here, only ${VERSION}`);
    if (!Object.hasOwn(commands, data.type)) throw new Error(`there is no command ${data.type}`);
    await commands[data.type](data);
  } catch (error) {
    tell("error", { message: error.message });
  }
});
