// Pictures of the page for docs/screens: light, dark, narrow, and what an error looks like. A script, not a test:
//     node screenshots.mjs

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { DIST, chromium } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { accepted, button, state, unfold, visit } from "./visitor.mjs";

const SCREENS = fileURLToPath(new URL("../../docs/screens/", import.meta.url));
await mkdir(SCREENS, { recursive: true });
const browser = await chromium();
const node = await startNode({ page: DIST });
const wide = { width: 1100, height: 900 };
const save = (page, name) => page.screenshot({ path: `${SCREENS}${name}.png`, fullPage: true });

const light = await visit(browser, node, { consent: false, colorScheme: "light", viewport: wide });
await save(light.page, "consent");
await button(light.page, "I agree").click();
await button(light.page, "Start").click();
await accepted(light.page, 12);
await save(light.page, "light");
await light.page.emulateMedia({ colorScheme: "dark" });
await unfold(light.page);
await save(light.page, "dark");
await button(light.page, "Finish").click();
await state(light.page, "stopped");
await light.visitor.close();

const narrow = await visit(browser, node, { colorScheme: "light", viewport: { width: 360, height: 740 } });
await button(narrow.page, "Start").click();
await accepted(narrow.page, 3);
await save(narrow.page, "narrow");
await node.kill();
await state(narrow.page, "offline");
await save(narrow.page, "offline");
await narrow.visitor.close();

await browser.close();
await node.stop();
