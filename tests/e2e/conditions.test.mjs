// What single settings change about a request: a sign-in that must be recent, a route's own bound on
// revocation, other origins that may post, the client's address in production, assertions that an
// app checks without a secret. docs/protocol.md §5–§9.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from "jose";
import { tidyUp } from "./harness/children.mjs";
import { Client } from "./harness/client.mjs";
import { assertProblem, freshGate, startGate } from "./harness/gate.mjs";
import { newRenewalToken } from "./harness/mint.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { now, refusedWithin, until } from "./harness/wait.mjs";

tidyUp();

const PAGE = [
  ["Accept", "text/html"],
  ["Sec-Fetch-Dest", "document"],
];
/** As the platform hands it over, from an address range for examples. */
const ADDRESS = "203.0.113.7";
const PARTNER = "https://partner.example";

for (const { name, raw } of RUNTIMES) {
  describe(`conditions in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      const routes = [
        { path: "/recent", max_auth_age_secs: 60 },
        { path: "/strict", list_max_age_secs: 1, on_outage: "refuse" },
        { path: "/lax", on_outage: "refuse" },
      ];
      const csrf_origins = [PARTNER, "http://partner.example:8080"];
      const settings = { routes, csrf_origins, list_max_age_secs: 60, list_poll_secs: 5, assertion: "eddsa" };
      gate = await startGate({ raw, settings });
    });
    after(() => gate.stop());

    test("a user whose sign-in is too old signs in once more and comes back", async (t) => {
      const old = gate.issuer.claims({ auth_time: now() - 3600, iat: now() - 10 });
      const ada = new Client(gate.origin);
      ada.jar.set("__Host-session", gate.issuer.token(old));
      assert.equal((await ada.page("/elsewhere")).status, 200, "only this route asks for more");

      assertProblem(await ada.api("/recent?a=b&c=/d"), "reauthentication_required", 401);
      const sent = await ada.page("/recent?a=b&c=/d");
      assert.deepEqual([sent.status, sent.headers.location], [303, "/sign-in?return_to=/recent%3Fa%3Db%26c%3D/d"]);
      assert.ok(ada.sessionToken, "the session goes on beside");

      assert.equal((await ada.page(sent.headers.location)).status, 200);
      assert.equal(gate.app.last.headers["hallpass-subject"], "ada", "the app sees who is to prove it");
      const returnTo = new URL(gate.app.last.url, gate.origin).searchParams.get("return_to");
      assert.equal(returnTo, "/recent?a=b&c=/d");

      t.after(() => gate.app.answers.delete("/sign-in"));
      gate.app.on("/sign-in", (request, response) => {
        const set = gate.issuer.handOff(request.headers["hallpass-request"]);
        response.writeHead(303, { location: returnTo, "hallpass-set-session": set }).end();
      });
      const signedIn = await ada.submit("/sign-in");
      assert.deepEqual([signedIn.status, signedIn.cookies.length], [303, 2]);
      const back = await ada.page(signedIn.headers.location);
      assert.deepEqual([back.status, gate.app.last.url], [200, returnTo]);
      assert.ok(now() - Number(gate.app.last.headers["hallpass-auth-time"]) < 60);
      assert.notEqual(gate.app.last.headers["hallpass-session"], old.sid);
      const ends = ({ path, body }) => path === "/v1/edge/me/revoke" && body.sid === old.sid;
      await until("the session before is ended", () => gate.service.calls.find(ends));
    });

    test("a renewal makes no sign-in more recent", async () => {
      gate.service.onRenew = () => gate.service.renewed({ auth_time: now() - 61 });
      const headers = [["Cookie", `__Host-renewal=${newRenewalToken()}`]];
      await gate.refuses(() => gate.send({ path: "/recent", headers }), "reauthentication_required", 401);
      gate.service.onRenew = () => gate.service.renewed({ auth_time: now() - 58 });
      assert.equal((await gate.send({ path: "/recent", headers })).status, 200);
    });

    test("a route's own bound on revocation holds while others have theirs", async () => {
      const claims = gate.issuer.claims();
      const token = gate.issuer.token(claims);
      const asks = (path) => gate.withCookie(token, { path });
      for (const path of ["/strict", "/lax"]) assert.equal((await asks(path)).status, 200);
      const polls = gate.service.calls.filter(({ path }) => path === "/v1/edge/revocations");
      assert.ok(polls.every(({ query }) => query.get("bound") === "60"), "the largest bound is told");
      assert.ok(polls.every(({ query }) => Number(query.get("wait") ?? 0) <= 0.5), "half the smallest is waited");

      // With no list to be had, each route goes by its own bound.
      const held = Promise.withResolvers();
      gate.service.beforeAnswer = ({ path }) => path === "/v1/edge/revocations" && held.promise;
      const refused = await refusedWithin(2, () => asks("/strict"));
      assertProblem(refused, "service_unavailable", 503);
      assert.equal((await asks("/lax")).status, 200);

      gate.service.beforeAnswer = () => {};
      held.resolve();
      gate.service.revoke(claims.idx);
      const ended = await refusedWithin(1 + 1, () => asks("/strict"), ({ status }) => status === 401);
      assertProblem(ended, "session_revoked", 401);
    });

    test("an origin that the settings list may post, and none that is like it", async () => {
      const post = (origin, path) =>
        gate.withCookie(gate.issuer.token(), {
          method: "POST",
          path,
          headers: [["Origin", origin], ["Sec-Fetch-Site", "cross-site"]],
          body: "",
        });
      for (const origin of [PARTNER, "http://partner.example:8080"]) {
        for (const path of ["/private", "/sign-in"]) assert.equal((await post(origin, path)).status, 200, path);
        assert.equal((await post(origin, "/.session/sign-out")).status, 204);
      }
      for (const origin of [
        "http://partner.example", `${PARTNER}/`, `${PARTNER}:443`, `${PARTNER}:8080`, PARTNER.toUpperCase(),
        `${PARTNER}.evil.example`, "https://a.partner.example", "https://evilpartner.example", `${PARTNER}, ${PARTNER}`,
        "null", "https://partner.example@evil.example", "partner.example",
      ]) {
        for (const path of ["/private", "/sign-in", "/.session/sign-out"]) {
          await gate.refuses(() => post(origin, path), "origin_forbidden", 403);
        }
      }
      const upgrade = (origin) => ({
        path: "/ws",
        headers: Object.entries({
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
          "Sec-Fetch-Site": "cross-site",
          Origin: origin,
        }),
      });
      assert.equal((await gate.withCookie(gate.issuer.token(), upgrade(PARTNER))).status, 101);
      const other = () => gate.withCookie(gate.issuer.token(), upgrade(`${PARTNER}:8080`));
      await gate.refuses(other, "origin_forbidden", 403);
    });

    test("the client's address is the platform's word in production, and nobody's elsewhere", async (t) => {
      const forged = [
        ["X-Forwarded-For", "198.51.100.1"],
        ["X-Real-IP", "198.51.100.2"],
        ["Forwarded", "for=198.51.100.3"],
        ["True-Client-IP", "198.51.100.4"],
      ];
      const production = await startGate({ raw, settings: { environment: "production" } });
      t.after(() => production.stop());
      for (const [own, address] of [[production, ADDRESS], [gate, undefined]]) {
        for (const path of ["/private", "/public/a", "/sign-in"]) {
          const headers = [["CF-Connecting-IP", ADDRESS], ...forged];
          const answer = await own.withCookie(own.issuer.token(), { path, headers });
          assert.equal(answer.status, 200);
          assert.equal(own.app.last.headers["x-forwarded-for"], address, path);
          assert.doesNotMatch(own.app.last.rawHeaders.join(), /198\.51\.100/);
        }
        own.service.onRenew = () => own.service.renewed();
        const cookie = ["Cookie", `__Host-renewal=${newRenewalToken()}`];
        assert.equal((await own.send({ headers: [cookie, ["CF-Connecting-IP", ADDRESS], ...forged] })).status, 200);
        const { body } = own.service.calls.findLast(({ path }) => path === "/v1/edge/renew");
        assert.equal(body.client.ip, address);
        const page = await own.send({ path: "/a//b", headers: PAGE });
        const hsts = page.headers["strict-transport-security"];
        assert.equal(hsts, address && "max-age=31536000; includeSubDomains");
      }
    });

    test("jose verifies an eddsa assertion by the published key, and nothing else under it", async (t) => {
      const published = createRemoteJWKSet(new URL("/.session/assertion-keys.json", gate.origin));
      const set = (await gate.send({ path: "/.session/assertion-keys.json" })).json;
      assert.deepEqual(Object.keys(set.keys[0]).sort(), ["alg", "crv", "kid", "kty", "use", "x"], "no private part");
      const wanted = (audience) => ({
        issuer: gate.issuer.issuer,
        audience,
        typ: "assertion+jwt",
        algorithms: ["EdDSA"],
        requiredClaims: ["iat", "exp", "jti", "htm", "htu"],
        maxTokenAge: 30,
      });
      for (const [method, path] of [["GET", "/a?b=c"], ["POST", "/a"], ["PUT", "/%61?x=%20&y='"], ["HEAD", "/public/x"]]) {
        const claims = gate.issuer.claims();
        const headers = [["Origin", gate.origin]];
        await gate.withCookie(gate.issuer.token(claims), { method, path, headers });
        const { url, headers: seen } = gate.app.last;
        const { payload } = await jwtVerify(seen["hallpass-assertion"], published, wanted(gate.origin));
        assert.deepEqual([payload.htm, payload.htu, payload.aud], [method, url, gate.origin]);
        assert.equal(payload.jti, seen["hallpass-request"]);
        assert.equal(payload.sub, path.startsWith("/public/") ? undefined : claims.sub);
      }
      const assertion = gate.app.last.headers["hallpass-assertion"];
      await assert.rejects(jwtVerify(assertion, published, wanted("https://other.example")), /aud/);
      const [head, body, signature] = assertion.split(".");
      const changed = JSON.parse(Buffer.from(body, "base64url"));
      changed.sub = "admin";
      const forged = [head, Buffer.from(JSON.stringify(changed)).toString("base64url"), signature].join(".");
      await assert.rejects(jwtVerify(forged, published, wanted(gate.origin)), /signature/);
      const others = createLocalJWKSet({ keys: [gate.issuer.sessionKey.jwk] });
      await assert.rejects(jwtVerify(assertion, others, wanted(gate.origin)), /key|signature/);
      await assert.rejects(jwtVerify(gate.issuer.token(), published, wanted(gate.origin)), /key|signature|typ/);
      // Nor is an assertion a credential.
      await gate.refuses(() => gate.withBearer(assertion), "session_missing", 401);
      await gate.refuses(() => gate.withCookie(assertion), "token_malformed", 401);

      const named = await freshGate(gate, { assertion: "eddsa", assertion_audience: "the app" });
      t.after(() => named.edge.stop());
      await named.withCookie(gate.issuer.token(), { path: "/a" });
      const { payload } = await jwtVerify(gate.app.last.headers["hallpass-assertion"], published, wanted("the app"));
      assert.equal(payload.htu, "/a");
    });
  });
}
