// A node of the small model in a process of its own.

import { spawn } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.R3MES_WGPU ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/r3mes-wgpu");

/** Starts one that serves the page in a folder, on any port; `flags` are the binary's. */
export async function startNode({ page, flags = [] }) {
  const home = await mkdtemp(join(tmpdir(), "r3mes-browser-"));
  await cp(join(ROOT, "tests/data/small_model"), join(home, "model"), { recursive: true });
  const text = Uint8Array.from({ length: 40 * 2048 }, (_, i) => 97 + (Math.floor((i * i) / 7) % 26));
  await writeFile(join(home, "text.txt"), text);
  return run(home, page, 0, flags);
}

async function run(home, page, port, more) {
  const flags = [
    ...more,
    "--backend",
    "cpu",
    "--rank",
    "4",
    "--model",
    join(home, "model"),
    "--text",
    join(home, "text.txt"),
  ];
  const process = spawn(
    BINARY,
    ["node", "--json", ...flags, "--data-dir", join(home, "data"), "--page", page, "--listen", `127.0.0.1:${port}`],
    {
      stdio: ["ignore", "pipe", "ignore"],
    },
  );
  const exited = new Promise((exit) => process.once("exit", exit));
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: process.stdout }).once("line", resolve);
    process.once("error", reject);
    exited.then((code) => reject(new Error(`the node ended with ${code}`)));
  });
  const { url } = JSON.parse(line);
  const get = async (path) => (await fetch(url + path)).json();
  const kill = async () => {
    process.kill("SIGKILL");
    await exited;
  };
  return {
    url,
    get,
    /** Micro-units. */
    balance: async (address) =>
      Number((await get(`/cosmos/bank/v1beta1/balances/${address}`)).balances[0]?.amount ?? 0),
    kill,
    /** The same node, after `kill`, on the same port. */
    again: (flags = more) => run(home, page, new URL(url).port, flags),
    stop: async () => {
      await kill();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Mines so many tasks for an address, by the native miner. */
export async function mine(node, address, tasks) {
  const home = await mkdtemp(join(tmpdir(), "r3mes-miner-"));
  const flags = ["--node", node.url, "--address", address, "--max-tasks", tasks, "--data-dir", home];
  const process = spawn(BINARY, ["mine", "--backend", "cpu", ...flags], { stdio: "ignore" });
  const code = await new Promise((exit) => process.once("exit", exit));
  await rm(home, { recursive: true, force: true });
  if (code !== 0) throw new Error(`the miner ended with ${code}`);
}
