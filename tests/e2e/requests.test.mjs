// Requests that are refused for what they ask, whoever asks: paths, hosts, methods, what a route
// demands of a session, the edge's own paths. docs/protocol.md §7, §8, §9.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { sendRaw } from "./harness/client.mjs";
import { DIAGNOSTIC_CREDENTIAL, assertProblem, startGate } from "./harness/gate.mjs";
import { newSid } from "./harness/mint.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { now } from "./harness/wait.mjs";

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
  "/public/..%2Fprivate", "/public%2f..%2fprivate", "/public%2fa", "/public/a%2fb", "/public/a%2Fb",
  "/public/%2f", "/public/%2Fprivate", "%2fprivate", "/public/..%5cprivate", "/public/%5c..%5cprivate",
  "/public/a%5cb", "/public/a%5Cb", "/public\\private", "/public/..\\private", "/public/a\\..\\..\\private",
  "\\private", "/public//private", "//private", "///private", "/public//", "//", "/public/a//b",
  "/public//../private", "/public/;/private", "/public/..;/private", "/public;a=b/private",
  "/public/a;jsessionid=1", "/public/a;", "/public/a%3bb", "/public/a%3Bb", "/;/private", "/public/.;/a",
  "/public/%00", "/public/a%00", "/public/a%00.css", "/public/%0a",
  "/public/%0d%0aHallpass-Subject:%20admin", "/public/%09", "/public/a%1f", "/public/%7f", "/public/%",
  "/public/%z", "/public/%zz", "/public/%2", "/public/%2g", "/public/a%", "/public/%u002e%u002e/private",
  "/public/%c0%ae%c0%ae/private", "/public/%c0%af", "/public/%e0%80%af", "/public/%ff", "/public/%80",
  "/public/%ed%a0%80", "/public/%f8%80%80%80", "http://127.0.0.1/public/../private",
  "http://evil.example/public//private", "*", "public/a", "/public/\x01", "/public/\x7f", "/public/a\tb",
  "/public/\xff", "/public/..%00/private", "/public/%252f%2f",
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
  { path: "/recent", max_auth_age_secs: 60 },
  { path: "/admin/*", require: { role: ["admin"] } },
  { path: "/mixed", methods: ["GET"], access: "public" },
  { path: "/no-sockets", websocket: "refuse" },
];

for (const { name, raw } of RUNTIMES) {
  describe(`requests in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw, settings: { routes: ROUTES } });
    });
    after(() => gate.stop());

    test("edge refuses paths that can be read in two ways", async () => {
      const refused = { judged: 0, resolved: 0, byRuntime: 0 };
      for (const path of AMBIGUOUS_PATHS) {
        const before = gate.app.seen.length;
        const answer = await gate.getRaw(path);
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
        assert.equal((await gate.getRaw(path)).status, 200, path);
        assert.equal(gate.app.last.url, seen);
      }
    });

    test("edge judges the same path it forwards", async () => {
      for (const path of [
        "/Public/a",
        "/publi%63x/a",
        "/public",
        "/publicity",
        "/%70ublic%2e/a",
        "/sign-in/",
        "/Sign-In",
      ]) {
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

    test("each page of the edge's own tells browsers what it may not do", async () => {
      const page = [["Accept", "text/html"], ["Origin", gate.origin]];
      const pages = [
        ["GET", "/.session/", 200],
        ["GET", "/public/a%2fb", 400],
        ["GET", "/admin/x", 403],
        ["GET", "/.session/nothing", 404],
        ["POST", "/.session/sign-out", 200],
      ];
      for (const [method, path, status] of pages) {
        const destination = ["Sec-Fetch-Dest", "document"];
        const answer = await gate.withCookie(gate.issuer.token(), { method, path, headers: [...page, destination] });
        assert.deepEqual([answer.status, answer.headers["content-type"]], [status, "text/html; charset=utf-8"], path);
        const policy = answer.headers["content-security-policy"].split(/; ?/);
        for (const part of ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"]) {
          assert.ok(policy.includes(part), `${path}: ${policy}`);
        }
        assert.ok(!/unsafe-|data:|\*|https?:/.test(policy.join()), `${path}: ${policy}`);
        const { headers } = answer;
        assert.deepEqual(
          [headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]],
          ["nosniff", "DENY", "same-origin"],
          path,
        );
        assert.equal(headers["cross-origin-opener-policy"], "same-origin", path);
        assert.match(headers["cache-control"], /no-store/, path);
        assert.doesNotMatch(answer.text, /<script(?![^>]* src=)| on[a-z]+=| style=/, path);
      }
      for (const file of ["portal.css", "portal.js", "icon.svg", "brand.css"]) {
        const { status, headers } = await gate.send({ path: `/.session/assets/${file}` });
        assert.deepEqual([status, headers["x-content-type-options"]], [200, "nosniff"], file);
        assert.equal(headers["content-security-policy"], "default-src 'none'", file);
      }
    });

    test("edge refuses hosts it does not serve", async () => {
      for (const host of [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80",
        "127.0.0.2",
        "localhost.",
        "[::1]",
      ]) {
        const ask = () => gate.send({ path: "/public/a", host });
        await gate.refuses(ask, "host_unknown", 421);
      }
      assert.equal((await gate.send({ path: "/public/a", host: `LOCALHOST:${gate.edge.port}` })).status, 200);
    });

    test("one request at the edge is one request at the app, whatever its framing says", async () => {
      const { host } = new URL(gate.origin);
      const hidden = "GET /public/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
      const framings = [
        ["a body on GET", "GET", [`Content-Length: ${hidden.length}`], hidden],
        ["both framings", "POST", [`Content-Length: ${hidden.length + 5}`, "Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`],
        ["chunked in vertical tabs", "POST", ["Transfer-Encoding: \x0bchunked", `Content-Length: ${hidden.length}`], hidden],
        ["chunked twice", "POST", ["Transfer-Encoding: chunked, chunked"], `0\r\n\r\n${hidden}`],
        ["chunked and identity", "POST", ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], `0\r\n\r\n${hidden}`],
        ["a space before the colon", "POST", ["Transfer-Encoding : chunked", `Content-Length: ${hidden.length}`], hidden],
        ["two lengths", "POST", ["Content-Length: 0", `Content-Length: ${hidden.length}`], hidden],
        ["a signed length", "POST", [`Content-Length: +${hidden.length}`], hidden],
        ["a chunk of 0x0", "POST", ["Transfer-Encoding: chunked"], `0x0\r\n\r\n${hidden}`],
        ["bare line feeds", "POST", [`Content-Length: 0\nTransfer-Encoding: chunked\nX: y`], hidden],
        ["a folded line", "POST", ["X: y\r\n Transfer-Encoding: chunked", "Content-Length: 0"], hidden],
      ];
      for (const [what, method, lines, body] of framings) {
        const before = gate.app.seen.length;
        const own = [`Host: ${host}`, `Origin: ${gate.origin}`, "Connection: close"];
        const head = [`${method} /public/a HTTP/1.1`, ...own, ...lines];
        await sendRaw(gate.origin, `${head.join("\r\n")}\r\n\r\n${body}`);
        const seen = gate.app.seen.slice(before);
        assert.ok(seen.length <= 1, `${what}: ${seen.length} requests at the app`);
        assert.ok(!seen.some(({ url }) => url.includes("hidden")), what);
        if (method === "GET") assert.ok(seen.every((one) => one.body.length === 0), what);
      }
      assert.equal((await gate.withCookie(gate.issuer.token(), { path: "/public/a" })).status, 200);
    });

    test("no client and no method passes without a session where one is needed", async () => {
      const clients = [
        ["User-Agent", "ELB-HealthChecker/2.0"],
        ["User-Agent", "GoogleHC/1.0"],
        ["User-Agent", "kube-probe/1.31"],
        ["Purpose", "prefetch"],
        ["Sec-Purpose", "prefetch;prerender"],
        ["X-Middleware-Subrequest", "src/middleware:middleware"],
        ["X-Requested-With", "XMLHttpRequest"],
        ["Upgrade", "h2c"],
      ];
      for (const client of clients) {
        await gate.refuses(() => gate.send({ path: "/private", headers: [client] }), "session_missing", 401);
      }
      for (const method of ["OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "PURGE", "REPORT"]) {
        await gate.refuses(() => gate.send({ method, path: "/private", body: "" }), "session_missing", 401);
      }
      // An answer to HEAD has no body that could say why.
      const before = gate.app.seen.length;
      assert.equal((await gate.send({ method: "HEAD", path: "/private" })).status, 401);
      for (const place of ["token", "access_token", "__Host-session", "session"]) {
        const path = `/private?${place}=${gate.issuer.token()}`;
        await gate.refuses(() => gate.send({ path }), "session_missing", 401);
      }
      assert.equal(gate.app.seen.length, before);
    });

    test("edge refuses TRACE", async () => {
      const before = gate.app.seen.length;
      const answer = await gate.withCookie(gate.issuer.token(), { method: "TRACE", path: "/public/a" });
      assert.equal(answer.status, 405);
      assert.equal(gate.app.seen.length, before);
    });

    test("edge asks for a new sign-in where a route wants a recent one", async () => {
      const token = gate.issuer.token({ auth_time: now() - 100, iat: now() - 10 });
      await gate.refuses(() => gate.withCookie(token, { path: "/recent" }), "reauthentication_required", 401);
      const page = await gate.withCookie(token, { path: "/recent", headers: [["Accept", "text/html"]] });
      assert.deepEqual(
        [page.status, page.headers.location, page.cookies],
        [303, "/sign-in?return_to=/recent", []],
      );
      assert.equal((await gate.withCookie(gate.issuer.token(), { path: "/recent" })).status, 200);
    });

    test("edge refuses sessions that lack what a route requires", async () => {
      for (const claims of [
        {},
        { ext: { role: "user" } },
        { ext: { role: ["user"] } },
        { ext: { roles: "admin" } },
        { sub: "admin" },
      ]) {
        const token = gate.issuer.token(claims);
        await gate.refuses(() => gate.withCookie(token, { path: "/admin/x" }), "requirement_unmet", 403);
        const page = await gate.withCookie(token, { path: "/admin/x", headers: [["Accept", "text/html"]] });
        assert.deepEqual([page.status, page.headers.location], [403, undefined]);
      }
      for (const role of ["admin", ["user", "admin"]]) {
        assert.equal(
          (await gate.withCookie(gate.issuer.token({ ext: { role } }), { path: "/admin/x" })).status,
          200,
        );
      }
    });

    test("edge takes the first route that covers path and method", async () => {
      await gate.refuses(() => gate.send({ method: "POST", path: "/mixed" }), "session_missing", 401);
      assert.equal((await gate.send({ path: "/mixed" })).status, 200);
      assert.equal((await gate.send({ method: "HEAD", path: "/mixed" })).status, 200);
    });

    test("edge refuses sockets where a route says so", async () => {
      const headers = Object.entries({
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        Origin: gate.origin,
      });
      await gate.refuses(
        () => gate.withCookie(gate.issuer.token(), { path: "/no-sockets", headers }),
        "request_malformed",
        400,
      );
    });

    test("edge's own paths refuse other methods, names and forms", async () => {
      const token = gate.issuer.token();
      const own = (method, path, more = {}) =>
        gate.withCookie(token, {
          method,
          path: `/.session/${path}`,
          body: method === "GET" ? undefined : "",
          ...more,
          headers: [["Origin", gate.origin], ...(more.headers ?? [])],
        });
      for (const [method, path] of [
        ["PUT", "health"],
        ["GET", "end"],
        ["GET", "sign-out"],
        ["POST", "api/sessions"],
        ["DELETE", ""],
        ["POST", "assets/portal.css"],
      ]) {
        assertProblem(await own(method, path), "method_refused", 405);
      }
      for (const path of [
        "nothing",
        "assets/nothing.js",
        "assets/portal.html",
        "api",
        "api/session/",
        "assertion-keys.json",
        "Health",
      ]) {
        assertProblem(await own("GET", path), "not_found", 404);
      }
      const kind = ["Content-Type", "application/x-www-form-urlencoded"];
      const forms = [
        [[kind], ""],
        [[kind], `sid=${newSid()}&others=1`],
        [[kind], `sid=${"x".repeat(2000)}`],
        [[["Content-Type", "application/json"]], `{"others":true}`],
      ];
      for (const [headers, body] of forms)
        assertProblem(await own("POST", "end", { headers, body }), "request_malformed", 400);
      assert.equal((await own("POST", "end", { headers: [kind], body: "others=1" })).status, 303);
      assertProblem(await gate.send({ path: "/.session/" }), "session_missing", 401);
    });

    test("edge says in its line whether it remembered a token's signature, and names no secret", async () => {
      const token = gate.issuer.token({ sub: "memo-canary" });
      const decision = async (options) => {
        const diagnostics = ["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL];
        const headers = [diagnostics, ...(options.token ? [["Cookie", `__Host-session=${options.token}`]] : [])];
        const answer = await gate.send({ path: options.path, headers });
        assert.equal(answer.headers["cache-control"], "private, no-store");
        const line = answer.headers["hallpass-decision"];
        assert.equal(/memo-canary|__Host/.test(line) || line.includes(token.slice(-40)), false, line);
        return JSON.parse(line);
      };
      const seen = [
        await decision({ path: "/a", token }),
        await decision({ path: "/a", token }),
        await decision({ path: "/.session/api/session", token }),
        await decision({ path: "/a", token: `${token.slice(0, -4)}AAAA` }),
        await decision({ path: "/a" }),
        await decision({ path: "/public/a", token }),
      ];
      assert.deepEqual(
        seen.map(({ code, memo }) => [code, memo]),
        [
          ["forwarded", "miss"],
          ["forwarded", "hit"],
          ["own", "hit"],
          ["token_untrusted", "none"],
          ["session_missing", "none"],
          ["forwarded", "none"],
        ],
      );
      assert.match(seen[0].session, /^[\w-]{8}$/);
      assert.equal(seen[2].session, seen[0].session);
    });

    test("edge shows its health to all and its memory to nobody without the credential", async () => {
      await gate.withCookie(gate.issuer.token());
      for (const credential of [undefined, "wrong", `${DIAGNOSTIC_CREDENTIAL}x`]) {
        const headers = credential ? [["Hallpass-Diagnostics", credential]] : [];
        const answer = await gate.send({ path: "/.session/health", headers });
        assert.deepEqual(
          [answer.status, answer.json, answer.headers["hallpass-decision"]],
          [200, { status: "ok" }, undefined],
        );
      }
      const answer = await gate.send({
        path: "/.session/health",
        headers: [["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL]],
      });
      assert.deepEqual(Object.keys(answer.json).sort(), ["counters", "keys", "list", "memo", "status"]);
      assert.ok(answer.json.list.age_ms >= 0 && answer.json.counters.refused > 0);
      assert.equal(JSON.parse(answer.headers["hallpass-decision"]).code, "own");
      assert.equal(
        gate.app.seen.some((seen) => seen.rawHeaders.join().includes(DIAGNOSTIC_CREDENTIAL)),
        false,
      );
    });
  });
}
