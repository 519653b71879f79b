// Starts a node with the small test model, in a separate process.

import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.R3MES_WGPU ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/r3mes-wgpu");

/**
 * A running node.
 *
 * @typedef {object} TestNode
 * @property {string} url the URL of the node
 * @property {(path: string) => Promise<any>} get requests a path and returns the JSON answer
 * @property {() => Promise<string>} ownerToken returns the token of the node's owner
 * @property {(address: string) => Promise<number>} balance returns the balance of an address in micro-units
 * @property {() => Promise<void>} kill ends the process with SIGKILL, but keeps its data
 * @property {(flags?: string[]) => Promise<TestNode>} restart starts the node again after `kill`, on the same port;
 *   `flags` replaces the earlier arguments
 * @property {() => Promise<void>} stop ends the process and deletes its data
 */

/**
 * Starts a node on a free port. The node serves the page in the folder `page`.
 * @param {{ page: string, flags?: string[] }} options `flags`: additional command-line arguments
 */
export async function startNode({ page, flags = [] }) {
  const home = await mkdtemp(join(tmpdir(), "r3mes-browser-"));
  await cp(join(ROOT, "tests/data/small_model"), join(home, "model"), { recursive: true });
  const text = Uint8Array.from({ length: 40 * 2048 }, (_, i) => 97 + (Math.floor((i * i) / 7) % 26));
  await writeFile(join(home, "text.txt"), text);
  return runNode(home, page, 0, flags);
}

/**
 * Runs the command `node`. Resolves after the node has printed its URL.
 * @param {string} home the folder of the node's data
 * @param {string} page the folder of the page
 * @param {number | string} port 0 for a free port
 * @param {string[]} flags additional command-line arguments
 * @returns {Promise<TestNode>}
 */
async function runNode(home, page, port, flags) {
  const model = ["--rank", "4", "--model", join(home, "model"), "--text", join(home, "text.txt")];
  const paths = ["--data-dir", join(home, "data"), "--page", page, "--listen", `127.0.0.1:${port}`];
  const child = spawn(BINARY, ["node", "--json", ...flags, "--backend", "cpu", ...model, ...paths], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  /** @type {string} */
  const firstLine = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("error", reject);
    exited.then((code) => reject(new Error(`the node exited with code ${code}`)));
  });
  const { url } = JSON.parse(firstLine);
  /** @param {string} path */
  const get = async (path) => (await fetch(url + path)).json();
  const kill = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  return {
    url,
    get,
    balance: async (address) =>
      Number((await get(`/cosmos/bank/v1beta1/balances/${address}`)).balances[0]?.amount ?? 0),
    ownerToken: async () => (await readFile(join(home, "data", "owner-token"), "utf8")).trim(),
    kill,
    restart: (newFlags = flags) => runNode(home, page, new URL(url).port, newFlags),
    stop: async () => {
      await kill();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/**
 * Mines with the native miner until `tasks` tasks are complete. The rewards go to `address`.
 * @param {TestNode} node
 * @param {string} address
 * @param {number} tasks
 */
export async function mine(node, address, tasks) {
  const home = await mkdtemp(join(tmpdir(), "r3mes-miner-"));
  const flags = ["--node", node.url, "--address", address, "--max-tasks", String(tasks), "--data-dir", home];
  const child = spawn(BINARY, ["mine", "--backend", "cpu", ...flags], { stdio: "ignore" });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  await rm(home, { recursive: true, force: true });
  if (code !== 0) throw new Error(`the miner exited with code ${code}`);
}
