// Beside the files that are built: the table of them for the daemon, and the licences of what is in them.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { NOTICE } from "./src/views/notice.ts";

const TYPES: Record<string, string> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};
/** What must be named wherever a package is used, and is not among its files. */
const NOTICES: Record<string, string> = {
  "fancy-canvas": "Copyright (c) 2019 TradingView, Inc.\n\nIts terms are those of the MIT License, as they stand on this page with preact.",
  "lightweight-charts": `${NOTICE.text} ${NOTICE.address}`,
};
const MORE = "\n# Licenses of bundled dependencies"; // of the builder itself; none of that is in what it builds
const BUILDER = "vite"; // leaves a few lines of its own in what it builds

export function files(): Plugin {
  return {
    name: "files",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const told = licences(foreign(Object.values(bundle)));
        this.emitFile({ type: "asset", fileName: "assets/licenses.txt", source: told });
        const built = Object.values(bundle).map((file) => {
          const content = file.type === "chunk" ? file.code : file.source;
          return entry(file.fileName, content);
        });
        const table = [...built, entry("assets/licenses.txt", told)].sort().join("");
        this.emitFile({ type: "asset", fileName: "files.in", source: `[\n${table}]\n` });
      },
    },
  };
}

/** A line of the table, as Rust. */
function entry(name: string, content: string | Uint8Array): string {
  const path = name === "index.html" ? "/" : `/${name}`;
  const type = TYPES[name.split(".").at(-1)!];
  if (!type) throw new Error(`${name}: of what type is it?`);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 16);
  const kept = /-[\w-]{8}\.\w+$/.test(name) ? "FOR_EVER" : "ASK_AGAIN";
  return `    File { path: "${path}", content_type: "${type}", etag: "\\"${hash}\\"", kept: ${kept}, bytes: include_bytes!("${name}") },\n`;
}

/** The packages that are in the build beside this project's own. */
function foreign(built: { type: string; moduleIds?: string[] }[]): string[] {
  const modules = built.flatMap((file) => file.moduleIds ?? []);
  const names = modules.map((path) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  return [...new Set([...names, BUILDER])].filter((name) => name !== undefined).sort();
}

function licences(names: string[]): string {
  const each = names.map((name) => {
    const read = (file: string) => readFileSync(`node_modules/${name}/${file}`, "utf8").trim();
    const { version, license } = JSON.parse(read("package.json"));
    const [text] = readdirSync(`node_modules/${name}`).filter((file) => /^licen[sc]e/i.test(file));
    const notice = NOTICES[name] ?? "";
    return [`${name} ${version} (${license})`, notice, text ? read(text).split(MORE)[0]!.trim() : ""].filter(Boolean).join("\n\n");
  });
  return `What the dashboard is made with.\n\n${each.join(`\n\n${"─".repeat(72)}\n\n`)}\n`;
}
