// Browsers: the page's folder on a loopback port, and the browsers of this machine that open it.

import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** What `scripts/page` built. */
export const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Serves a folder; resolves to its address and what closes it. */
export async function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    try {
      const bytes = await readFile(join(folder, path));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

function program(...paths) {
  return paths.find((path) => path && existsSync(path));
}

const CHROMIUM = program(process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome");
const FIREFOX = program(process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox");

/** Why a test cannot run here: false where it can. In CI everything must be there. */
export function missing(name) {
  const found = { Chromium: CHROMIUM, Firefox: FIREFOX }[name];
  return found || process.env.CI ? false : `${name} is not installed`;
}

/** Chromium with WebGPU, on a software GPU where there is no other. */
export async function chromium() {
  const { chromium } = await import("playwright-core");
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-quic",
      "--no-first-run",
    ],
  });
}

/** Firefox with WebGPU, in windows and in workers. */
export async function firefox() {
  const { default: puppeteer } = await import("puppeteer-core");
  return puppeteer.launch({
    browser: "firefox",
    executablePath: FIREFOX,
    headless: true,
    protocolTimeout: 0, // a check on a software GPU takes minutes
    extraPrefsFirefox: {
      "dom.webgpu.enabled": true,
      "dom.webgpu.workers.enabled": true,
      "gfx.webgpu.ignore-blocklist": true,
    },
  });
}
