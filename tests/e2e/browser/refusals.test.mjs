// What a person sees when the edge lets nothing through: each page as it really comes about, read,
// and pictured in the light, in the dark and on a narrow phone. With HALLPASS_SCREENSHOTS set to
// docs/images/refusals the pictures of docs/refusals.md are made anew.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { PHONE, startBrowser } from "../harness/browser.mjs";
import { tidyUp } from "../harness/children.mjs";
import { startGate } from "../harness/gate.mjs";
import { startEdge } from "../harness/system.mjs";
import { until } from "../harness/wait.mjs";

tidyUp();

/** As large as the pages need: the pictures stand in a document. */
const WINDOW = { viewport: { width: 640, height: 480 } };
const ROUTES = [
  { path: "/admin", require: { role: ["admin"] } },
  { path: "/strict", on_outage: "refuse", list_max_age_secs: 1 },
];

describe("refusals in a browser", () => {
  /** @type {import("../harness/gate.mjs").Gate} */
  let gate;
  let browser;
  const pictured = [];

  before(async () => {
    const settings = { hosts: ["127.0.0.1"], routes: ROUTES, portal: { name: "Ferry Lines" } };
    [gate, browser] = await Promise.all([startGate({ raw: false, settings }), startBrowser()]);
    gate.app.on("/sign-in", (request, response) => {
      const set = gate.issuer.handOff(request.headers["hallpass-request"]);
      response.writeHead(200, { "hallpass-set-session": set }).end();
    });
    gate.app.on("/refused-hand-off", (_, response) => response.writeHead(200, { "hallpass-set-session": "x" }).end());
  });
  after(async () => {
    await browser.stop();
    await gate.stop();
  });

  /**
   * Opens the page as somebody with a session, in every look it has, and reads it.
   *
   * @param {string} code
   * @param {number} status
   * @param {RegExp} heading
   * @param {(page: import("playwright-core").Page) => Promise<unknown>} open
   */
  async function show(code, status, heading, open, { signedIn = true } = {}) {
    for (const [look, options] of [
      ["light", WINDOW],
      ["dark", { ...WINDOW, colorScheme: "dark" }],
      ["narrow", PHONE],
    ]) {
      const visitor = await browser.visit(gate.origin, options);
      if (signedIn) await visitor.page.goto("/sign-in");
      const answers = [];
      visitor.page.on("response", (answer) => answer.request().isNavigationRequest() && answers.push(answer.status()));
      await open(visitor.page, visitor);
      await visitor.page.getByRole("heading", { level: 1, name: heading }).waitFor();
      assert.equal(answers.at(-1), status, code);
      assert.match(await visitor.page.title(), heading);
      await visitor.assertFits();
      await visitor.screenshot(`${code.replaceAll("_", "-")}-${look}`);
      const own = new RegExp(`status of ${status}`);
      assert.deepEqual(visitor.complaints.filter((text) => !own.test(text)), []);
      await visitor.context.close();
    }
    pictured.push(code);
  }

  const goto = (path) => (page) => page.goto(path);
  /** Submits a form by hand, from the page it is on. */
  const post = (action) => async (page) => {
    await page.evaluate((target) => {
      const form = Object.assign(document.createElement("form"), { method: "post", action: target });
      document.body.append(form);
      form.submit();
    }, action);
  };

  test("an address that can be read in two ways", () =>
    show("path_ambiguous", 400, /address cannot be opened/, goto("/public/a%2fb")));

  test("a request that makes no sense", () =>
    show("request_malformed", 400, /cannot be read/, goto("/.session/api/in-force?x=%20")));

  test("a page of the edge's own that is not there", () =>
    show("not_found", 404, /nothing here/, goto("/.session/nothing")));

  test("a page that cannot be opened so", () => show("method_refused", 405, /cannot be done/, goto("/.session/end")));

  test("a name that is not served", () =>
    show("host_unknown", 421, /no such site/, goto(`${gate.origin.replace("127.0.0.1", "localhost")}/`)));

  test("a form on another site", () =>
    show("origin_forbidden", 403, /did not come from this site/, async (page) => {
      await page.goto(gate.app.origin.replace("127.0.0.1", "localhost"));
      await post(`${gate.origin}/.session/sign-out`)(page);
    }));

  test("a page for others", () => show("requirement_unmet", 403, /may not open/, goto("/admin")));

  test("a sign-in that the app hands over wrongly", () =>
    show("handoff_refused", 502, /did not work/, goto("/refused-hand-off")));

  test("two sign-ins at once", () =>
    show("credentials_conflict", 401, /mixed up/, async (page) => {
      await page.goto("/.session/");
      await page.setExtraHTTPHeaders({ Authorization: `Bearer ${gate.issuer.token()}` });
      await post("/.session/sign-out")(page);
    }));

  test("signing out", () =>
    show("signed_out", 200, /signed out/, async (page) => {
      await page.goto("/.session/");
      await post("/.session/sign-out")(page);
    }));

  test("signing out while the session service is down", () =>
    show("signed_out_here", 503, /this device only/, async (page) => {
      await page.goto("/public/a");
      await gate.service.stop();
      await post("/.session/sign-out")(page);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await gate.service.start();
    }));

  test("a session that cannot be checked", () =>
    show("service_unavailable", 503, /cannot be checked/, async (page) => {
      await gate.service.stop();
      await until("the list is too old", async () => (await page.goto("/strict")).status() === 503);
      await gate.service.start();
    }));

  test("an app that is down", () =>
    show("upstream_unavailable", 502, /does not answer/, async (page) => {
      await page.goto("/sign-in");
      await gate.app.stop();
      await page.goto("/somewhere");
      await gate.app.start();
    }));

  test("an edge with wrong settings", async () => {
    const wrong = await startEdge({ raw: false, settings: { environment: "development" }, secrets: {} });
    await show("misconfigured", 503, /not set up/, goto(`${wrong.origin}/`), { signedIn: false });
    await wrong.stop();
  });

  test("there is a picture of each refusal that is a page", () => assert.equal(pictured.length, 14));
});
