// Starts the browsers that are installed on this machine, and serves the built web pages to them.

import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** @import { AddressInfo } from "node:net" */

/** The folder into which `scripts/page` builds the page. */
export const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

/** @type {Record<string, string>} */
const CONTENT_TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/**
 * Serves the files of a folder on a free port of the loopback interface. Resolves to the URL of the server and a
 * function that closes it.
 * @param {string} folder
 * @param {Record<string, string>} [headers] headers of each response
 */
export async function serve(folder, headers = {}) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url ?? "/", "http://localhost").pathname);
    try {
      const bytes = await readFile(join(folder, path));
      const contentType = CONTENT_TYPES[extname(path)] ?? "application/octet-stream";
      response.writeHead(200, { ...headers, "content-type": contentType }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  return { address: await listen(server), close: () => void server.close() };
}

/**
 * Returns the Content Security Policy that docs/EMBEDDING.md states in the section with this heading.
 * @param {string} heading
 * @param {string} node the URL of the node
 */
export async function policyOf(heading, node) {
  const guide = await readFile(new URL("../../docs/EMBEDDING.md", import.meta.url), "utf8");
  const pattern = new RegExp(`## ${heading}[^]*?\`\`\`text\nContent-Security-Policy: ([^]*?)\n\`\`\``);
  const policy = pattern.exec(guide)?.[1];
  if (!policy) throw new Error(`docs/EMBEDDING.md has no Content Security Policy in the section "${heading}"`);
  return policy.replace(/\s+/g, " ").replaceAll("NODE", node);
}

/**
 * Makes a server listen on a free port of the loopback interface. Resolves to the URL of the server.
 * @param {ReturnType<typeof createServer>} server
 */
export async function listen(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  return `http://127.0.0.1:${/** @type {AddressInfo} */ (server.address()).port}`;
}

/** @param {...(string | undefined)} paths */
const firstExisting = (...paths) => paths.find((path) => path && existsSync(path));

const CHROMIUM = firstExisting(process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome");
const FIREFOX = firstExisting(process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox");

/**
 * Returns the reason to skip the tests in a browser, such as "Firefox is not installed". Returns `false` if the browser
 * is installed. Also returns `false` in CI, where a missing browser is an error.
 * @param {"Chromium" | "Firefox"} name
 */
export function skipReason(name) {
  const path = { Chromium: CHROMIUM, Firefox: FIREFOX }[name];
  return path || process.env.CI ? false : `${name} is not installed`;
}

const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
  "--no-first-run",
];

/** Starts Chromium with WebGPU, on a software GPU if there is no hardware GPU. */
export async function launchChromium() {
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_FLAGS });
}

/**
 * Starts Chromium with a new profile that has these preferences. Resolves to its context, and a function that closes it
 * and deletes the profile.
 * @param {object} preferences the content of the profile's file `Preferences`
 */
export async function launchChromiumWith(preferences) {
  const { chromium } = await import("playwright-core");
  const profile = await mkdtemp(join(tmpdir(), "r3mes-profile-"));
  await mkdir(join(profile, "Default"));
  await writeFile(join(profile, "Default", "Preferences"), JSON.stringify(preferences));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: CHROMIUM_FLAGS,
  });
  const close = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, close };
}

/** Starts Firefox with WebGPU in windows and workers. */
export async function launchFirefox() {
  const { default: puppeteer } = await import("puppeteer-core");
  return puppeteer.launch({
    browser: "firefox",
    executablePath: FIREFOX,
    headless: true,
    protocolTimeout: 0, // no limit, because a check on a software GPU takes minutes
    extraPrefsFirefox: {
      "dom.webgpu.enabled": true,
      "dom.webgpu.workers.enabled": true,
      "gfx.webgpu.ignore-blocklist": true,
    },
  });
}
