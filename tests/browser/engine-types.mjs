// Collects the TypeScript declarations that the Rust sources of the page's engine contain, and writes them to a file
// for the type checker.
//
// A build of the engine contains the same declarations, in the file `r3mes_www.d.ts` that wasm-bindgen writes. With
// this script, the type checker works without a build.

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
