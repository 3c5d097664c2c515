// Pages for a browser, from a server of this machine; and a browser that looks at them.

import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";
import { type Browser, chromium } from "playwright-core";

const PROGRAMS = ["chromium-headless-shell", "chromium", "chromium-browser"];

/** The script of a page, from its source in test/pages. */
async function bundle(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`test/pages/${name}`],
    bundle: true,
    format: "esm",
    write: false,
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
  });
  return outputFiles[0]!.text;
}

export class Pages {
  readonly #files = new Map<string, { type: string; text: string }>();
  readonly #server: Server;
  address = "";

  constructor() {
    this.#server = createServer(({ url = "/" }, answer) => {
      const file = this.#files.get(new URL(url, "http://page").pathname);
      answer.writeHead(file ? 200 : 404, { "content-type": file?.type ?? "text/plain" }).end(file?.text);
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(0, "127.0.0.1", done));
    this.address = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  end(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  html(path: string, text: string): void {
    this.#files.set(path, { type: "text/html; charset=utf-8", text });
  }

  script(path: string, text: string): void {
    this.#files.set(path, { type: "text/javascript", text });
  }

  async page(path: string, source: string): Promise<void> {
    this.script(`${path}.js`, await bundle(source));
    this.html(path, `<!doctype html><div id="root"></div><script type="module" src="${path}.js"></script>`);
  }

  /** The built package, as a page has it that copied it. */
  built(): void {
    for (const name of ["index", "react", "sse", "tabs", "tradingview"]) this.script(`/broadcastd/${name}.js`, readFileSync(`dist/${name}.js`, "utf8"));
  }
}

export async function browser(): Promise<Browser> {
  const folders = (process.env["PATH"] ?? "").split(":");
  const { existsSync } = await import("node:fs");
  const found = PROGRAMS.flatMap((program) => folders.map((folder) => `${folder}/${program}`)).find((path) => existsSync(path));
  if (!found) throw new Error(`no Chromium in PATH (${PROGRAMS.join(", ")})`);
  return chromium.launch({ executablePath: found, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
}
