// The main job as people meet it: Chromium, the demo app's pages and the portal, with and without
// script. Pictures of the pages go to HALLPASS_SCREENSHOTS, else target/screenshots.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DESKTOP, PHONE, startBrowser } from "../harness/browser.mjs";
import { tidyUp } from "../harness/children.mjs";
import * as system from "../harness/system.mjs";
import { refusedWithin, until } from "../harness/wait.mjs";

tidyUp();

const TOKEN_LIFETIME_SECS = 6;
const AUDIENCE = "demo";

describe("in a browser", () => {
  let service, app, edge, browser;
  /** @type {import("../harness/browser.mjs").Visitor} */
  let ada;
  /** @type {import("../harness/browser.mjs").Visitor} */
  let phone;
  const visitors = [];

  before(async () => {
    const settings = { token_lifetime_secs: TOKEN_LIFETIME_SECS, token_jitter_percent: 0 };
    [service, browser] = await Promise.all([system.startService({ settings }), startBrowser()]);
    const { app: credential, edge: edgeCredential, issuer, audience } = service.credentials;
    const assertionKey = system.newKey();
    app = await system.startDemo({
      serviceUrl: service.origin,
      credential,
      assertionKey,
      issuer,
      audience: AUDIENCE,
    });
    const between = { issuer, audience, serviceUrl: service.origin, upstreamUrl: app.origin };
    const more = { assertion_audience: AUDIENCE, portal: { name: "Hallpass demo" } };
    const secrets = { EDGE_CREDENTIAL: edgeCredential, ASSERTION_KEY: assertionKey };
    edge = await system.startEdge({ raw: false, settings: system.edgeSettings(between, more), secrets });
    ada = await visit();
  });
  after(async () => {
    for (const part of [browser, edge, app, service]) await part.stop();
  });

  const visit = async (options) => {
    const visitor = await browser.visit(edge.origin, options);
    visitors.push(visitor);
    return visitor;
  };
  /** Opens pages until one is the sign-in page; fails past the bound on revocation. */
  const landsOnSignIn = (visitor) =>
    refusedWithin(
      system.LIST_MAX_AGE_SECS,
      () => visitor.page.goto("/"),
      () => visitor.location.startsWith("/sign-in?"),
    );
  const rowOf = (visitor, name) => visitor.page.locator("li.device:not(.this)").filter({ hasText: name });

  test("visitor without session is asked to sign in and comes back", async () => {
    await ada.page.goto("/?from=a-link");
    assert.equal(ada.location, "/sign-in?return_to=/%3Ffrom%3Da-link");
    await ada.assertFits();
    await ada.screenshot("sign-in");
    await ada.signIn("ada");
    assert.equal(ada.location, "/?from=a-link");
    await ada.screenshot("demo");
    await ada.screenshotInTheDark("demo-dark");
  });

  test("browser keeps both cookies where no script can read them", async () => {
    for (const name of ["__Host-session", "__Host-renewal"]) {
      const { httpOnly, secure, sameSite, path, domain } = await ada.cookie(name);
      assert.deepEqual(
        { httpOnly, secure, sameSite, path, domain },
        { httpOnly: true, secure: true, sameSite: "Lax", path: "/", domain: "127.0.0.1" },
      );
    }
    assert.equal(await ada.page.evaluate(() => document.cookie), "");
  });

  test("portal shows this device, and a second one after it signed in", async () => {
    await ada.page.getByRole("link", { name: "Your sessions" }).click();
    await ada.page.getByRole("heading", { name: "This device" }).waitFor();
    assert.equal(ada.location, "/.session/");
    assert.equal(await ada.page.getByText("This is your only session.").count(), 1);

    phone = await visit(PHONE);
    await phone.page.goto("/");
    await phone.assertFits();
    await phone.signIn("ada");
    await phone.assertFits();
    await phone.screenshot("demo-phone");

    await ada.page.reload();
    assert.equal(await rowOf(ada, "Chrome on Android").count(), 1);
    await ada.screenshot("portal");
    await ada.screenshotInTheDark("portal-dark");
    await phone.page.goto("/.session/");
    await phone.assertFits();
    await phone.screenshot("portal-phone");
  });

  test("session token is renewed while the page stays open", async () => {
    const page = await ada.context.newPage();
    await page.goto("/");
    const card = page.locator("#watch");
    const lines = async () => (await card.locator("output").textContent()).split("\n").filter(Boolean);
    await card.getByRole("button", { name: "Watch" }).click();
    await until("the page has asked once", async () => (await lines()).length === 1);
    const before = await ada.cookie("__Host-session");
    const deadlineMs = (TOKEN_LIFETIME_SECS + 6) * 1000;
    await until(
      "the session cookie is a new one",
      async () => (await ada.cookie("__Host-session")).value !== before.value,
      { deadlineMs },
    );
    const seen = (await lines()).length;
    await until("the page goes on asking", async () => (await lines()).length > seen);
    for (const line of await lines()) assert.match(line, /ada, \d+ ms$/);
    assert.equal(await page.locator("output.wrong").count(), 0);
    await page.close();
  });

  test("socket, event stream and echo of the demo page work through the edge", async () => {
    const page = await ada.context.newPage();
    await page.goto("/");
    await page.locator("#events").getByRole("button").click();
    await page.locator("#socket").getByRole("button").click();
    await page.locator("#echo").getByRole("button").click();
    await page.locator("#events output", { hasText: "event 2" }).waitFor();
    await page.locator("#socket output", { hasText: "← Hello" }).waitFor();
    await page.locator("#echo output", { hasText: "200 POST: Hello" }).waitFor();
    await page.close();
  });

  test("ending the other device by a click refuses its next page", async () => {
    const row = rowOf(ada, "Chrome on Android");
    await row.getByRole("button", { name: /^Sign out/ }).click();
    const question = ada.page.getByRole("dialog");
    await question.getByRole("heading", { name: "Sign out Chrome on Android?" }).waitFor();
    await ada.screenshot("portal-question");
    await question.getByRole("button", { name: "Sign out" }).click();
    await ada.page.getByRole("status").filter({ hasText: "signed out" }).waitFor();
    await landsOnSignIn(phone);
    await ada.page.getByRole("status").filter({ hasText: "signed out everywhere" }).waitFor();
    await ada.screenshot("portal-ended");
  });

  test("portal without script ends the other device by keyboard", async () => {
    const plain = await visit({ ...DESKTOP, javaScriptEnabled: false });
    await plain.page.goto("/.session/");
    await plain.page.getByLabel("User name").fill("ada");
    await plain.page.getByLabel("Password").fill("demo");
    await plain.page.getByLabel("Password").press("Enter");
    await plain.page.getByRole("heading", { name: "This device" }).waitFor();
    assert.equal(plain.location, "/.session/");

    await phone.signIn("ada");
    await plain.page.reload();
    const button = rowOf(plain, "Chrome on Android").getByRole("button", { name: /^Sign out/ });
    const tabs = await pressTabUntil(plain.page, button);
    assert.ok(tabs < 20, `${tabs} tabs`);
    await plain.page.keyboard.press("Enter");
    await plain.page
      .getByRole("status")
      .filter({ hasText: /signed out/i })
      .waitFor();
    assert.equal(await rowOf(plain, "Chrome on Android").count(), 0);
    await plain.screenshot("portal-without-script");
    await landsOnSignIn(phone);

    // All others at once: ada's first browser.
    await plain.page.getByRole("button", { name: /^Sign out all other devices/ }).click();
    await plain.page.getByText("This is your only session.").waitFor();
    await landsOnSignIn(ada);
    await ada.signIn("ada");
    await plain.page.getByRole("button", { name: "Sign out here" }).click();
    await plain.page.getByRole("heading", { name: "You are signed out" }).waitFor();
    assert.equal(await plain.cookie("__Host-session"), undefined);
    await plain.context.close();
  });

  test("refusal is a page a person understands", async () => {
    const stranger = await visit();
    const answer = await stranger.page.goto("/public/a%2fb");
    assert.equal(answer.status(), 400);
    await stranger.page.getByRole("heading", { level: 1 }).waitFor();
    await stranger.assertFits();
    await stranger.screenshot("refusal");
    // The browser's own word for the status of the page itself.
    stranger.complaints = stranger.complaints.filter((text) => !/status of 400/.test(text));
    await stranger.context.close();
  });

  test("sign-out takes both cookies and leads to sign-in", async () => {
    await ada.page.goto("/");
    await ada.page.getByRole("button", { name: "Sign out" }).click();
    await ada.page.getByRole("heading", { name: "You are signed out" }).waitFor();
    assert.deepEqual(
      [await ada.cookie("__Host-session"), await ada.cookie("__Host-renewal")],
      [undefined, undefined],
    );
    await ada.screenshot("signed-out");
    await ada.page.goto("/");
    assert.equal(ada.location, "/sign-in?return_to=/");
  });

  test("service that is down is explained by a page, and nobody is signed out", async () => {
    await ada.signIn("ada");
    await service.stop();
    const complained = ada.complaints.length;
    await until("the token has ended", async () => (await ada.page.goto("/")).status() === 503, {
      deadlineMs: 15_000,
    });
    await ada.page.getByRole("heading", { name: "Your session cannot be checked right now" }).waitFor();
    await ada.screenshot("service-down");
    assert.ok(await ada.cookie("__Host-renewal"));
    ada.complaints.splice(complained);
  });

  test("no page has made the browser complain", () => {
    for (const visitor of visitors) assert.deepEqual(visitor.complaints, []);
  });
});

/** Moves the focus as a keyboard does; how many steps it took. */
async function pressTabUntil(page, target) {
  for (let tabs = 1; tabs <= 40; tabs += 1) {
    await page.keyboard.press("Tab");
    if (await target.evaluate((element) => element === document.activeElement)) return tabs;
  }
  throw new Error("the keyboard does not reach it");
}
