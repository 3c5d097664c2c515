// Makes dist/, which is committed: cargo embeds it, and needs no Node.js for that.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { files } from "./files.ts";

const client = (file: string) => fileURLToPath(new URL(`../clients/js/src/${file}.ts`, import.meta.url));

/** Pages that `vite` serves while one works on them ask a daemon that runs, as if they were its own. */
const target = process.env["BROADCASTD_ADMIN"] ?? "http://127.0.0.1:9180";
const asked = Object.fromEntries(["/v1", "/metrics"].map((path) => [path, { target, ws: true, changeOrigin: true, headers: { origin: target } }]));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^broadcastd$/, replacement: client("index") },
      { find: /^broadcastd\/sse$/, replacement: client("sse") },
      { find: /^broadcastd\/tradingview$/, replacement: client("tradingview") },
    ],
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: false },
  server: { proxy: asked },
  preview: { proxy: asked },
  plugins: [files()],
});
