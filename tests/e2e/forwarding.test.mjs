// What reaches the app: identity in the edge's words only, nothing that a client could forge, the
// request otherwise as it came. docs/protocol.md §6. A stand-in app writes down all of a request.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { sendRaw } from "./harness/client.mjs";
import { startGate } from "./harness/gate.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { now } from "./harness/wait.mjs";

tidyUp();

/** Spellings of headers only the edge may write; the value is what must not reach the app. */
const FORGED_NAMES = [
  "Hallpass-Subject", "hallpass-subject", "HALLPASS-SUBJECT", "HaLlPaSs-SuBjEcT", "Hallpass_Subject",
  "hallpass_subject", "HALLPASS_SUBJECT", "Hallpass-Subject_", "Hallpass_-Subject", "Hallpass-Session",
  "Hallpass_Session", "Hallpass-Request", "Hallpass_Request", "Hallpass-Assertion", "Hallpass_Assertion",
  "Hallpass-Auth-Time", "Hallpass-Auth_Time", "Hallpass_Auth_Time", "Hallpass-Ext", "Hallpass-Degraded",
  "Hallpass_Degraded", "Hallpass-Role", "Hallpass-Anything", "Hallpass-", "hallpass_",
  "Hallpass-Set-Session", "Hallpass-Clear-Session", "Hallpass-Session-Token", "Hallpass-List",
  "Hallpass-Diagnostics", "Hallpass-Decision",
];

/** What proxies say about clients, and method overrides: §6. */
const DROPPED_NAMES = [
  "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix",
  "X-Forwarded-User", "x_forwarded_for", "X_Forwarded_Host", "X-Forwarded_Proto", "Forwarded", "FORWARDED",
  "X-Real-IP", "X_Real_IP", "True-Client-IP", "true_client_ip", "X-Original-URL", "X_Original_URL",
  "X-Rewrite-URL", "X-HTTP-Method", "X-HTTP-Method-Override", "X_HTTP_Method_Override", "X-Method-Override",
  "X-Forwarded", "Forwarded-For", "X-Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP",
  "X-Original-Host", "X-Host",
];

/** What may stand in a name besides letters and digits: gateways read each of them as `_`. */
const SEPARATORS = [..."!#$%&'*+-.^_`|~"];
const CASES = [
  (name) => name,
  (name) => name.toLowerCase(),
  (name) => name.toUpperCase(),
  (name) => [...name.toLowerCase()].map((c, i) => (i % 2 ? c.toUpperCase() : c)).join(""),
];

/** Every name in every case, its first separator, its last and all of them exchanged for each other. */
function spellings(names) {
  const exchange = (separator) => [
    (name) => name.replace("-", () => separator),
    (name) => name.replace(/-([^-]*)$/, (_, last) => separator + last),
    (name) => name.replaceAll("-", () => separator),
  ];
  const all = names
    .map((name) => name.replaceAll("_", "-"))
    .flatMap((name) => SEPARATORS.flatMap(exchange).map((spell) => spell(name)))
    .flatMap((name) => CASES.map((spell) => spell(name)));
  return [...new Set(all)];
}

const MARK = "forged-by-the-client";

for (const { name, raw } of RUNTIMES) {
  describe(`forwarding in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({
        raw,
        settings: { strip_headers: ["X-Tenant"], routes: [{ path: "/preflight", preflight: "pass" }] },
      });
    });
    after(() => gate.stop());

    const own = () => [["Origin", gate.origin]];
    /** What the app saw of a signed-in request. */
    async function seenWith(headers, request = {}) {
      const answer = await gate.withCookie(gate.issuer.token(), {
        ...request,
        headers: [...own(), ...headers],
      });
      assert.equal(answer.status, 200, answer.text);
      return gate.app.last;
    }
    const assertNothingForged = (seen) =>
      assert.ok(!seen.rawHeaders.join("\n").includes(MARK), seen.rawHeaders.join("\n"));

    test("edge says who it is, in its own words only", async () => {
      const claims = gate.issuer.claims({ ext: { role: "admin", n: 1 }, amr: ["pwd"] });
      await gate.withCookie(gate.issuer.token(claims), { path: "/a?b=c" });
      const { headers } = gate.app.last;
      const ours = Object.keys(headers)
        .filter((key) => key.startsWith("hallpass-"))
        .sort();
      assert.deepEqual(ours, [
        "hallpass-assertion",
        "hallpass-auth-time",
        "hallpass-ext",
        "hallpass-request",
        "hallpass-session",
        "hallpass-subject",
      ]);
      assert.deepEqual(
        [headers["hallpass-subject"], headers["hallpass-session"], headers["hallpass-auth-time"]],
        ["ada", claims.sid, String(claims.auth_time)],
      );
      assert.deepEqual(JSON.parse(Buffer.from(headers["hallpass-ext"], "base64url")), {
        role: "admin",
        n: 1,
      });
    });

    test("edge says nothing of a session on public routes, and no subject of nobody", async () => {
      for (const path of ["/public/a", "/sign-in"]) {
        if (path === "/public/a") await gate.withCookie(gate.issuer.token(), { path });
        else await gate.send({ path });
        const { headers } = gate.app.last;
        const ours = Object.keys(headers)
          .filter((key) => key.startsWith("hallpass-"))
          .sort();
        assert.deepEqual(ours, ["hallpass-assertion", "hallpass-request"], path);
        assert.deepEqual(verifyAssertion(gate, gate.app.last).sub, undefined);
      }
    });

    test("forged identity headers never reach the app in any spelling", async () => {
      for (const forged of FORGED_NAMES) {
        for (const headers of [
          [[forged, MARK]],
          [
            [forged, MARK],
            [forged, MARK],
          ],
          [
            [forged.toUpperCase(), MARK],
            [forged.toLowerCase(), `x, ${MARK}`],
          ],
        ]) {
          const seen = await seenWith(headers);
          assertNothingForged(seen);
          assert.equal(seen.headers["hallpass-subject"], "ada", forged);
          await gate.send({ path: "/public/a", headers });
          assertNothingForged(gate.app.last);
          assert.equal(gate.app.last.headers["hallpass-subject"], undefined, forged);
        }
      }
      await seenWith(FORGED_NAMES.map((forged) => [forged, MARK]));
      assertNothingForged(gate.app.last);
    });

    test("no spelling of them reaches the app", async () => {
      const all = spellings([...FORGED_NAMES, ...DROPPED_NAMES]);
      assert.ok(all.length >= 2000, `${all.length} spellings`);
      const PER_REQUEST = 100;
      for (let first = 0; first < all.length; first += PER_REQUEST) {
        const headers = all.slice(first, first + PER_REQUEST).map((name) => [name, MARK]);
        assertNothingForged(await seenWith(headers));
        await gate.send({ path: "/public/a", headers });
        assertNothingForged(gate.app.last);
      }
    });

    test("headers listed in Connection stay ours", async () => {
      for (const listed of [
        "Hallpass-Subject",
        "hallpass-assertion, hallpass-session",
        "close, Hallpass-Request, Hallpass-Subject",
        "Cookie, Hallpass-Session",
      ]) {
        const seen = await seenWith([
          ["Connection", listed],
          ["Hallpass-Subject", MARK],
        ]).catch((error) => error);
        // A runtime may refuse the request; then nothing was forwarded.
        if (seen instanceof Error) continue;
        assertNothingForged(seen);
        for (const key of ["hallpass-subject", "hallpass-session", "hallpass-request", "hallpass-assertion"])
          assert.ok(seen.headers[key], `${key} with Connection: ${listed}`);
      }
    });

    test("proxy headers and method overrides of the client never reach the app", async () => {
      for (const dropped of DROPPED_NAMES) assertNothingForged(await seenWith([[dropped, MARK]]));
      const seen = await seenWith(DROPPED_NAMES.map((dropped) => [dropped, MARK]));
      assertNothingForged(seen);
      const { host } = new URL(gate.origin);
      assert.deepEqual([seen.headers["x-forwarded-host"], seen.headers["x-forwarded-proto"]], [host, "http"]);
    });

    test("headers named in strip_headers never reach the app, others do", async () => {
      const seen = await seenWith([
        ["X-Tenant", MARK],
        ["x_tenant", MARK],
        ["x.tenant", MARK],
        ["X-Other", "kept"],
        ["Accept-Language", "de"],
      ]);
      assertNothingForged(seen);
      assert.deepEqual([seen.headers["x-other"], seen.headers["accept-language"]], ["kept", "de"]);
    });

    test("session cookies never reach the app while other cookies do", async () => {
      const token = gate.issuer.token();
      const forms = [
        [`__Host-session=${token}; theme=dark; lang=de`, "theme=dark; lang=de"],
        [`theme=dark; __Host-session=${token}`, "theme=dark"],
        [`a="x y"; __Host-session=${token}; __Host-renewal=hp1.x; b=`, 'a="x y"; b='],
        [`__Host-session=${token}; __HOST-SESSION=${token}; a=1`, "a=1"],
        [`__Host-session=${token};__host-renewal=x;a=1`, "a=1"],
        [`__Host-session=${token}; __Host-sessions=1`, "__Host-sessions=1"],
        [`__Host-session=${token}`, undefined],
      ];
      for (const [cookie, forwarded] of forms) {
        assert.equal((await gate.send({ headers: [["Cookie", cookie]] })).status, 200, cookie);
        assert.equal(gate.app.last.headers.cookie, forwarded, cookie);
      }
      await gate.send({ path: "/public/a", headers: [["Cookie", `a=1; __Host-session=${token}; b=2`]] });
      assert.equal(gate.app.last.headers.cookie, "a=1; b=2");
      for (const lines of [
        [
          ["Cookie", "a=1"],
          ["Cookie", `__Host-session=${token}`],
        ],
        [["Cookie", `a=1, __Host-session=${token}`]],
      ]) {
        await gate.send({ path: "/public/a", headers: lines });
        assert.ok(!gate.app.last.rawHeaders.join("\n").includes(token));
      }
    });

    test("bearer of ours never reaches the app while foreign authorization does", async () => {
      const token = gate.issuer.token();
      assert.equal((await gate.withBearer(token)).status, 200);
      assert.equal(gate.app.last.headers.authorization, undefined);
      for (const foreign of [
        "Basic YTpi",
        "Bearer gho_0123456789",
        "Bearer a.b.c",
        "Digest username=a",
        "bearer x",
      ]) {
        const seen = await seenWith([["Authorization", foreign]]);
        assert.equal(seen.headers.authorization, foreign);
      }
    });

    test("assertion is bound to method, path and query", async () => {
      for (const [method, path] of [
        ["GET", "/a/b?c=d&e=%2f"],
        ["POST", "/a"],
        ["DELETE", "/a?"],
        ["PUT", "/%61b/c?x=y?z"],
        ["PATCH", "/public/x?q"],
      ]) {
        const claims = gate.issuer.claims({ amr: ["pwd"], ext: { role: "demo" } });
        await gate.withCookie(gate.issuer.token(claims), {
          method,
          path,
          headers: own(),
          body: method === "GET" ? undefined : "x",
        });
        const seen = gate.app.last;
        const said = verifyAssertion(gate, seen);
        assert.deepEqual([said.htm, said.htu, seen.method], [method, seen.url, method]);
        assert.equal(said.iss, gate.issuer.issuer);
        assert.equal(said.aud, gate.origin);
        assert.equal(said.exp, said.iat + 30);
        assert.ok(Math.abs(said.iat - now()) <= 2);
        assert.ok(said.jti.length >= 22);
        const session = path.startsWith("/public/")
          ? [undefined, undefined, undefined, undefined, undefined]
          : [claims.sub, claims.sid, claims.auth_time, claims.amr, claims.ext];
        assert.deepEqual([said.sub, said.sid, said.auth_time, said.amr, said.ext], session);
      }
    });

    test("edge does not follow the port of Host where the app is the zone's own origin", async () => {
      const zone = await startGate({ raw, settings: { upstream_url: "" } });
      const { port } = new URL(zone.app.origin);
      for (const path of ["/a", "/public/a"]) {
        const answer = await zone.withCookie(zone.issuer.token(), { path, host: `127.0.0.1:${port}` });
        assert.deepEqual(zone.app.seen, [], `${path}: a client chose where it is forwarded to`);
        // Mostly nobody listens on the scheme's own port; whoever does is none of ours.
        assert.ok(["upstream_unavailable", undefined].includes(answer.code), answer.text);
      }
      await zone.stop();
    });

    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]) {
      test(`edge forwards ${method}`, async () => {
        const body = ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"].includes(method)
          ? `body of ${method}`
          : undefined;
        const answer = await gate.withCookie(gate.issuer.token(), {
          method,
          path: "/method",
          headers: own(),
          body,
        });
        assert.equal(answer.status, 200);
        assert.deepEqual([gate.app.last.method, gate.app.last.body.toString()], [method, body ?? ""]);
        if (method === "HEAD") assert.equal(answer.body.length, 0);
      });
    }

    test("preflights are judged, or passed on where a route says so", async () => {
      const headers = [
        ["Origin", "https://other.example"],
        ["Access-Control-Request-Method", "POST"],
      ];
      await gate.refuses(() => gate.send({ method: "OPTIONS", path: "/a", headers }), "session_missing", 401);
      assert.equal((await gate.send({ method: "OPTIONS", path: "/preflight", headers })).status, 200);
      assert.equal(gate.app.last.headers["hallpass-subject"], undefined);
    });

    test("header bytes from 0x80 on pass unchanged in both directions", async () => {
      const { host } = new URL(gate.origin);
      const bytes = Buffer.from(Array.from({ length: 128 }, (_, i) => 0x80 + i)).toString("latin1");
      for (const value of [bytes, "caf\xe9", "caf\xc3\xa9", "\xff\xfe x", "a\xf0\x9f\x92\xa9\x80"]) {
        for (const path of ["/bytes", "/public/bytes"]) {
          gate.app.on(path, (_, response) => response.writeHead(200, ["X-Back", value]).end());
          const cookie = `Cookie: __Host-session=${gate.issuer.token()}`;
          const lines = [`GET ${path} HTTP/1.1`, `Host: ${host}`, "Connection: close", cookie, `X-Odd: ${value}`];
          const answer = await sendRaw(gate.origin, `${lines.join("\r\n")}\r\n\r\n`);
          assert.deepEqual([answer.status, gate.app.last.headers["x-odd"]], [200, value], path);
          assert.equal(/^x-back: (.*)\r$/im.exec(answer.text)?.[1], value, path);
        }
      }
    });

    test("odd header bytes and hundreds of headers do not stop the edge", async () => {
      const { host } = new URL(gate.origin);
      const cookie = `Cookie: __Host-session=${gate.issuer.token()}\r\n`;
      const oddities = [
        "X-Odd: \xff\xfe\x80\r\n",
        "X-Odd: caf\xe9\r\n",
        "User-Agent: \xf0\x9f\x92\xa9\r\n",
        "Cookie: a=\xff\r\n",
        "Accept: \x80\r\nOrigin: \xff\r\nSec-Fetch-Site: \xfe\r\n",
        "Authorization: Bearer \xff.\xfe.\xfd\r\n",
        "Host-Odd: a\x0bb\r\n",
        `X-Long: ${"a".repeat(8000)}\r\n`,
        Array.from({ length: 500 }, (_, i) => `X-Many-${i}: ${i}\r\n`).join(""),
        Array.from({ length: 300 }, () => "X-Same: 1\r\n").join(""),
      ];
      for (const oddity of oddities) {
        const answer = await sendRaw(
          gate.origin,
          `GET /odd HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${cookie}${oddity}\r\n`,
        );
        assert.ok(
          [0, 200, 400, 401, 431].includes(answer.status),
          `${answer.status} ${JSON.stringify(oddity.slice(0, 40))}`,
        );
        assert.equal(
          (await gate.withCookie(gate.issuer.token())).status,
          200,
          `after ${JSON.stringify(oddity.slice(0, 40))}`,
        );
      }
      const seen = await seenWith(Array.from({ length: 500 }, (_, i) => [`X-Many-${i}`, String(i)]));
      for (let i = 0; i < 500; i += 1) assert.equal(seen.headers[`x-many-${i}`], String(i));
      assert.doesNotMatch(gate.edge.child.log.join("\n"), /panicked|RuntimeError/);
    });
  });
}

/** The assertion's claims, after an independent check of its HMAC. */
function verifyAssertion(gate, seen) {
  const [header, payload, signature] = seen.headers["hallpass-assertion"].split(".");
  const parsed = JSON.parse(Buffer.from(header, "base64url"));
  assert.deepEqual([parsed.alg, parsed.typ], ["HS256", "assertion+jwt"]);
  const key = Buffer.from(gate.assertionKey, "base64url");
  assert.equal(signature, createHmac("sha256", key).update(`${header}.${payload}`).digest("base64url"));
  return JSON.parse(Buffer.from(payload, "base64url"));
}
