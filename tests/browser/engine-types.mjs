// Collects the TypeScript declarations that the Rust sources of the page's engine contain, for the type checker.
//
// wasm-bindgen writes the same declarations into `r3mes_www.d.ts` of a build. This script needs no build.

import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";

const SOURCES = new URL("../../www/src/", import.meta.url);
const OUTPUT = new URL("../../.cache/types/engine-declarations.d.ts", import.meta.url);
const SECTION = /#\[wasm_bindgen\(typescript_custom_section\)\]\s*const \w+: &(?:'static )?str = r#"([^]*?)"#;/g;

const files = (await readdir(SOURCES, { recursive: true })).filter((file) => file.endsWith(".rs")).sort();
const sources = await Promise.all(files.map((file) => readFile(new URL(file, SOURCES), "utf8")));
const declarations = sources.flatMap((source) => Array.from(source.matchAll(SECTION), ([, section]) => section));
if (declarations.length === 0) throw new Error(`no typescript_custom_section found in ${SOURCES.pathname}`);
await mkdir(new URL(".", OUTPUT), { recursive: true });
await writeFile(OUTPUT, declarations.join("\n"));
