// A broadcaster that fails, and one whose plugin's file was exchanged, as the pages tell of them.

import { appendFileSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { enter, GUARDED, missing, on, PATIENCE, real } from "./stage.ts";

const folder = mkdtempSync(join(tmpdir(), "broadcastd-plugins-"));
const library = join(folder, "libfaulty.so");
if (!missing) copyFileSync(join(dirname(process.env["BROADCASTD_BIN"]!), "libfaulty.so"), library);
after(() => rmSync(folder, { recursive: true }));

on(`${GUARDED}
[plugins]
dirs = [${JSON.stringify(folder)}]
[broadcasters.failing]
plugin = "faulty"
settings = { mode = "panic" }
[broadcasters.exchanged]
plugin = "faulty"
`);

real("what follows a failure, and until when a new file is on probation, is told", async () => {
  const { page, go } = await enter();
  await go("#/broadcasters/failing", "Broadcasters");
  await page.getByText(/^Next: /).waitFor(PATIENCE);

  await go("#/broadcasters/exchanged", "Broadcasters");
  appendFileSync(library, "\0"); // another file, of the same code
  await page.getByRole("button", { name: "Swap…" }).click();
  await page.getByRole("button", { name: "Swap", exact: true }).click();
  await page.getByText(/^On probation until \d.*: if it fails, the file before comes back\.$/).waitFor(PATIENCE);
  await page.close();
});
