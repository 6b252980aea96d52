// Requests that are refused for what they ask or where they come from, and answers of app and
// service that are not passed on: docs/protocol.md §3, §5, §7, §8, §9.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { sendRaw } from "./harness/client.mjs";
import { DIAGNOSTIC_CREDENTIAL, Gate, assertProblem, freshGate, startGate } from "./harness/gate.mjs";
import { Issuer, encode, newRenewalToken, newSid } from "./harness/mint.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { RUNTIMES, edgeSettings, newKey, startEdge } from "./harness/system.mjs";
import { now, until } from "./harness/wait.mjs";

tidyUp();

/**
 * Paths that two programs could read differently. Under a public prefix, so that one which slips
 * through without judgement is answered by the app.
 */
const AMBIGUOUS_PATHS = [
  "/public/../private", "/public/..", "/public/../", "/public/../../private", "/public/a/../../private",
  "/public/.", "/public/./a", "/public/a/.", "/public/a/..", "/./public/a", "/../public/a", "/.", "/..",
  "/public/%2e%2e/private", "/public/%2E%2E/private", "/public/.%2e/private", "/public/%2e./private",
  "/public/%2e", "/public/%2e/a", "/public/%2e%2e", "/public/%2e%2e%2fprivate", "/public/..%2fprivate",
  "/public/..%2Fprivate", "/public%2f..%2fprivate", "/public%2fa", "/public/a%2fb", "/public/a%2Fb", "/public/%2f",
  "/public/%2Fprivate", "%2fprivate", "/public/..%5cprivate", "/public/%5c..%5cprivate", "/public/a%5cb",
  "/public/a%5Cb", "/public\\private", "/public/..\\private", "/public/a\\..\\..\\private", "\\private",
  "/public//private", "//private", "///private", "/public//", "//", "/public/a//b", "/public//../private",
  "/public/;/private", "/public/..;/private", "/public;a=b/private", "/public/a;jsessionid=1", "/public/a;",
  "/public/a%3bb", "/public/a%3Bb", "/;/private", "/public/.;/a", "/public/%00", "/public/a%00", "/public/a%00.css",
  "/public/%0a", "/public/%0d%0aHallpass-Subject:%20admin", "/public/%09", "/public/a%1f", "/public/%7f",
  "/public/%", "/public/%z", "/public/%zz", "/public/%2", "/public/%2g", "/public/a%", "/public/%u002e%u002e/private",
  "/public/%c0%ae%c0%ae/private", "/public/%c0%af", "/public/%e0%80%af", "/public/%ff", "/public/%80", "/public/%ed%a0%80",
  "/public/%f8%80%80%80", "http://127.0.0.1/public/../private", "http://evil.example/public//private", "*", "public/a",
  "/public/\x01", "/public/\x7f", "/public/a\tb", "/public/\xff", "/public/..%00/private", "/public/%252f%2f",
];

/** Paths with one reading, and the one form in which the app sees them. */
const PLAIN_PATHS = [
  ["/public/a", "/public/a"],
  ["/public/", "/public/"],
  ["/public/%61%62", "/public/ab"],
  ["/public/a%2cb", "/public/a%2Cb"],
  ["/public/%7euser", "/public/~user"],
  ["/public/a%20b", "/public/a%20b"],
  ["/public/%c3%bc", "/public/%C3%BC"],
  ["/public/%252e%252e/a", "/public/%252e%252e/a"],
  ["/public/a%3fb", "/public/a%3Fb"],
  ["/public/...", "/public/..."],
  ["/public/a?b=../../private", "/public/a?b=../../private"],
  ["/public/a?b=%2f;c//d", "/public/a?b=%2f;c//d"],
  ["/public/@:!$&'()*+,=", "/public/@:!$&'()*+,="],
];

const ROUTES = [
  { path: "/unchecked", csrf: false },
  { path: "/recent", max_auth_age_secs: 60 },
  { path: "/admin/*", require: { role: ["admin"] } },
  { path: "/mixed", methods: ["GET"], access: "public" },
  { path: "/no-sockets", websocket: "refuse" },
];

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
  ["another site that lies about its origin", false, (own) => ({ "Sec-Fetch-Site": "cross-site", Origin: own })],
  ["a sibling", false, () => ({ "Sec-Fetch-Site": "same-site", Origin: "http://sibling.127.0.0.1" })],
  ["an old browser on another site", false, () => ({ Origin: EVIL })],
  ["another port", false, () => ({ Origin: "http://127.0.0.1:1" })],
  ["another scheme", false, (own) => ({ Origin: own.replace("http:", "https:") }), "bare workerd only"],
  ["an origin that begins like ours", false, (own) => ({ Origin: `${own}.evil.example` })],
  ["an origin in capitals", false, (own) => ({ Origin: own.toUpperCase() }), "bare workerd only"],
  ["Sec-Fetch-Site in capitals", false, (own) => ({ "Sec-Fetch-Site": "SAME-ORIGIN", Origin: EVIL })],
  ["two origins", false, (own) => ({ Origin: `${own}, ${EVIL}` })],
];

/** Hand-offs that are not this request's, or not of a good session; `request` is the right one. */
const BAD_HAND_OFFS = [
  ["another request", (issuer) => ({ set: issuer.handOff(newSid()) })],
  ["no request", (issuer) => ({ set: issuer.handOff(undefined) })],
  ["an Age header", (issuer, request) => ({ set: issuer.handOff(request), age: "0" })],
  ["a token of a foreign key", (issuer, request) => ({ set: issuer.handOff(request, { session_token: new Issuer().token() }) })],
  ["an expired token", (issuer, request) => ({ set: issuer.handOff(request, { session_token: issuer.token({ iat: now() - 60, auth_time: now() - 60, exp: now() }) }) })],
  ["a token for another audience", (issuer, request) => ({ set: issuer.handOff(request, { session_token: issuer.token({ aud: "x" }) }) })],
  ["a token that is no token", (issuer, request) => ({ set: issuer.handOff(request, { session_token: "x" }) })],
  ["a renewal token that is none", (issuer, request) => ({ set: issuer.handOff(request, { renewal_token: "x; Domain=evil.example" }) })],
  ["no renewal token", (issuer, request) => ({ set: issuer.handOff(request, { renewal_token: undefined }) })],
  ["an end that is no number", (issuer, request) => ({ set: issuer.handOff(request, { session_ends_at: "soon" }) })],
  ["JSON that is none", () => ({ set: encode("{") })],
  ["duplicate members", (_, request) => ({ set: encode(`{"request":"${request}","request":"${request}"}`) })],
  ["text that is not base64url", () => ({ set: "{}" })],
  ["over 8 KiB", (issuer, request) => ({ set: issuer.handOff(request, { pad: "x".repeat(8192) }) })],
];

for (const { name, raw } of RUNTIMES) {
  describe(`requests in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw, settings: { routes: ROUTES } });
    });
    after(() => gate.stop());

    const pairs = (headers) => Object.entries(headers);
    const rawGet = (path, more = "") => {
      const { host } = new URL(gate.origin);
      return sendRaw(gate.origin, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`);
    };

    test("edge refuses paths that can be read in two ways", async () => {
      const refused = { judged: 0, resolved: 0, byRuntime: 0 };
      for (const path of AMBIGUOUS_PATHS) {
        const before = gate.app.seen.length;
        const answer = await rawGet(path);
        const shown = `${JSON.stringify(path)}: ${answer.status} ${answer.code}`;
        if (gate.app.seen.length > before) {
          // A runtime may resolve a path before anybody sees it; then that is what was judged, and
          // what is forwarded has one reading.
          const { url } = gate.app.last;
          assert.match(url, /^\/public\/([/A-Za-z0-9.~-]|%[0-9A-F]{2})*$/, `${shown}, as ${url}`);
          assert.doesNotMatch(url, /%2F|%5C|%00|\.\.|\/\//i, `${shown}, as ${url}`);
          assert.ok(!raw, `${shown}, as ${url}: bare workerd resolves nothing`);
          refused.resolved += 1;
        } else if (answer.code === undefined) {
          // wrangler's own front fails at `*`.
          assert.ok([0, 400].includes(answer.status) || (!raw && path === "*"), shown);
          refused.byRuntime += 1;
        } else if (answer.code === "host_unknown") {
          assert.ok(!path.startsWith("/"), shown);
          refused.byRuntime += 1;
        } else if (answer.code === "session_missing") {
          assert.ok(!raw, shown);
          refused.resolved += 1;
        } else {
          assert.deepEqual([answer.status, answer.code], [400, "path_ambiguous"], shown);
          refused.judged += 1;
        }
      }
      assert.ok(refused.judged >= (raw ? 60 : 40), JSON.stringify(refused));
    });

    test("edge forwards a plain path in its one form", async () => {
      for (const [path, seen] of PLAIN_PATHS) {
        assert.equal((await rawGet(path)).status, 200, path);
        assert.equal(gate.app.last.url, seen);
      }
    });

    test("edge judges the same path it forwards", async () => {
      for (const path of ["/Public/a", "/publi%63x/a", "/public", "/publicity", "/%70ublic%2e/a", "/sign-in/", "/Sign-In"]) {
        await gate.refuses(() => gate.send({ path }), "session_missing", 401);
      }
      assert.equal((await gate.send({ path: "/%70ublic/a" })).status, 200);
    });

    test("edge answers an ambiguous path with a page where a person waits", async () => {
      const answer = await gate.send({ path: "/public/a%2fb", headers: [["Accept", "text/html"]] });
      assert.equal(answer.status, 400);
      assert.match(answer.headers["content-type"], /^text\/html/);
      assert.match(answer.headers["content-security-policy"], /default-src 'none'/);
      assert.match(answer.headers["cache-control"], /no-store/);
      assert.match(answer.text, /<h1>/);
    });

    test("edge refuses hosts it does not serve", async () => {
      for (const host of ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "127.0.0.2", "localhost.", "[::1]"]) {
        const ask = () => gate.send({ path: "/public/a", host });
        await gate.refuses(ask, "host_unknown", 421);
      }
      assert.equal((await gate.send({ path: "/public/a", host: `LOCALHOST:${gate.edge.port}` })).status, 200);
    });

    test("edge refuses TRACE", async () => {
      const before = gate.app.seen.length;
      const answer = await gate.withCookie(gate.issuer.token(), { method: "TRACE", path: "/public/a" });
      assert.equal(answer.status, 405);
      assert.equal(gate.app.seen.length, before);
    });

    for (const [from, passes, headers, rawOnly] of PROVENANCES) {
      if (rawOnly && !raw) continue;
      test(`edge ${passes ? "forwards" : "refuses"} unsafe requests from ${from}`, async () => {
        const token = gate.issuer.token();
        const given = pairs(headers(gate.origin));
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

      test(`edge's own paths ${passes && from !== "a typed address" ? "take" : "refuse"} unsafe requests from ${from}`, async () => {
        const own = passes && from !== "a typed address";
        const headers_ = pairs(headers(gate.origin));
        const ask = () => gate.withCookie(gate.issuer.token(), { method: "DELETE", path: `/.session/api/sessions/${newSid()}`, headers: headers_ });
        if (own) assert.equal((await ask()).status, 200);
        else assertProblem(await ask(), "origin_forbidden", 403);
        const out = await gate.withCookie(gate.issuer.token(), { method: "POST", path: "/.session/sign-out", headers: headers_ });
        if (own) assert.equal(out.status, 204);
        else assertProblem(out, "origin_forbidden", 403);
      });
    }

    test("edge leaves requests without our cookie, with a bearer, or on unchecked routes to the app", async () => {
      const headers = pairs({ "Sec-Fetch-Site": "cross-site", Origin: EVIL });
      const post = { method: "POST", headers, body: "" };
      assert.equal((await gate.withBearer(gate.issuer.token(), { ...post, path: "/private" })).status, 200);
      assert.equal((await gate.withCookie(gate.issuer.token(), { ...post, path: "/unchecked" })).status, 200);
      assert.equal((await gate.send({ ...post, path: "/public/a" })).status, 200);
    });

    test("edge refuses upgrades from another origin", async () => {
      const upgrade = (more) => ({
        path: "/ws",
        headers: pairs({ Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", ...more }),
      });
      for (const more of [{ Origin: EVIL }, {}, { Origin: "null" }, { "Sec-Fetch-Site": "same-origin" }, { "Sec-Fetch-Site": "cross-site", Origin: gate.origin }]) {
        await gate.refuses(() => gate.withCookie(gate.issuer.token(), upgrade(more)), "origin_forbidden", 403);
      }
    });

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
      gate.app.on("/sign-out", (_, response) => response.writeHead(303, { location: "/", "hallpass-clear-session": "1" }).end());
      const claims = gate.issuer.claims();
      const headers = [["Origin", gate.origin]];
      const answer = await gate.withCookie(gate.issuer.token(claims), { method: "POST", path: "/sign-out", headers, body: "" });
      assert.deepEqual([answer.status, answer.cookies.length, answer.headers["hallpass-clear-session"]], [303, 2, undefined]);
      for (const line of answer.cookies) assert.match(line, /=; Max-Age=0/);
      const ended = await until("the service is told", () => gate.service.calls.findLast((call) => call.path === "/v1/edge/me/revoke" && call.body.sid === claims.sid));
      assert.ok(ended.headers["hallpass-session-token"]);
    });

    test("edge asks for a new sign-in where a route wants a recent one", async () => {
      const token = gate.issuer.token({ auth_time: now() - 100, iat: now() - 10 });
      await gate.refuses(() => gate.withCookie(token, { path: "/recent" }), "reauthentication_required", 401);
      const page = await gate.withCookie(token, { path: "/recent", headers: [["Accept", "text/html"]] });
      assert.deepEqual([page.status, page.headers.location, page.cookies], [303, "/sign-in?return_to=/recent", []]);
      assert.equal((await gate.withCookie(gate.issuer.token(), { path: "/recent" })).status, 200);
    });

    test("edge refuses sessions that lack what a route requires", async () => {
      for (const claims of [{}, { ext: { role: "user" } }, { ext: { role: ["user"] } }, { ext: { roles: "admin" } }, { sub: "admin" }]) {
        const token = gate.issuer.token(claims);
        await gate.refuses(() => gate.withCookie(token, { path: "/admin/x" }), "requirement_unmet", 403);
        const page = await gate.withCookie(token, { path: "/admin/x", headers: [["Accept", "text/html"]] });
        assert.deepEqual([page.status, page.headers.location], [403, undefined]);
      }
      for (const role of ["admin", ["user", "admin"]]) {
        assert.equal((await gate.withCookie(gate.issuer.token({ ext: { role } }), { path: "/admin/x" })).status, 200);
      }
    });

    test("edge takes the first route that covers path and method", async () => {
      await gate.refuses(() => gate.send({ method: "POST", path: "/mixed" }), "session_missing", 401);
      assert.equal((await gate.send({ path: "/mixed" })).status, 200);
      assert.equal((await gate.send({ method: "HEAD", path: "/mixed" })).status, 200);
    });

    test("edge refuses sockets where a route says so", async () => {
      const headers = pairs({ Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", Origin: gate.origin });
      await gate.refuses(() => gate.withCookie(gate.issuer.token(), { path: "/no-sockets", headers }), "request_malformed", 400);
    });

    test("edge's own paths refuse other methods, names and forms", async () => {
      const token = gate.issuer.token();
      const own = (method, path, more = {}) => gate.withCookie(token, { method, path: `/.session/${path}`, body: method === "GET" ? undefined : "", ...more, headers: [["Origin", gate.origin], ...(more.headers ?? [])] });
      for (const [method, path] of [["PUT", "health"], ["GET", "end"], ["GET", "sign-out"], ["POST", "api/sessions"], ["DELETE", ""], ["POST", "assets/portal.css"]]) {
        assertProblem(await own(method, path), "method_refused", 405);
      }
      for (const path of ["nothing", "assets/nothing.js", "assets/portal.html", "api", "api/session/", "assertion-keys.json", "Health"]) {
        assertProblem(await own("GET", path), "not_found", 404);
      }
      const kind = ["Content-Type", "application/x-www-form-urlencoded"];
      const forms = [[[kind], ""], [[kind], `sid=${newSid()}&others=1`], [[kind], `sid=${"x".repeat(2000)}`], [[["Content-Type", "application/json"]], `{"others":true}`]];
      for (const [headers, body] of forms) assertProblem(await own("POST", "end", { headers, body }), "request_malformed", 400);
      assert.equal((await own("POST", "end", { headers: [kind], body: "others=1" })).status, 303);
      assertProblem(await gate.send({ path: "/.session/" }), "session_missing", 401);
    });

    test("edge shows its health to all and its memory to nobody without the credential", async () => {
      await gate.withCookie(gate.issuer.token());
      for (const credential of [undefined, "wrong", `${DIAGNOSTIC_CREDENTIAL}x`]) {
        const headers = credential ? [["Hallpass-Diagnostics", credential]] : [];
        const answer = await gate.send({ path: "/.session/health", headers });
        assert.deepEqual([answer.status, answer.json, answer.headers["hallpass-decision"]], [200, { status: "ok" }, undefined]);
      }
      const answer = await gate.send({ path: "/.session/health", headers: [["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL]] });
      assert.deepEqual(Object.keys(answer.json).sort(), ["counters", "keys", "list", "memo", "status"]);
      assert.ok(answer.json.list.age_ms >= 0 && answer.json.counters.refused > 0);
      assert.equal(JSON.parse(answer.headers["hallpass-decision"]).code, "own");
      assert.equal(gate.app.seen.some((seen) => seen.rawHeaders.join().includes(DIAGNOSTIC_CREDENTIAL)), false);
    });

    test("edge answers 502 while the app is down, and serves again when it is back", async () => {
      await gate.app.stop();
      for (const path of ["/private", "/public/a"]) {
        const answer = await gate.withCookie(gate.issuer.token(), { path });
        assertProblem(answer, "upstream_unavailable", 502);
        assert.deepEqual(answer.cookies, []);
      }
      const page = await gate.withCookie(gate.issuer.token(), { path: "/", headers: [["Accept", "text/html"]] });
      assert.equal(page.status, 502);
      assert.match(page.headers["content-type"], /^text\/html/);
      await gate.app.start();
      assert.equal((await gate.withCookie(gate.issuer.token())).status, 200);
    });

    test("edge treats every other answer to a renewal as an outage", async () => {
      const odd = [
        ["500", () => problem(500, "internal")],
        ["429", () => problem(429, "too_many_requests")],
        ["an unknown code", () => problem(401, "session_odd")],
        ["a terminal code with status 403", () => problem(403, "session_revoked")],
        ["HTML with 401", () => ({ status: 401, headers: { "content-type": "text/html" }, body: "<h1>session_revoked</h1>" })],
        ["a terminal code as plain JSON", () => ({ ...problem(401, "session_revoked"), headers: { "content-type": "application/json" } })],
        ["HTML with 200", () => ({ status: 200, headers: { "content-type": "text/html" }, body: "<h1>OK</h1>" })],
        ["table_rolled_back", () => problem(503, "table_rolled_back")],
        ["renewal_key_unknown", () => problem(503, "renewal_key_unknown")],
        ["a token of a foreign key", () => ({ status: 200, body: { ...gate.service.renewed({}).body, session_token: new Issuer().token() } })],
      ];
      for (const [what, answerOf] of odd) {
        // An isolate rests after a failed renewal: each answer gets a fresh one.
        const fresh = await freshGate(gate);
        gate.service.onRenew = answerOf;
        const headers = [["Cookie", `__Host-session=${expired(gate.issuer)}; __Host-renewal=${newRenewalToken()}`]];
        const before = gate.app.seen.length;
        const answer = await fresh.send({ path: "/private", headers });
        assertProblem(answer, "service_unavailable", 503);
        const page = await fresh.send({ path: "/private", headers: [...headers, ["Accept", "text/html"]] });
        assert.deepEqual([page.status, page.headers.location], [503, undefined], what);
        assert.deepEqual([answer.cookies, page.cookies, gate.app.seen.length], [[], [], before], what);
        await fresh.edge.stop();
      }
    });
  });
}

describe("an edge that cannot work", () => {
  const issuer = new Issuer();
  const between = { issuer: issuer.issuer, audience: issuer.audience, serviceUrl: "http://127.0.0.1:9", upstreamUrl: "http://127.0.0.1:9" };
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
    ["a short HS256 key", { token_algs: ["EdDSA", "HS256"] }, { SESSION_HS256_KEY: encode("too short to be a key") }, "SESSION_HS256_KEY"],
  ];
  for (const [what, settings, changed, named] of MISCONFIGURATIONS) {
    test(`edge with ${what} answers 503 to everything and names ${named} in its log`, async () => {
      const given = Object.entries({ ...secrets, ...changed }).filter(([, value]) => value !== undefined);
      const edge = await startEdge({ raw: true, settings: edgeSettings(between, settings), secrets: Object.fromEntries(given) });
      await assertMisconfigured(edge, named);
      assertNoSecret(edge, given.map(([, value]) => value));
      await edge.stop();
    });
  }

  test("edge in wrangler's runtime with an unknown key answers 503 to everything", async () => {
    const edge = await startEdge({ raw: false, settings: edgeSettings(between, { list_max_age: 10 }), secrets });
    await assertMisconfigured(edge, "list_max_age");
    await edge.stop();
  });
});

async function assertMisconfigured(edge, named) {
  const gate = new Gate({ service: {}, app: { seen: [] }, edge });
  for (const path of ["/", "/public/a", "/sign-in", "/.session/", "/.session/health", "/.session/assets/portal.css", "/a//b"]) {
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

/** Posts the sign-in form as a program would, so that refusals are problem documents. */
const signIn = (gate) => gate.send({ method: "POST", path: "/sign-in", headers: [["Origin", gate.origin]], body: "user=ada" });

const expired = (issuer) => issuer.token({ iat: now() - 400, auth_time: now() - 400, exp: now() - 100 });
