// A page that wants a recent sign-in, as somebody meets it: asked once more, and back where they were.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startBrowser } from "../harness/browser.mjs";
import { tidyUp } from "../harness/children.mjs";
import * as system from "../harness/system.mjs";
import { until } from "../harness/wait.mjs";

tidyUp();

/** How old a sign-in may be on the guarded page, in seconds: long enough for the way back to it. */
const MAX_AUTH_AGE_SECS = 4;
const GUARDED = "/?guarded=yes&a=b%20c";

describe("a recent sign-in in a browser", () => {
  let service, app, edge, browser, ada;
  before(async () => {
    [service, browser] = await Promise.all([system.startService(), startBrowser()]);
    const { app: credential, edge: edgeCredential, issuer, audience } = service.credentials;
    const assertionKey = system.newKey();
    app = await system.startDemo({ serviceUrl: service.origin, credential, assertionKey, issuer, audience: "demo" });
    const between = { issuer, audience, serviceUrl: service.origin, upstreamUrl: app.origin };
    const routes = [{ path: "/", max_auth_age_secs: MAX_AUTH_AGE_SECS }];
    const settings = system.edgeSettings(between, { assertion_audience: "demo", routes });
    const secrets = { EDGE_CREDENTIAL: edgeCredential, ASSERTION_KEY: assertionKey };
    edge = await system.startEdge({ raw: false, settings, secrets });
    ada = await browser.visit(edge.origin);
  });
  after(async () => {
    for (const part of [browser, edge, app, service]) await part.stop();
  });

  test("somebody whose sign-in has grown old signs in once more and comes back", async () => {
    await ada.page.goto(GUARDED);
    await ada.signIn("ada");
    assert.equal(ada.location, GUARDED);
    const first = await ada.cookie("__Host-session");

    await until("the sign-in is too old", async () => {
      await ada.page.goto(GUARDED);
      return ada.location.startsWith("/sign-in?");
    });
    assert.equal(new URLSearchParams(ada.location.split("?")[1]).get("return_to"), GUARDED);
    assert.equal((await ada.cookie("__Host-session")).value, first.value, "nobody was signed out");
    const elsewhere = await ada.page.evaluate(async () => (await fetch("/whoami")).status);
    assert.equal(elsewhere, 200, "other pages stay open");

    await ada.page.goto(GUARDED);
    await ada.signIn("ada");
    assert.equal(ada.location, GUARDED);
    assert.notEqual((await ada.cookie("__Host-session")).value, first.value);

    await ada.page.goto("/.session/");
    await ada.page.getByText("This is your only session.").waitFor();
    assert.equal(await ada.page.locator("ul.ended > li").count(), 1, "the session before is ended");
    assert.deepEqual(ada.complaints, []);
  });
});
