// What the edge makes of the app's answers: passed on as they are, for no shared cache, with the
// cookies of a hand-off or without what the app must not say. docs/protocol.md §2, §5, §6.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { inParallel } from "./harness/client.mjs";
import { assertProblem, startGate } from "./harness/gate.mjs";
import { Issuer, encode, newSid } from "./harness/mint.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { now, until } from "./harness/wait.mjs";

tidyUp();

/** Hand-offs that are not this request's, or not of a good session; `request` is the right one. */
const BAD_HAND_OFFS = [
  ["another request", (issuer) => ({ set: issuer.handOff(newSid()) })],
  ["no request", (issuer) => ({ set: issuer.handOff(undefined) })],
  ["an Age header", (issuer, request) => ({ set: issuer.handOff(request), age: "0" })],
  [
    "a token of a foreign key",
    (issuer, request) => ({ set: issuer.handOff(request, { session_token: new Issuer().token() }) }),
  ],
  [
    "an expired token",
    (issuer, request) => ({
      set: issuer.handOff(request, {
        session_token: issuer.token({ iat: now() - 60, auth_time: now() - 60, exp: now() }),
      }),
    }),
  ],
  [
    "a token for another audience",
    (issuer, request) => ({ set: issuer.handOff(request, { session_token: issuer.token({ aud: "x" }) }) }),
  ],
  [
    "a token that is no token",
    (issuer, request) => ({ set: issuer.handOff(request, { session_token: "x" }) }),
  ],
  [
    "a renewal token that is none",
    (issuer, request) => ({ set: issuer.handOff(request, { renewal_token: "x; Domain=evil.example" }) }),
  ],
  ["no renewal token", (issuer, request) => ({ set: issuer.handOff(request, { renewal_token: undefined }) })],
  [
    "an end that is no number",
    (issuer, request) => ({ set: issuer.handOff(request, { session_ends_at: "soon" }) }),
  ],
  ["JSON that is none", () => ({ set: encode("{") })],
  ["duplicate members", (_, request) => ({ set: encode(`{"request":"${request}","request":"${request}"}`) })],
  ["text that is not base64url", () => ({ set: "{}" })],
  ["over 8 KiB", (issuer, request) => ({ set: issuer.handOff(request, { pad: "x".repeat(8192) }) })],
];

for (const { name, raw } of RUNTIMES) {
  describe(`answers in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw });
    });
    after(() => gate.stop());

    test("edge makes cookies of a hand-off that answers this request", async () => {
      gate.app.on("/sign-in", (request, response) => {
        const set = gate.issuer.handOff(request.headers["hallpass-request"]);
        response.writeHead(303, { location: "/", "hallpass-set-session": set }).end();
      });
      const answer = await signIn(gate);
      assert.deepEqual([answer.status, answer.headers.location, answer.cookies.length], [303, "/", 2]);
      assert.equal(answer.headers["hallpass-set-session"], undefined);
      assert.equal(answer.headers["cache-control"], "private, no-store");
    });

    for (const [what, make] of BAD_HAND_OFFS) {
      test(`edge refuses a hand-off with ${what}`, async () => {
        gate.app.on("/sign-in", (request, response) => {
          const { set, age } = make(gate.issuer, request.headers["hallpass-request"]);
          response.writeHead(303, { location: "/", "hallpass-set-session": set, ...(age && { age }) }).end();
        });
        const answer = await signIn(gate);
        assertProblem(answer, "handoff_refused", 502);
        assert.deepEqual([answer.cookies, answer.headers["hallpass-set-session"]], [[], undefined]);
      });
    }

    test("edge clears both cookies and ends the session when the app says so", async () => {
      gate.app.on("/sign-out", (_, response) =>
        response.writeHead(303, { location: "/", "hallpass-clear-session": "1" }).end(),
      );
      const claims = gate.issuer.claims();
      const headers = [["Origin", gate.origin]];
      const answer = await gate.withCookie(gate.issuer.token(claims), {
        method: "POST",
        path: "/sign-out",
        headers,
        body: "",
      });
      assert.deepEqual(
        [answer.status, answer.cookies.length, answer.headers["hallpass-clear-session"]],
        [303, 2, undefined],
      );
      for (const line of answer.cookies) assert.match(line, /=; Max-Age=0/);
      const ended = await until("the service is told", () => revocationOf(gate, claims));
      assert.ok(ended.headers["hallpass-session-token"]);
    });

    test("edge clears both cookies when the app says so twice", async () => {
      gate.app.on("/twice", (_, response) =>
        response.writeHead(200, ["Hallpass-Clear-Session", "1", "Hallpass-Clear-Session", "1"]).end(),
      );
      const claims = gate.issuer.claims();
      const answer = await gate.withCookie(gate.issuer.token(claims), { path: "/twice" });
      assert.deepEqual([answer.status, answer.cookies.length], [200, 2]);
      await until("the service is told", () => revocationOf(gate, claims));
    });

    test("edge ignores the app's word to clear on an answer that came from a cache", async () => {
      gate.app.on("/stored", (_, response) =>
        response.writeHead(200, { age: "0", "hallpass-clear-session": "1" }).end("stored"),
      );
      gate.app.on("/fresh", (_, response) => response.writeHead(200, { "hallpass-clear-session": "1" }).end());
      const [kept, ended] = [gate.issuer.claims(), gate.issuer.claims()];
      const answer = await gate.withCookie(gate.issuer.token(kept), { path: "/stored" });
      assert.deepEqual([answer.status, answer.text, answer.cookies], [200, "stored", []]);
      assert.equal(answer.headers["hallpass-clear-session"], undefined);
      await gate.withCookie(gate.issuer.token(ended), { path: "/fresh" });
      // Sessions are ended behind the answer, in the order of the requests.
      await until("the service is told of the later one", () => revocationOf(gate, ended));
      assert.equal(revocationOf(gate, kept), undefined);
      assert.equal((await gate.withCookie(gate.issuer.token(kept))).status, 200);
    });

    test("app's cookies pass but cannot be ours", async () => {
      const lines = [
        "theme=dark; Path=/",
        "__Host-session=forged; Path=/; Secure",
        "__host-SESSION=forged",
        " __Host-renewal=forged; Path=/; Secure",
        "lang=de; Expires=Wed, 21 Oct 2099 07:28:00 GMT",
      ];
      gate.app.on("/cookies", (_, response) => response.writeHead(200, { "set-cookie": lines }).end());
      assert.deepEqual((await gate.withCookie(gate.issuer.token(), { path: "/cookies" })).cookies, [
        lines[0],
        lines[4],
      ]);
      gate.app.on("/public/cookies", (_, response) => response.writeHead(200, { "set-cookie": lines }).end());
      assert.deepEqual((await gate.send({ path: "/public/cookies" })).cookies, [lines[0], lines[4]]);
    });

    test("app's hallpass headers are removed from every answer", async () => {
      for (const path of ["/named", "/public/named"]) {
        gate.app.on(path, (_, response) =>
          response
            .writeHead(200, {
              "Hallpass-Subject": "x",
              "hallpass-odd": "x",
              "Hallpass-Decision": "x",
              "x-kept": "1",
            })
            .end(),
        );
        const answer = await gate.withCookie(gate.issuer.token(), { path });
        assert.deepEqual(
          Object.keys(answer.headers).filter((key) => key.startsWith("hallpass")),
          [],
          path,
        );
        assert.equal(answer.headers["x-kept"], "1");
      }
    });

    for (const [status, headers] of [
      [201, {}],
      [204, {}],
      [301, { location: "https://other.example/" }],
      [302, { location: "/there" }],
      [303, { location: "/x" }],
      [304, { etag: '"1"' }],
      [307, { location: "/private" }],
      [400, {}],
      [401, { "www-authenticate": "Basic" }],
      [403, {}],
      [404, {}],
      [418, {}],
      [429, { "retry-after": "7" }],
      [500, {}],
      [503, { "retry-after": "9" }],
      [599, {}],
    ]) {
      test(`edge passes the app's status ${status} on as it is`, async () => {
        const body = [204, 304].includes(status) ? undefined : `status ${status}`;
        gate.app.on("/status", (_, response) => response.writeHead(status, headers).end(body));
        for (const page of [[], [["Accept", "text/html"]]]) {
          const before = gate.app.seen.length;
          const answer = await gate.withCookie(gate.issuer.token(), { path: "/status", headers: page });
          assert.deepEqual([answer.status, answer.text], [status, body ?? ""]);
          for (const [key, value] of Object.entries(headers)) assert.equal(answer.headers[key], value);
          assert.equal(gate.app.seen.length, before + 1, "a redirect was followed");
        }
      });
    }

    test("edge passes early hints, odd reasons and empty bodies without harm", async () => {
      /** What the app begins its answer with, and the status that arrives. */
      const forms = [
        ["a hundred and two", 200, (response) => response.writeProcessing()],
        ["early hints", 200, (response) => response.writeEarlyHints({ link: "</a.css>; rel=preload" })],
        ["a reason in other bytes", 200, (response) => response.writeHead(200, "caf\xe9 \xff")],
        ["no reason", 200, (response) => response.writeHead(200, "")],
        ["a length of zero", 200, (response) => response.writeHead(200, { "content-length": "0" })],
        ["reset content", 205, (response) => response.writeHead(205)],
      ];
      for (const [what, status, begin] of forms) {
        gate.app.on("/odd-begin", (_, response) => {
          begin(response);
          response.end();
        });
        const answer = await gate.withCookie(gate.issuer.token(), { path: "/odd-begin" });
        assert.deepEqual([answer.status, answer.text], [status, ""], what);
      }
      assert.doesNotMatch(gate.edge.child.log.join("\n"), /panicked|RuntimeError/);
    });

    test("every status of an app arrives as it is, with a body and without", async () => {
      const statuses = Array.from({ length: 400 }, (_, i) => 200 + i);
      gate.app.on("/any-status", (request, response) => {
        const status = Number(request.headers["x-status"]);
        response.writeHead(status).end(request.headers["x-body"] || undefined);
      });
      await inParallel(statuses, 16, async (status) => {
        const bodiless = [204, 205, 304].includes(status);
        for (const body of bodiless ? [""] : ["", `status ${status}`]) {
          const headers = [["X-Status", String(status)], ["X-Body", body]];
          const answer = await gate.withCookie(gate.issuer.token(), { path: "/any-status", headers });
          assert.deepEqual([answer.status, answer.text], [status, body]);
          assert.match(answer.headers["cache-control"], /private/);
        }
      });
    });

    for (const status of [600, 777, 999]) {
      test(`edge answers 502 for the app's status ${status}, which is none`, async () => {
        gate.app.on("/no-status", (_, response) => response.writeHead(status).end("x"));
        const answer = await gate.withCookie(gate.issuer.token(), { path: "/no-status" });
        assertProblem(answer, "upstream_unavailable", 502);
      });
    }

    test("an answer that the app breaks off is broken off for the client", async () => {
      gate.app.on("/broken", (_, response) => {
        response.writeHead(200, { "content-length": "100" });
        response.write("first part", () => response.destroy());
      });
      await assert.rejects(gate.withCookie(gate.issuer.token(), { path: "/broken" }), /aborted|hang up|ECONNRESET/);
      assert.equal((await gate.withCookie(gate.issuer.token())).status, 200);
    });

    test("no answer of the edge's own lets another origin read it", async () => {
      const origins = ["https://evil.example", "null", `${gate.origin}.evil.example`];
      for (const origin of origins) {
        for (const path of ["/private", "/.session/", "/.session/api/sessions", "/.session/health", "/a//b"]) {
          for (const method of ["GET", "OPTIONS"]) {
            const headers = [
              ["Origin", origin],
              ["Access-Control-Request-Method", "GET"],
            ];
            const answer = await gate.send({ method, path, headers });
            const allowed = Object.keys(answer.headers).filter((name) => name.startsWith("access-control-"));
            assert.deepEqual(allowed, [], `${method} ${path}`);
          }
        }
      }
    });

    test("answers to known users are for no shared cache", async () => {
      const forms = [
        ["", "private"],
        ["public, max-age=600", "max-age=600, private"],
        ["s-maxage=600, max-age=60", "max-age=60, private"],
        ["no-store", "no-store, private"],
        ["private, max-age=5", "max-age=5, private"],
        ["PUBLIC, S-MaxAge=9", "private"],
        ['private="a, b", public, max-age=60', "private, no-store"],
      ];
      for (const [given, sent] of forms) {
        const answerWith = (_, response) =>
          response
            .writeHead(200, { ...(given && { "cache-control": given }), vary: "Accept-Language" })
            .end("x");
        gate.app.on("/cached", answerWith);
        gate.app.on("/public/cached", answerWith);
        const answer = await gate.withCookie(gate.issuer.token(), { path: "/cached" });
        const words = (text) =>
          text
            .split(",")
            .map((word) => word.trim())
            .sort();
        assert.deepEqual(words(answer.headers["cache-control"]), words(sent), given);
        assert.deepEqual(words(answer.headers.vary.toLowerCase()), [
          "accept-language",
          "authorization",
          "cookie",
        ]);
        // Nobody's page is anybody's to cache, as the app says.
        const open_ = await gate.withCookie(gate.issuer.token(), { path: "/public/cached" });
        assert.deepEqual(
          [open_.headers["cache-control"], open_.headers.vary],
          [given || undefined, "Accept-Language"],
        );
      }
    });

    test("answers to known users take back what names shared caches by other headers", async () => {
      const targeted = [
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "surrogate-control",
        "edge-control",
        "x-accel-expires",
      ];
      gate.app.on("/targeted", (_, response) =>
        response
          .writeHead(200, Object.fromEntries(targeted.map((name) => [name, "public, max-age=600"])))
          .end("x"),
      );
      const answer = await gate.withCookie(gate.issuer.token(), { path: "/targeted" });
      assert.deepEqual(
        targeted.map((name) => answer.headers[name]),
        targeted.map(() => undefined),
      );
    });

    test("odd header bytes of the app do not stop the edge", async () => {
      gate.app.on("/odd-answer", (_, response) => {
        response
          .writeHead(200, [
            "X-Odd",
            "caf\xe9 \xff",
            "Content-Type",
            "text/plain",
            ...Array.from({ length: 500 }, (__, i) => [`X-Many-${i}`, String(i)]).flat(),
          ])
          .end("odd");
      });
      const answer = await gate.withCookie(gate.issuer.token(), { path: "/odd-answer" });
      assert.deepEqual([answer.status, answer.text], [200, "odd"]);
      for (let i = 0; i < 500; i += 1) assert.equal(answer.headers[`x-many-${i}`], String(i));
    });

    test("edge answers 502 while the app is down, and serves again when it is back", async () => {
      await gate.app.stop();
      for (const path of ["/private", "/public/a"]) {
        const answer = await gate.withCookie(gate.issuer.token(), { path });
        assertProblem(answer, "upstream_unavailable", 502);
        assert.deepEqual(answer.cookies, []);
      }
      const page = await gate.withCookie(gate.issuer.token(), {
        path: "/",
        headers: [["Accept", "text/html"]],
      });
      assert.equal(page.status, 502);
      assert.match(page.headers["content-type"], /^text\/html/);
      await gate.app.start();
      assert.equal((await gate.withCookie(gate.issuer.token())).status, 200);
    });
  });
}

/** The call that ended the session of these claims. */
const revocationOf = (gate, { sid }) =>
  gate.service.calls.findLast(({ path, body }) => path === "/v1/edge/me/revoke" && body.sid === sid);

/** Posts the sign-in form as a program would, so that refusals are problem documents. */
const signIn = (gate) =>
  gate.send({ method: "POST", path: "/sign-in", headers: [["Origin", gate.origin]], body: "user=ada" });
