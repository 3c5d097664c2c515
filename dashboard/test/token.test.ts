// The pages of a daemon that asks for a token, and what they can do with it.

import assert from "node:assert/strict";
import { jwt } from "../../clients/js/test/daemon.ts";
import { barriers, enter, GUARDED, look, on, PAGES, PATIENCE, real, stage, TOKEN, until } from "./stage.ts";

on(GUARDED);

async function publish(...events: object[]): Promise<void> {
  const headers = { "content-type": "application/json", authorization: `Bearer ${TOKEN}` };
  const answer = await fetch(`http://${stage.daemon.admin}/v1/streams/user_events/publish`, { method: "POST", headers, body: JSON.stringify(events) });
  assert.equal(answer.status, 202, await answer.text());
}

real("nothing is shown before the token, and a wrong one is refused", async () => {
  const { page, sockets } = await look();
  const token = page.getByLabel("Admin token");
  await token.fill("a guess");
  await page.keyboard.press("Enter");
  await page.getByText("not the daemon's").waitFor(PATIENCE);
  assert.deepEqual(await barriers(page), []);
  assert.deepEqual(sockets, []);
  await token.fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.getByText("✓ Ready", { exact: true }).waitFor(PATIENCE);
  await page.getByRole("status").getByText("live").waitFor(PATIENCE);
  assert.equal(sockets.length, 1);
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  await page.getByRole("button", { name: "Leave" }).click();
  await token.waitFor(PATIENCE);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.close();
});

real("the token is in no address that is asked", async () => {
  const { page, addresses, sockets, go } = await enter();
  await page.getByRole("status").getByText("live").waitFor(PATIENCE);
  for (const [path, heading] of PAGES) await go(path, heading);
  await publish({ type: "CHAIN_UPDATE", audience: "eve", data: { chainId: "c-1", orders: [], status: "active" } });
  await go("#/streams/user", "user");
  await page.getByLabel("User", { exact: true }).fill("eve");
  await page.keyboard.press("Enter");
  await page.getByText("c-1").waitFor(PATIENCE);
  await page.locator(".panel header").getByText("live").waitFor(PATIENCE);
  await page.reload();
  await page.getByRole("status").getByText("live").waitFor(PATIENCE);
  assert.equal(sockets.length, 2, "one before and one after");
  assert.ok(addresses.some((address) => address.includes("/v1/sse?")) && addresses.some((address) => address.startsWith("ws:")), addresses.join("\n"));
  assert.deepEqual(addresses.filter((address) => address.includes(TOKEN) || address.includes("token")), []);
  await page.close();
});

real("a broadcaster is disabled, enabled and restarted", async () => {
  const { page, go, wrong } = await enter();
  await go("#/broadcasters/bars", "Broadcasters");
  const panel = page.locator("section", { has: page.getByRole("heading", { name: "bars" }) });
  const order = async (deed: string) => {
    await panel.getByRole("button", { name: `${deed}…` }).click();
    await page.getByRole("dialog").getByRole("button", { name: deed }).click();
  };
  await panel.getByText("running").waitFor(PATIENCE);
  await order("Disable");
  await panel.getByText("stopped", { exact: false }).first().waitFor(PATIENCE);
  await order("Enable");
  await panel.locator("header").getByText("running").waitFor(PATIENCE);
  await order("Restart");
  await panel.getByText("restart of broadcaster bars").waitFor(PATIENCE);
  assert.deepEqual(wrong.slice(1), [], "but for the question whether a token is needed");
  await page.close();
});

real("a pasted file is checked, and mistakes lead to their lines", async () => {
  const { page, go } = await enter();
  await go("#/config", "Configuration");
  const text = page.getByLabel("Paste a config.toml", { exact: false });
  await text.fill('[hub]\noutbox = "1MiB"\nfoo = 3\n');
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByRole("button", { name: "line 3" }).click();
  assert.equal(await text.evaluate((area: HTMLTextAreaElement) => area.value.slice(area.selectionStart, area.selectionEnd)), "foo = 3");
  assert.deepEqual(await barriers(page), []);
  await text.fill("[streams.ticks]\n");
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("- broadcaster bars: stops").waitFor(PATIENCE);
  await page.close();
});

real("secrets of the configuration are not shown", async () => {
  const { page, go } = await enter();
  await go("#/config", "Configuration");
  await page.getByPlaceholder("Filter").last().fill("admin.token");
  const row = page.getByRole("row", { name: "admin.token.env" });
  await row.waitFor(PATIENCE);
  assert.match((await row.textContent())!, /\(hidden\)/);
  await page.close();
});

real("the cards of one user are shown, and no other's", async () => {
  const { page, go, sockets } = await enter();
  const chain = (user: string, status: string) => ({ type: "CHAIN_UPDATE", audience: user, data: { chainId: `of ${user}`, orders: [], status } });
  await publish(chain("ann", "active"), chain("bob", "active"));
  await go("#/streams/user", "user");
  await page.getByLabel("User", { exact: true }).fill("ann");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("of ann").waitFor(PATIENCE);
  await publish(chain("ann", "completed"), chain("bob", "completed"));
  await page.getByText("completed").waitFor(PATIENCE);
  assert.equal(await page.getByText("of bob").count(), 0);
  assert.deepEqual(await barriers(page), []);
  await until(() => sockets.length === 1);
  await page.close();
});

real("a user's own token that is refused or ends leaves the page to the operator, and no card", async () => {
  const { page, go, addresses } = await enter();
  await publish({ type: "CHAIN_UPDATE", audience: "cat", data: { chainId: "of cat", orders: [], status: "active" } });
  await go("#/streams/user", "user");
  const field = page.getByLabel("own token");
  await field.fill("a guess");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("alert").waitFor(PATIENCE);
  assert.equal(await page.getByLabel("Admin token").count(), 0, "that one is still the daemon's");
  const token = jwt("cat", 6);
  await field.fill(token);
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("of cat").waitFor(PATIENCE);
  await page.getByRole("alert").getByText("the token has expired").waitFor(PATIENCE);
  assert.equal(await page.locator(".cards li").count(), 0);
  const longer = jwt("cat", 600);
  await field.fill(longer);
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("of cat").waitFor(PATIENCE);
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  const logOut = async () => (await fetch(`http://${stage.daemon.admin}/v1/users/cat/connections`, { method: "DELETE", headers })).json();
  await until(async () => (await logOut()).closed === 1);
  await page.getByRole("alert").getByText("It ended: ").waitFor(PATIENCE);
  assert.equal(await page.locator(".cards li").count(), 0, "although the token would do for another look");
  assert.deepEqual(addresses.filter((address) => [token, longer, "audience"].some((part) => address.includes(part))), []);
  await page.close();
});
