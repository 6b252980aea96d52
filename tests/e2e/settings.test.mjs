// An edge that cannot work: wrong settings, missing secrets, no service, a credential the service does
// not take. It answers 503, lets nothing through, and its log names the cause and never a secret.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { Gate, assertProblem, startGate } from "./harness/gate.mjs";
import { Issuer, encode } from "./harness/mint.mjs";
import { RUNTIMES, edgeSettings, newKey, startEdge } from "./harness/system.mjs";
import { until } from "./harness/wait.mjs";

tidyUp();

describe("an edge that cannot work", () => {
  const issuer = new Issuer();
  const between = {
    issuer: issuer.issuer,
    audience: issuer.audience,
    serviceUrl: "http://127.0.0.1:9",
    upstreamUrl: "http://127.0.0.1:9",
  };
  const secrets = { EDGE_CREDENTIAL: "hpc_edge_never_shown", ASSERTION_KEY: newKey() };

  for (const { name, raw } of RUNTIMES) {
    test(`edge in ${name} answers 503 without keys and list, with credentials or not asked for`, async () => {
      const gate = await startGate({ raw, settings: { service_url: "http://127.0.0.1:9" } });
      await gate.refuses(() => gate.withCookie(gate.issuer.token()), "service_unavailable", 503);
      await gate.refuses(() => gate.withBearer(gate.issuer.token()), "service_unavailable", 503);
      const page = await gate.withCookie(gate.issuer.token(), { headers: [["Accept", "text/html"]] });
      assert.deepEqual([page.status, page.headers.location, page.cookies], [503, undefined, []]);
      assert.match(page.headers["retry-after"], /^\d+$/);
      // Nobody is anybody on an optional route, and public ones need no service.
      assert.equal((await gate.withCookie(gate.issuer.token(), { path: "/sign-in" })).status, 200);
      assert.equal((await gate.send({ path: "/public/a" })).status, 200);
      await gate.stop();
    });
  }

  test("edge answers 503 when the service does not take its credential", async () => {
    const gate = await startGate({ raw: true, secrets: { EDGE_CREDENTIAL: "hpc_edge_wrong" } });
    await gate.refuses(() => gate.withCookie(gate.issuer.token()), "service_unavailable", 503);
    assert.ok(gate.service.calls.every((call) => call.headers.authorization === "Bearer hpc_edge_wrong"));
    assertNoSecret(gate.edge, ["hpc_edge_wrong", gate.assertionKey]);
    await gate.stop();
  });

  /** What is wrong: settings to change, secrets to change, what the log names. */
  const MISCONFIGURATIONS = [
    ["an unknown key", { list_max_age: 10 }, {}, "list_max_age"],
    ["an unknown key in a route", { routes: [{ path: "/a", acces: "public" }] }, {}, "acces"],
    ["a value of another type", { hosts: "localhost" }, {}, "hosts"],
    ["no issuer", { issuer: "" }, {}, "issuer"],
    ["no hosts", { hosts: [] }, {}, "hosts"],
    ["a bound of zero", { list_max_age_secs: 0 }, {}, "list_max_age_secs"],
    ["a service that is no URL", { service_url: "service" }, {}, "service_url"],
    ["a sign-in page that needs a session", { sign_in_path: "/private" }, {}, "sign_in_path"],
    ["a grace over an hour", { routes: [{ path: "/a", outage_grace_secs: 3601 }] }, {}, "outage_grace_secs"],
    ["no credential", {}, { EDGE_CREDENTIAL: undefined }, "EDGE_CREDENTIAL"],
    ["no assertion key", {}, { ASSERTION_KEY: undefined }, "ASSERTION_KEY"],
    ["a short assertion key", {}, { ASSERTION_KEY: encode("too short to be a key") }, "ASSERTION_KEY"],
    [
      "a short HS256 key",
      { token_algs: ["EdDSA", "HS256"] },
      { SESSION_HS256_KEY: encode("too short to be a key") },
      "SESSION_HS256_KEY",
    ],
  ];
  for (const [what, settings, changed, named] of MISCONFIGURATIONS) {
    test(`edge with ${what} answers 503 to everything and names ${named} in its log`, async () => {
      const given = Object.entries({ ...secrets, ...changed }).filter(([, value]) => value !== undefined);
      const edge = await startEdge({
        raw: true,
        settings: edgeSettings(between, settings),
        secrets: Object.fromEntries(given),
      });
      await assertMisconfigured(edge, named);
      assertNoSecret(
        edge,
        given.map(([, value]) => value),
      );
      await edge.stop();
    });
  }

  test("edge in wrangler's runtime with an unknown key answers 503 to everything", async () => {
    const edge = await startEdge({
      raw: false,
      settings: edgeSettings(between, { list_max_age: 10 }),
      secrets,
    });
    await assertMisconfigured(edge, "list_max_age");
    await edge.stop();
  });
});

async function assertMisconfigured(edge, named) {
  const gate = new Gate({ service: {}, app: { seen: [] }, edge });
  for (const path of [
    "/",
    "/public/a",
    "/sign-in",
    "/.session/",
    "/.session/health",
    "/.session/assets/portal.css",
    "/a//b",
  ]) {
    assertProblem(await gate.send({ path }), "misconfigured", 503);
  }
  const page = await gate.send({ headers: [["Accept", "text/html"]] });
  assert.deepEqual([page.status, page.cookies], [503, []]);
  assert.doesNotMatch(page.text, new RegExp(named));
  await until(`the log names ${named}`, () => edge.child.log.some((line) => line.includes(named)));
}

/** @param {string[]} values */
function assertNoSecret(edge, values) {
  const log = edge.child.log.join("\n");
  for (const value of values) assert.ok(!log.includes(value), "the log shows a secret");
}
