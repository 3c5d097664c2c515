// Beside the files that are built: the table of them for the daemon, and the licences of what is in them.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

const TYPES: Record<string, string> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};
/** What is in the build beside this project's own. */
const FOREIGN = ["preact", "@preact/signals", "@preact/signals-core", "uplot", "lightweight-charts", "fancy-canvas"];

export function files(): Plugin {
  return {
    name: "files",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const told = licences();
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

function licences(): string {
  const each = FOREIGN.map((name) => {
    const read = (file: string) => readFileSync(`node_modules/${name}/${file}`, "utf8").trim();
    const { version, license } = JSON.parse(read("package.json"));
    const texts = ["LICENSE", "NOTICE"].map((file) => {
      try {
        return read(file);
      } catch {
        return "";
      }
    });
    return [`${name} ${version} (${license})`, ...texts].filter(Boolean).join("\n\n");
  });
  return `What the dashboard is made with.\n\n${each.join(`\n\n${"─".repeat(72)}\n\n`)}\n`;
}
