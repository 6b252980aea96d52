// Hostile strings as a browser takes them: in every field of the portal, and as the way back from
// sign-in. Nothing runs, nothing loads, nothing leads away.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startBrowser } from "../harness/browser.mjs";
import { tidyUp } from "../harness/children.mjs";
import { startGate } from "../harness/gate.mjs";
import { HOSTILE } from "../harness/hostile.mjs";
import { openRedirects } from "../harness/open_redirects.mjs";
import { SESSION_FIELDS, sessionsWith } from "../harness/sessions.mjs";

tidyUp();

/** Sessions on one page. */
const AT_ONCE = 60;
/** Of the lines that lead away, every so many-th goes through the browser's own address bar. */
const EVERY = 25;

describe("hostile strings in a browser", () => {
  /** @type {import("../harness/gate.mjs").Gate} */
  let gate;
  let browser;
  /** @type {import("../harness/browser.mjs").Visitor} */
  let ada;
  before(async () => {
    const settings = { list_max_age_secs: 60, portal: { name: "Ferry Lines" } };
    [gate, browser] = await Promise.all([startGate({ raw: false, settings }), startBrowser()]);
    gate.app.on("/sign-in", (request, response) => {
      const set = gate.issuer.handOff(request.headers["hallpass-request"]);
      response.writeHead(200, { "hallpass-set-session": set, "content-type": "text/html" }).end("<title>Signed in</title>");
    });
    ada = await browser.visit(gate.origin);
    // What the edge must not let run would complain here too.
    await ada.page.goto("/sign-in");
  });
  after(async () => {
    await browser.stop();
    await gate.stop();
  });

  /** The page as the browser built it: elements with the names of their attributes. */
  const built = () =>
    ada.page.evaluate(() => {
      const attributes = (element) => [...element.attributes].map(({ name }) => name).join(" ");
      // Names that read alike are numbered, and many a hostile one does once it is cleaned.
      const elements = [...document.querySelectorAll("*:not(.nth)")];
      return elements.map((element) => `${element.localName} ${attributes(element)}`).join("\n");
    });
  const show = async (field, strings) => {
    const body = sessionsWith(field, strings);
    gate.service.onSessions = () => ({ status: 200, body });
    assert.equal((await ada.page.goto("/.session/")).status(), 200);
    return built();
  };

  for (const field of Object.keys(SESSION_FIELDS)) {
    test(`portal is the same page with hostile strings as ${field}`, async (t) => {
      const all = field === "label" || field === "city" ? HOSTILE : HOSTILE.filter((_, i) => i % 7 === 0);
      for (let at = 0; at < all.length; at += AT_ONCE) {
        const strings = all.slice(at, at + AT_ONCE);
        const plain = await show(field, strings.map((_, i) => `plain ${i}`));
        assert.equal(await show(field, strings), plain, `strings ${at} and on`);
        assert.equal(await ada.page.evaluate(() => window.pwned), undefined);
      }
      t.diagnostic(`${all.length} strings`);
      await ada.assertFits();
      assert.deepEqual(ada.complaints, []);
    });
  }

  test("portal's question shows a hostile name as a name", async () => {
    const name = "<img src=x onerror=window.pwned=1>";
    await show("label", [name]);
    await ada.page.getByRole("button", { name: /^Sign out <img/ }).click();
    await ada.page.getByRole("dialog").getByRole("heading", { name: `Sign out ${name}?` }).waitFor();
    assert.equal(await ada.page.evaluate(() => window.pwned), undefined);
    await ada.page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    assert.deepEqual(ada.complaints, []);
  });

  test("a page's address never leads a browser off the site by way of sign-in", async (t) => {
    const stranger = await browser.visit(gate.origin);
    gate.app.on("/sign-in", (request, response) => {
      const returnTo = new URL(request.url, gate.origin).searchParams.get("return_to");
      const link = `<a href="${returnTo.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}">on</a>`;
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(link);
    });
    const lines = openRedirects(new URL(gate.origin).host).filter((line, i) => i % EVERY === 0);
    for (const line of lines) {
      for (const address of [`${gate.origin}${line.startsWith("/") ? "" : "/"}${line}`, `${gate.origin}/private?next=${line}`]) {
        await stranger.page.goto(address);
        assert.equal(new URL(stranger.page.url()).origin, gate.origin, JSON.stringify(line));
        if (!stranger.location.startsWith("/sign-in?")) continue;
        const leadsTo = await stranger.page.evaluate(() => document.querySelector("a").origin);
        assert.equal(leadsTo, gate.origin, `${JSON.stringify(line)}: ${stranger.location}`);
      }
    }
    t.diagnostic(`${lines.length} lines`);
    await stranger.context.close();
  });
});
