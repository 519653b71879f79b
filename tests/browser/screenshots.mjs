// Takes the screenshots in docs/screens. They show the mining page before the visitor consents to mining, in light and
// dark colors, on a narrow screen, and without a connection to the node. This script is not a test; run it with
//     node screenshots.mjs

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { DIST, launchChromium } from "./browsers.mjs";
import { startNode } from "./node.mjs";
import { button, openDetails, visit, waitForAccepted, waitForState } from "./visitor.mjs";

const SCREENS = fileURLToPath(new URL("../../docs/screens/", import.meta.url));
await mkdir(SCREENS, { recursive: true });
const browser = await launchChromium();
const node = await startNode({ page: DIST });
const viewport = { width: 1100, height: 900 };
/** @type {(page: import("playwright-core").Page, name: string) => Promise<unknown>} */
const save = (page, name) => page.screenshot({ path: `${SCREENS}${name}.png`, fullPage: true });

const wide = await visit(browser, node, { consent: false, colorScheme: "light", viewport });
await save(wide.page, "consent");
await button(wide.page, "I agree").click();
await button(wide.page, "Show the key").click();
await button(wide.page, "I have saved the key").click();
await button(wide.page, "Start").click();
await waitForAccepted(wide.page, 12);
await save(wide.page, "light");
await wide.page.emulateMedia({ colorScheme: "dark" });
await openDetails(wide.page);
await save(wide.page, "dark");
await button(wide.page, "Finish").click();
await waitForState(wide.page, "stopped");
await wide.visitor.close();

const narrow = await visit(browser, node, { colorScheme: "light", viewport: { width: 360, height: 740 } });
await button(narrow.page, "Start").click();
await waitForAccepted(narrow.page, 3);
await save(narrow.page, "narrow");
await node.kill();
await waitForState(narrow.page, "offline");
await save(narrow.page, "offline");
await narrow.visitor.close();

await browser.close();
await node.stop();
