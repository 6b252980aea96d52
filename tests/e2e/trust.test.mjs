// What the edge believes of the session service, and what it does when it cannot ask it:
// docs/protocol.md §1 (algorithms), §3 (keys, list), §9 (`on_outage`).
//
// Most cases need an edge that knows nothing yet; each gets its own, in bare workerd.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { tidyUp } from "./harness/children.mjs";
import { assertProblem, freshGate, startGate } from "./harness/gate.mjs";
import { Issuer, Key, encode, hmacCompact, newRenewalToken, roaring } from "./harness/mint.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { LIST_MAX_AGE_SECS, RUNTIMES, newKey } from "./harness/system.mjs";
import { now, until } from "./harness/wait.mjs";

tidyUp();

const HS256_KEY = newKey();
const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

describe("trust", () => {
  /** @type {import("./harness/gate.mjs").Gate} */
  let gate;
  const service = () => gate.service;
  before(async () => {
    gate = await startGate({ raw: true });
  });
  after(() => gate.stop());

  /** Whether an edge that has just started lets a good token pass. */
  async function judgedFresh() {
    const fresh = await freshGate(gate);
    const answer = await fresh.withCookie(gate.issuer.token());
    await fresh.edge.stop();
    return answer;
  }
  async function refusedWith(hook, change) {
    const usual = service()[hook];
    service()[hook] = change;
    try {
      assertProblem(await judgedFresh(), "service_unavailable", 503);
    } finally {
      service()[hook] = usual;
    }
  }

  for (const alg of ["EdDSA", "Ed25519", "ES256"]) {
    test(`edge takes ${alg} tokens as their key says, and no changed one`, async () => {
      const key = new Key("other", alg);
      service().extraKeys = [key];
      service().change({ kids: ["s1", "other"] });
      const fresh = await freshGate(gate, { token_algs: ["EdDSA", "Ed25519", "ES256"] });
      const sign = (header = {}) => gate.issuer.token({}, { key, header: { kid: "other", alg, ...header } });
      assert.equal((await fresh.withCookie(sign())).status, 200);
      for (let bit = 0; bit < 512; bit += 61) {
        await fresh.refuses(() => fresh.withCookie(flipped(sign(), bit)), "token_untrusted", 401);
      }
      for (const other of ["EdDSA", "Ed25519", "ES256", "HS256", "none", "RS256"].filter(
        (name) => name !== alg,
      )) {
        await fresh.refuses(() => fresh.withCookie(sign({ alg: other })), "token_untrusted", 401);
      }
      await fresh.refuses(() => fresh.withCookie(truncated(sign())), "token_untrusted", 401);
      await fresh.edge.stop();
      service().extraKeys = [];
      service().change({ kids: ["s1"] });
    });
  }

  test("edge refuses an algorithm its settings do not name", async () => {
    const key = new Key("other", "ES256");
    service().extraKeys = [key];
    service().change({ kids: ["s1", "other"] });
    const fresh = await freshGate(gate, { token_algs: ["EdDSA"] });
    await fresh.refuses(
      () => fresh.withCookie(gate.issuer.token({}, { key, header: { kid: "other", alg: "ES256" } })),
      "token_untrusted",
      401,
    );
    assert.equal((await fresh.withCookie(gate.issuer.token())).status, 200);
    await fresh.edge.stop();
    service().extraKeys = [];
    service().change({ kids: ["s1"] });
  });

  test("edge takes HS256 tokens with the secret only", async () => {
    const header = gate.issuer.header({ alg: "HS256", kid: "hs256" });
    const token = hmacCompact(Buffer.from(HS256_KEY, "base64url"), header, gate.issuer.claims());
    await gate.refuses(() => gate.withCookie(token), "token_untrusted", 401);
    const fresh = await freshGate(gate, { token_algs: ["EdDSA", "HS256"] }, { SESSION_HS256_KEY: HS256_KEY });
    assert.equal((await fresh.withCookie(token)).status, 200);
    const forged = hmacCompact(Buffer.from(newKey(), "base64url"), header, gate.issuer.claims());
    await fresh.refuses(() => fresh.withCookie(forged), "token_untrusted", 401);
    await fresh.edge.stop();
  });

  test("edge refuses the second signature that Ed25519's arithmetic allows", async () => {
    await gate.refuses(() => gate.withCookie(withOrderAdded(gate.issuer.token())), "token_untrusted", 401);
  });

  /** Key sets of which one key spoils all; the good key is among them. */
  const BAD_KEYS = [
    ["a duplicate kid", () => new Key("s1").jwk],
    ["a private key", () => new Key("x").privateJwk],
    ["a symmetric key", () => ({ kty: "oct", kid: "x", alg: "HS256", use: "sig", k: newKey() })],
    [
      "an RSA key",
      () => ({ kty: "RSA", kid: "x", alg: "RS256", use: "sig", n: encode(Buffer.alloc(256, 7)), e: "AQAB" }),
    ],
    ["a key of small order", () => ({ ...new Key("x").jwk, x: encode(Buffer.alloc(32)) })],
    [
      "the identity as key",
      () => ({ ...new Key("x").jwk, x: encode(Buffer.from([1, ...Buffer.alloc(31)])) }),
    ],
    [
      "a point off its curve",
      () => ({
        ...new Key("x", "ES256").jwk,
        x: encode(Buffer.alloc(32, 1)),
        y: encode(Buffer.alloc(32, 2)),
      }),
    ],
    ["a key for encryption", () => ({ ...new Key("x").jwk, use: "enc" })],
    ["a key without alg", () => ({ ...new Key("x").jwk, alg: undefined })],
    ["a key whose alg is another's", () => ({ ...new Key("x").jwk, alg: "ES256" })],
    ["a key without kid", () => ({ ...new Key("x").jwk, kid: undefined })],
    ["a key called hs256", () => new Key("hs256").jwk],
  ];
  for (const [what, make] of BAD_KEYS) {
    test(`edge refuses a key set with ${what}`, () =>
      refusedWith("onKeys", (keys) => ({ ...keys, session: { keys: [...keys.session.keys, make()] } })));
  }

  /** Lists that are not taken in. */
  const BAD_LISTS = [
    [
      "a changed payload",
      (reply) => ({
        ...reply,
        body: reply.body.replace(/\.[^.]+\./, `.${encode(JSON.stringify(service().listClaims))}.`),
      }),
    ],
    [
      "the signature of a session key",
      (reply) => ({ ...reply, body: list({}, { key: gate.issuer.sessionKey, header: { kid: "s1" } }) }),
    ],
    ["the signature of a foreign key", (reply) => ({ ...reply, body: list({}, { key: new Key("l1") }) })],
    ["the typ of a token", (reply) => ({ ...reply, body: list({}, { header: { typ: "session+jwt" } }) })],
    ["another issuer", (reply) => ({ ...reply, body: list({ iss: "https://elsewhere.test" }) })],
    ["its end behind it", (reply) => ({ ...reply, body: list({ iat: now() - 600, exp: now() - 300 }) })],
    [
      "another number than the header",
      (reply) => ({ ...reply, body: list({ to: service().listClaims.to + 1 }) }),
    ],
    ["another epoch than the header", (reply) => ({ ...reply, body: list({ epoch: "other" }) })],
    ["a gap before it", (reply) => ({ ...reply, body: list({ from: 1 }) })],
    ["no header", ({ headers, ...reply }) => ({ ...reply, headers: { ...headers, "hallpass-list": "" } })],
    [
      "a header from the future",
      (reply) => ({
        ...reply,
        headers: {
          ...reply.headers,
          "hallpass-list": reply.headers["hallpass-list"].replace("confirmed_ms=0", "confirmed_ms=60000"),
        },
      }),
    ],
    ["half of it missing", (reply) => ({ ...reply, body: reply.body.slice(0, reply.body.length / 2) })],
    [
      "a bitmap that is none",
      (reply) => ({
        ...reply,
        body: list({ sessions: [{ exp: (Math.floor(now() / 60) + 9) * 60, idx: encode("bitmap") }] }),
      }),
    ],
    [
      "a bitmap cut short",
      (reply) => ({
        ...reply,
        body: list({
          sessions: [
            { exp: (Math.floor(now() / 60) + 9) * 60, idx: encode(roaring([1, 2, 3]).subarray(0, -2)) },
          ],
        }),
      }),
    ],
    [
      "an HTML page in its place",
      (reply) => ({
        ...reply,
        headers: { ...reply.headers, "content-type": "text/html" },
        body: "<h1>Welcome</h1>",
      }),
    ],
    ["status 500", () => problem(500, "service_faulty")],
    ["no answer", () => ({ status: 0 })],
  ];
  const list = (claims, how) => gate.issuer.list({ ...service().listClaims, ...claims }, how);
  for (const [what, change] of BAD_LISTS) {
    test(`edge refuses a list with ${what}`, () => refusedWith("onList", change));
  }

  test("edge keeps its last good list when the service goes back in time", async () => {
    const fresh = await freshGate(gate);
    const claims = gate.issuer.claims();
    service().revoke(claims.idx);
    await fresh.refuses(() => fresh.withCookie(gate.issuer.token(claims)), "session_revoked", 401);
    const { to } = service().listClaims;
    service().onList = (reply) => ({
      status: 200,
      headers: {
        "content-type": "application/jose",
        "hallpass-list": reply.headers["hallpass-list"].replace(`to=${to}`, `to=${to - 1}`),
      },
      body: list({ to: to - 1 }),
    });
    // Past the bound it asks again, is told of the past, and goes on with what it knows.
    await until("the edge says that it is cut off", async () => {
      assertProblem(await fresh.withCookie(gate.issuer.token(claims)), "session_revoked", 401);
      assert.equal((await fresh.withCookie(gate.issuer.token())).status, 200);
      return gate.app.last.headers["hallpass-degraded"];
    });
    assert.ok(fresh.edge.child.log.some((line) => line.includes("list_refused")));
    service().onList = (reply) => reply;
    await fresh.edge.stop();
  });

  test("requests that meet a cold edge together fetch its keys and its list once", async () => {
    const fresh = await freshGate(gate);
    const began = service().calls.length;
    service().beforeAnswer = () => sleep(200);
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => fresh.withCookie(gate.issuer.token())),
    );
    service().beforeAnswer = () => {};
    assert.ok(answers.every(({ status }) => status === 200));
    const calls = service().calls.slice(began);
    const count = (path, isIt = () => true) =>
      calls.filter((call) => call.path === path && isIt(call)).length;
    assert.equal(count("/v1/edge/keys"), 1);
    // Polls behind the answers have a position already.
    assert.equal(
      count("/v1/edge/revocations", ({ query }) => !query.has("epoch")),
      1,
    );
    await fresh.edge.stop();
  });

  test("edge keeps the keys of a later question when the answer to an earlier one comes after it", async () => {
    const fresh = await freshGate(gate);
    const next = new Key("s2");
    const { sessionKey, listKey } = gate.issuer;
    const before = { session: { keys: [sessionKey.jwk] }, list: { keys: [listKey.jwk] } };
    service().extraKeys = [next];
    service().change({ kids: ["s1", "s2"] });
    /** @type {PromiseWithResolvers<void>} */
    const silence = Promise.withResolvers();
    const began = service().calls.length;
    const questions = () => service().calls.slice(began).filter(({ path }) => path === "/v1/edge/keys").length;
    service().beforeAnswer = async ({ path }) => {
      if (path !== "/v1/edge/keys" || questions() > 1) return;
      await silence.promise;
      service().onKeys = () => before;
    };
    const first = fresh.withCookie(gate.issuer.token());
    await until("the first question is asked", () => questions() === 1);
    const token = gate.issuer.token({}, { key: next, header: { kid: "s2" } });
    assert.equal((await fresh.withCookie(token)).status, 200);
    silence.resolve();
    assert.equal((await first).status, 200);
    assert.equal((await fresh.withCookie(token)).status, 200);
    assert.equal(questions(), 2, "the newer keys were forgotten");

    service().beforeAnswer = () => {};
    service().onKeys = (keys) => keys;
    service().extraKeys = [];
    service().change({ kids: ["s1"] });
    await fresh.edge.stop();
  });

  test("edge treats every other answer to a renewal as an outage", async () => {
    const odd = [
      ["500", () => problem(500, "internal")],
      ["429", () => problem(429, "too_many_requests")],
      ["an unknown code", () => problem(401, "session_odd")],
      ["a terminal code with status 403", () => problem(403, "session_revoked")],
      [
        "HTML with 401",
        () => ({ status: 401, headers: { "content-type": "text/html" }, body: "<h1>session_revoked</h1>" }),
      ],
      [
        "a terminal code as plain JSON",
        () => ({ ...problem(401, "session_revoked"), headers: { "content-type": "application/json" } }),
      ],
      [
        "HTML with 200",
        () => ({ status: 200, headers: { "content-type": "text/html" }, body: "<h1>OK</h1>" }),
      ],
      ["table_rolled_back", () => problem(503, "table_rolled_back")],
      ["renewal_key_unknown", () => problem(503, "renewal_key_unknown")],
      [
        "a token of a foreign key",
        () => ({
          status: 200,
          body: { ...gate.service.renewed({}).body, session_token: new Issuer().token() },
        }),
      ],
    ];
    for (const [what, answerOf] of odd) {
      // An isolate rests after a failed renewal: each answer gets a fresh one.
      const fresh = await freshGate(gate);
      gate.service.onRenew = answerOf;
      const headers = [
        ["Cookie", `__Host-session=${gate.issuer.expiredToken()}; __Host-renewal=${newRenewalToken()}`],
      ];
      const before = gate.app.seen.length;
      const answer = await fresh.send({ path: "/private", headers });
      assertProblem(answer, "service_unavailable", 503);
      const page = await fresh.send({ path: "/private", headers: [...headers, ["Accept", "text/html"]] });
      assert.deepEqual([page.status, page.headers.location], [503, undefined], what);
      assert.deepEqual([answer.cookies, page.cookies, gate.app.seen.length], [[], [], before], what);
      await fresh.edge.stop();
    }
  });

  test("edge refuses on a strict route when its list grew too old while it fetched a key", async () => {
    const routes = [{ path: "/strict", on_outage: "refuse" }];
    const late = await startGate({ raw: true, settings: { routes, service_timeout_ms: 3000 } });
    const next = new Key("s2");
    late.service.kids = [late.issuer.sessionKey.kid, next.kid];
    assert.equal((await late.withCookie(late.issuer.token(), { path: "/strict" })).status, 200);

    late.service.extraKeys.push(next);
    /** @type {PromiseWithResolvers<void>} */
    const silence = Promise.withResolvers();
    late.service.beforeAnswer = ({ path }) =>
      path === "/v1/edge/keys" ? sleep(LIST_MAX_AGE_SECS * 1000 + 500) : silence.promise;
    const token = late.issuer.token({}, { header: { kid: next.kid }, key: next });
    await late.refuses(
      () => late.withCookie(token, { path: "/strict" }),
      "service_unavailable",
      503,
    );
    silence.resolve();
    await late.stop();
  });

  for (const { name, raw } of RUNTIMES) {
    test(`edge in ${name} follows each route's rule while the service is down`, async () => {
      const routes = [
        { path: "/strict", on_outage: "refuse" },
        { path: "/lenient", outage_grace_secs: 60 },
      ];
      const cut = await startGate({ raw, settings: { routes } });
      const claims = cut.issuer.claims();
      const revoked = cut.issuer.token(claims);
      cut.service.revoke(claims.idx);
      const good = cut.issuer.token();
      const late = cut.issuer.token({ iat: now() - 100, auth_time: now() - 100, exp: now() - 10 });
      const tooLate = cut.issuer.token({ iat: now() - 300, auth_time: now() - 300, exp: now() - 100 });
      const renewable = (token) => [
        ["Cookie", `__Host-session=${token}; __Host-renewal=${newRenewalToken()}`],
      ];
      assert.equal((await cut.withCookie(good, { path: "/strict" })).status, 200);
      await cut.service.stop();

      await until("the app is told that the edge is cut off", async () => {
        assert.equal((await cut.withCookie(good)).status, 200);
        return cut.app.last.headers["hallpass-degraded"] === "1";
      });
      await cut.refuses(() => cut.withCookie(good, { path: "/strict" }), "service_unavailable", 503);
      await cut.refuses(() => cut.withCookie(revoked), "session_revoked", 401);
      await cut.refuses(() => cut.withCookie(cut.issuer.token({ aud: "x" })), "token_invalid", 401);

      // Without a grace an ended token is an outage where it could be renewed, and refused where not.
      await cut.refuses(() => cut.send({ headers: renewable(late) }), "service_unavailable", 503);
      await cut.refuses(() => cut.withCookie(late), "token_expired", 401);
      assert.equal((await cut.send({ path: "/lenient", headers: renewable(late) })).status, 200);
      assert.equal(cut.app.last.headers["hallpass-degraded"], "1");
      await cut.refuses(
        () => cut.send({ path: "/lenient", headers: renewable(tooLate) }),
        "service_unavailable",
        503,
      );

      // Sign-out still clears the cookies, and says that it is not all.
      const out = await cut.send({
        method: "POST",
        path: "/.session/sign-out",
        headers: [["Origin", cut.origin], ...renewable(good)],
        body: "",
      });
      assertProblem(out, "service_unavailable", 503);
      assert.equal(out.cookies.length, 2);

      await cut.service.start();
      await until("the edge is firm again", async () => {
        assert.equal((await cut.withCookie(good)).status, 200);
        return cut.app.last.headers["hallpass-degraded"] === undefined;
      });
      assert.equal((await cut.withCookie(good, { path: "/strict" })).status, 200);
      await cut.stop();
    });
  }
});

/** The same token with one bit of its signature changed. */
function flipped(token, bit) {
  const [header, payload, signature] = token.split(".");
  const bytes = Buffer.from(signature, "base64url");
  bytes[Math.floor(bit / 8)] ^= 1 << (bit % 8);
  return [header, payload, encode(bytes)].join(".");
}

function truncated(token) {
  const [header, payload, signature] = token.split(".");
  return [header, payload, encode(Buffer.from(signature, "base64url").subarray(0, 63))].join(".");
}

/** S + L in place of S: a verifier that does not reduce-check takes it for the same signature. */
function withOrderAdded(token) {
  const [header, payload, signature] = token.split(".");
  const bytes = Buffer.from(signature, "base64url");
  const s = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString("hex")}`) + GROUP_ORDER;
  Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse().copy(bytes, 32);
  return [header, payload, encode(bytes)].join(".");
}
