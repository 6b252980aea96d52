// Where unsafe requests and upgrades come from: docs/protocol.md §7.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { assertProblem, startGate } from "./harness/gate.mjs";
import { newSid } from "./harness/mint.mjs";
import { RUNTIMES } from "./harness/system.mjs";

tidyUp();

const EVIL = "https://evil.example";

/**
 * Where an unsafe request says it comes from, and whether it passes: §7.
 *
 * wrangler's runtime writes header values that hold its own host and port anew before the edge sees
 * them, so what only differs in how the origin is spelled is tried in bare workerd.
 */
const PROVENANCES = [
  ["the same origin", true, (own) => ({ "Sec-Fetch-Site": "same-origin", Origin: own })],
  ["the same origin without Origin", true, () => ({ "Sec-Fetch-Site": "same-origin" })],
  ["an old browser on the same origin", true, (own) => ({ Origin: own })],
  ["a typed address", true, () => ({ "Sec-Fetch-Site": "none" })],
  ["nowhere", false, () => ({})],
  ["an opaque origin", false, () => ({ Origin: "null" })],
  ["another site", false, () => ({ "Sec-Fetch-Site": "cross-site", Origin: EVIL })],
  ["another site that hides", false, () => ({ "Sec-Fetch-Site": "cross-site" })],
  [
    "another site that lies about its origin",
    false,
    (own) => ({ "Sec-Fetch-Site": "cross-site", Origin: own }),
  ],
  ["a sibling", false, () => ({ "Sec-Fetch-Site": "same-site", Origin: "http://sibling.127.0.0.1" })],
  ["an old browser on another site", false, () => ({ Origin: EVIL })],
  ["another port", false, () => ({ Origin: "http://127.0.0.1:1" })],
  ["another scheme", false, (own) => ({ Origin: own.replace("http:", "https:") }), "bare workerd only"],
  ["an origin that begins like ours", false, (own) => ({ Origin: `${own}.evil.example` })],
  ["an origin in capitals", false, (own) => ({ Origin: own.toUpperCase() }), "bare workerd only"],
  ["Sec-Fetch-Site in capitals", false, (own) => ({ "Sec-Fetch-Site": "SAME-ORIGIN", Origin: EVIL })],
  ["two origins", false, (own) => ({ Origin: `${own}, ${EVIL}` })],
];

for (const { name, raw } of RUNTIMES) {
  describe(`origins in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw, settings: { routes: [{ path: "/unchecked", csrf: false }] } });
    });
    after(() => gate.stop());

    for (const [from, passes, headers, rawOnly] of PROVENANCES) {
      if (rawOnly && !raw) continue;
      test(`edge ${passes ? "forwards" : "refuses"} unsafe requests from ${from}`, async () => {
        const token = gate.issuer.token();
        const given = Object.entries(headers(gate.origin));
        for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
          const ask = () => gate.withCookie(token, { method, path: "/private", headers: given, body: "" });
          if (passes) assert.equal((await ask()).status, 200, method);
          else await gate.refuses(ask, "origin_forbidden", 403);
        }
        // Signing in is unsafe without a cookie too: nobody may be signed in by somebody else's page.
        const signIn = () => gate.send({ method: "POST", path: "/sign-in", headers: given, body: "" });
        if (passes) assert.equal((await signIn()).status, 200);
        else await gate.refuses(signIn, "origin_forbidden", 403);
        // Reading needs no origin.
        assert.equal((await gate.withCookie(token, { path: "/private", headers: given })).status, 200);
      });

      const own = passes && from !== "a typed address";
      test(`edge's own paths ${own ? "take" : "refuse"} unsafe requests from ${from}`, async () => {
        const headers_ = Object.entries(headers(gate.origin));
        const ask = () =>
          gate.withCookie(gate.issuer.token(), {
            method: "DELETE",
            path: `/.session/api/sessions/${newSid()}`,
            headers: headers_,
          });
        if (own) assert.equal((await ask()).status, 200);
        else assertProblem(await ask(), "origin_forbidden", 403);
        const out = await gate.withCookie(gate.issuer.token(), {
          method: "POST",
          path: "/.session/sign-out",
          headers: headers_,
        });
        if (own) assert.equal(out.status, 204);
        else assertProblem(out, "origin_forbidden", 403);
      });
    }

    test("edge leaves to the app what a browser does not send by itself, and unchecked routes", async () => {
      const headers = Object.entries({ "Sec-Fetch-Site": "cross-site", Origin: EVIL });
      const post = { method: "POST", headers, body: "" };
      assert.equal((await gate.withBearer(gate.issuer.token(), { ...post, path: "/private" })).status, 200);
      assert.equal((await gate.withCookie(gate.issuer.token(), { ...post, path: "/unchecked" })).status, 200);
      assert.equal((await gate.send({ ...post, path: "/public/a" })).status, 200);
    });

    test("edge refuses upgrades from another origin", async () => {
      const upgrade = (more) => ({
        path: "/ws",
        headers: Object.entries({
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
          ...more,
        }),
      });
      for (const more of [
        { Origin: EVIL },
        {},
        { Origin: "null" },
        { "Sec-Fetch-Site": "same-origin" },
        { "Sec-Fetch-Site": "cross-site", Origin: gate.origin },
      ]) {
        await gate.refuses(
          () => gate.withCookie(gate.issuer.token(), upgrade(more)),
          "origin_forbidden",
          403,
        );
      }
    });
  });
}
