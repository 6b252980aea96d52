// Open redirects: no line that names another site ever becomes where somebody is sent, neither by the
// edge on the way to sign-in nor by the demo app on the way back. docs/protocol.md §8.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { Client, inParallel, sendRaw } from "./harness/client.mjs";
import { startGate } from "./harness/gate.mjs";
import { openRedirects } from "./harness/open_redirects.mjs";
import * as system from "./harness/system.mjs";

tidyUp();

/** The best known list of such lines has this many. */
const LINES_MIN = 559;

/** Requests under way at once. */
const AT_ONCE = 16;

/** Where a browser goes from `base` by this `Location`. */
const leadsTo = (location, base) => new URL(location, base).origin;
/** Text as one character a byte of its UTF-8. */
const wire = (text) => Buffer.from(text, "utf8").toString("latin1");
/** The value of an attribute. */
const unescaped = (html) =>
  html.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&amp;", "&");
/** What a request line can carry. */
const isTarget = (line) => !/[ \r\n]/.test(line);

for (const { name, raw } of system.RUNTIMES) {
  describe(`redirects in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw });
    });
    after(() => gate.stop());

    test("sign-in comes back to this site, whatever was asked for", async (t) => {
      const { host } = new URL(gate.origin);
      const lines = openRedirects(host);
      assert.ok(lines.length >= LINES_MIN, `${lines.length} lines`);
      const tally = {};
      const targets = lines.flatMap((line) => {
        const escaped = encodeURIComponent(line.toWellFormed());
        return [`/private?next=${escaped}`, `/${escaped}`, `/private?${wire(line)}`, wire(line), `/a/${wire(line)}`];
      });
      await inParallel(targets.filter(isTarget), AT_ONCE, async (target) => {
        const answer = await sendRaw(
          gate.origin,
          `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n`,
        );
        const shown = `${JSON.stringify(target)}: ${answer.text.split("\r\n\r\n")[0]}`;
        tally[answer.status] = (tally[answer.status] ?? 0) + 1;
        const location = /^location: (.*)$/im.exec(answer.text)?.[1].trim();
        assert.ok([0, 303, 400, 421].includes(answer.status), shown);
        assert.equal(location !== undefined, answer.status === 303, shown);
        if (location === undefined) return;
        assert.match(location, /^\/sign-in\?return_to=[A-Za-z0-9._~/%-]+$/, shown);
        const back = new URL(location, gate.origin).searchParams.get("return_to");
        assert.match(back, /^\/(?![/\\])[^\0-\x20\x7f\\]*$/, shown);
        assert.equal(leadsTo(back, gate.origin), gate.origin, shown);
      });
      assert.equal(gate.app.seen.length, 0);
      t.diagnostic(`${lines.length} lines: ${JSON.stringify(tally)}`);
    });
  });
}

describe("redirects of the demo app", () => {
  let service, app, edge;
  before(async () => {
    service = await system.startService();
    const { app: credential, edge: edgeCredential, issuer, audience } = service.credentials;
    const assertionKey = system.newKey();
    app = await system.startDemo({ serviceUrl: service.origin, credential, assertionKey, issuer, audience: "demo" });
    const between = { issuer, audience, serviceUrl: service.origin, upstreamUrl: app.origin };
    const settings = system.edgeSettings(between, { assertion_audience: "demo" });
    const secrets = { EDGE_CREDENTIAL: edgeCredential, ASSERTION_KEY: assertionKey };
    edge = await system.startEdge({ raw: true, settings, secrets });
  });
  after(async () => {
    for (const part of [edge, app, service]) await part.stop();
  });

  test("a signed-in user stays on this site, whatever the link to sign-in said", async (t) => {
    const lines = openRedirects(new URL(edge.origin).host);
    let followed = 0;
    await inParallel(lines, AT_ONCE, async (line) => {
      const visitor = new Client(edge.origin);
      const form = await visitor.page(`/sign-in?return_to=${encodeURIComponent(line)}`);
      assert.equal(form.status, 200, JSON.stringify(line));
      const field = /name="return_to" value="([^"]*)"/.exec(form.text)?.[1];
      assert.equal(leadsTo(unescaped(field), edge.origin), edge.origin, `${JSON.stringify(line)}: ${field}`);
      const answer = await visitor.signIn("ada", line);
      const { location } = answer.headers;
      assert.equal(answer.status, 303, JSON.stringify(line));
      assert.equal(leadsTo(location, edge.origin), edge.origin, `${JSON.stringify(line)}: ${location}`);
      if (location !== "/") followed += 1;
    });
    assert.ok(followed > 0, "a path of this site is come back to");
    t.diagnostic(`${lines.length} lines, ${followed} of them a path of this site`);
  });
});
