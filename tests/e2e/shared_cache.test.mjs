// A cache between the visitors and the edge: the next visitor never gets the page, the cookie, the
// redirect or the refusal of the one before, whatever the app says about storing its answers.
// docs/protocol.md §6. A real nginx stands in front of each runtime; wrangler's runtime, which has
// a cache of its own, is asked without it as well.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { inParallel, send } from "./harness/client.mjs";
import { DIAGNOSTIC_CREDENTIAL, startGate } from "./harness/gate.mjs";
import { newRenewalToken } from "./harness/mint.mjs";
import { startSharedCache } from "./harness/shared_cache.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { now } from "./harness/wait.mjs";

tidyUp();

/** Paths asked for at once; the visitors of one come one after the other. */
const CASES_AT_ONCE = 16;
const FUTURE = new Date(Date.now() + 86_400_000).toUTCString();
const KEPT = "public, max-age=600";

/** What apps say about storing a page, mostly wrong for one that is somebody's. @type {string[][]} */
const WORDS = [
  [],
  ["Cache-Control", KEPT],
  ["Cache-Control", "PUBLIC, MAX-AGE=600"],
  ["Cache-Control", "max-age=600"],
  ["Cache-Control", "s-maxage=600"],
  ["Cache-Control", "public, s-maxage=600, max-age=0, immutable"],
  ["Cache-Control", "max-age=600, stale-while-revalidate=600, stale-if-error=600"],
  ["Cache-Control", "must-understand, public, max-age=600"],
  ["Cache-Control", 'public="x, private", max-age=600'],
  ["Cache-Control", 'no-cache="Set-Cookie", max-age=600'],
  ["Cache-Control", "private", "Cache-Control", KEPT],
  ["Cache-Control", KEPT, "Cache-Control", "s-maxage=900"],
  ["Cache-Control", `,,${KEPT},,`],
  ["Cache-Control", "s-maxage = 600, public ; max-age=600"],
  ["Cache-Control", "caf\xe9, public, max-age=600"],
  ["Cache-Control", KEPT, "Vary", "*"],
  ["Cache-Control", KEPT, "Vary", "Accept-Encoding"],
  ["Cache-Control", KEPT, "ETag", '"1"', "Last-Modified", new Date(0).toUTCString()],
  ["Cache-Control", KEPT, "Set-Cookie", "theme=dark"],
  ["Expires", FUTURE],
  ["Expires", FUTURE, "Pragma", "public"],
  ["X-Accel-Expires", "600"],
  ["X-Accel-Expires", "@9999999999", "Cache-Control", "no-store"],
  ["X_Accel_Expires", "600", "Cache-Control", KEPT],
  ["CDN-Cache-Control", KEPT],
  ["Cloudflare-CDN-Cache-Control", KEPT],
  ["Surrogate-Control", "max-age=600"],
  ["Edge-Control", "cache-maxage=10m"],
];
const STATUSES = [200, 203, 204, 301, 302, 307, 404, 410, 500];

/**
 * Where a cache stands: in front of what; with how many statuses each of the app's words is tried,
 * fewer in the slower runtime.
 */
const PLACES = [
  { name: "nginx before wrangler's runtime", raw: false, cached: true, statuses: 2 },
  { name: "nginx before bare workerd", raw: true, cached: true, statuses: 4 },
  { name: "wrangler's runtime alone", raw: false, cached: false, statuses: 1 },
];

for (const { name, raw, cached, statuses } of PLACES) {
  describe(`shared cache: ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    let cache, origin;
    let paths = 0;
    before(async () => {
      const routes = [
        { path: "/optional/*", access: "optional" },
        { path: "/admin/*", require: { role: ["admin"] } },
        { path: "/recent/*", max_auth_age_secs: 60 },
      ];
      gate = await startGate({ raw, settings: { routes, list_max_age_secs: 60 } });
      cache = cached ? await startSharedCache(gate.origin) : undefined;
      origin = cache?.origin ?? gate.origin;
    });
    after(async () => {
      await cache?.stop();
      await gate.stop();
    });

    const newPath = (folder = "") => `${folder}/page-${paths++}`;
    const ask = (path, headers = [], more = {}) => send(origin, { path, headers, ...more });
    /** A visitor: name and headers. */
    const visitor = (sub, claims = {}) => ({
      sub,
      headers: [["Cookie", `__Host-session=${gate.issuer.token({ sub, ...claims })}`]],
    });
    const NOBODY = { sub: undefined, headers: [] };
    const PAGE = [["Accept", "text/html"]];
    /** The app names whom it answers, in body, cookie and address. */
    const namesVisitor = (path, status, words) =>
      gate.app.on(path, (request, response) => {
        const sub = request.headers["hallpass-subject"] ?? "nobody";
        const own = ["X-For", sub, ...(status >= 300 && status < 400 ? ["Location", `/of/${sub}`] : [])];
        response.writeHead(status, [...own, ...words]).end(status === 204 ? undefined : `page of ${sub}`);
      });

    test("nginx keeps what is for everybody, so that the rest of this file means something", async () => {
      const path = newPath("/public");
      gate.app.on(path, (_, response) => response.writeHead(200, ["Cache-Control", KEPT]).end("for all"));
      const before = gate.app.seen.length;
      const answers = [await ask(path), await ask(path), await ask(path, visitor("ada").headers)];
      for (const answer of answers) assert.deepEqual([answer.status, answer.text], [200, "for all"]);
      assert.equal(gate.app.seen.length - before, cached ? 1 : 3);
      if (cached) assert.equal(answers[2].headers["x-shared-cache"], "HIT");
    });

    test("nobody gets the page of another, whatever the app says about storing it", async (t) => {
      const cases = ["", "/optional"].flatMap((folder) =>
        WORDS.flatMap((words) =>
          STATUSES.slice(0, words.length ? statuses : undefined).map((status) => ({ folder, words, status })),
        ),
      );
      await inParallel(cases, CASES_AT_ONCE, async ({ folder, words, status }) => {
        const order = [visitor("ada"), visitor("eve"), NOBODY, visitor("ada")];
        for (const visitors of [order, order.toReversed()]) {
          const path = newPath(folder);
          namesVisitor(path, status, words);
          for (const { sub, headers } of visitors) {
            const shown = `${path} ${status} ${JSON.stringify(words)} to ${sub}`;
            const answer = await ask(path, headers);
            if (sub === undefined && folder === "") {
              assert.equal(answer.code, "session_missing", shown);
              continue;
            }
            const who = sub ?? "nobody";
            assert.deepEqual([answer.status, answer.headers["x-for"]], [status, who], shown);
            assert.equal(answer.text, status === 204 ? "" : `page of ${who}`, shown);
            if (answer.headers.location) assert.equal(answer.headers.location, `/of/${who}`, shown);
          }
        }
      });
      t.diagnostic(`${cases.length} kinds of answer, each in two orders to four visitors`);
    });

    test("a page with the ending of a file is nobody else's either", async () => {
      for (const ending of [".css", ".js", ".png", "/style.css", "%3f.png", "%23.css", "%20.css", "?x.css", ".jpg?v=1"]) {
        const path = `${newPath("/account")}${ending}`;
        namesVisitor(path.split("?")[0].replace("%3f", "%3F"), 200, ["Cache-Control", KEPT, "Content-Type", "text/css"]);
        assert.equal((await ask(path, visitor("ada").headers)).text, "page of ada", path);
        assert.equal((await ask(path)).code, "session_missing", path);
        assert.equal((await ask(path, visitor("eve").headers)).text, "page of eve", path);
      }
      for (const ending of ["%0a.css", ";x.css", "%2fx.css", "//x.css", "%00.css", "\\x.css"]) {
        const path = `${newPath("/account")}${ending}`;
        const answer = await ask(path, visitor("ada").headers);
        // nginx or a runtime may resolve or refuse it first; the user's page is not shown to others.
        assert.ok(answer.status === 400 || cached || !raw, path);
        assert.doesNotMatch((await ask(path)).text, /page of/, path);
      }
    });

    test("a redirect to sign in and a refusal are for the one who gets them", async () => {
      for (const headers of [PAGE, []]) {
        const path = newPath();
        namesVisitor(path, 200, ["Cache-Control", KEPT]);
        const refused = await ask(path, headers);
        assert.equal(refused.status, headers.length ? 303 : 401);
        assert.match(refused.headers["cache-control"], /no-store/);
        assert.equal((await ask(path, [...headers, ...visitor("ada").headers])).text, "page of ada");
        assert.equal((await ask(path, headers)).status, refused.status);
      }
      const [role, recent] = [newPath("/admin"), newPath("/recent")];
      for (const path of [role, recent]) namesVisitor(path, 200, ["Cache-Control", KEPT]);
      for (const headers of [PAGE, []]) {
        const plain = visitor("eve", { auth_time: now() - 100, iat: now() - 10 });
        for (const path of [role, recent]) {
          assert.notEqual((await ask(path, [...headers, ...plain.headers])).status, 200, path);
          const admin = visitor("ada", { ext: { role: "admin" } });
          assert.equal((await ask(path, [...headers, ...admin.headers])).text, "page of ada", path);
          assert.notEqual((await ask(path, [...headers, ...plain.headers])).status, 200, path);
        }
      }
      assert.equal((await ask("/public/a%2fb", PAGE)).headers["x-shared-cache"], cached ? "MISS" : undefined);
      assert.equal((await ask("/public/a%2fb", PAGE)).headers["x-shared-cache"], cached ? "MISS" : undefined);
    });

    test("cookies of a sign-in, a renewal and a sign-out go to one visitor", async () => {
      for (const [folder, words] of [["/public", ["Cache-Control", KEPT]], ["/optional", []], ["", ["Expires", FUTURE]]]) {
        const path = newPath(folder);
        const by = folder === "" ? visitor("ada").headers : [];
        gate.app.on(path, (request, response) => {
          const id = request.headers["hallpass-request"];
          const begins = request.headers["x-begins"];
          const set = begins ? ["Hallpass-Set-Session", gate.issuer.handOff(id)] : [];
          response.writeHead(200, [...set, ...words]).end(id);
        });
        const first = await ask(path, [...by, ["X-Begins", "1"]]);
        assert.deepEqual([first.status, first.cookies.length], [200, 2], path);
        const second = await ask(path, by);
        assert.deepEqual([second.status, second.cookies], [200, []], path);
        assert.notEqual(second.text, first.text, path);
      }

      gate.service.onRenew = () => gate.service.renewed({ sub: "ada" });
      const renewed = newPath();
      namesVisitor(renewed, 200, ["Cache-Control", KEPT]);
      const answer = await ask(renewed, [["Cookie", `__Host-renewal=${newRenewalToken()}`]]);
      assert.deepEqual([answer.text, answer.cookies.length], ["page of ada", 2]);
      const next = await ask(renewed, visitor("eve").headers);
      assert.deepEqual([next.text, next.cookies], ["page of eve", []]);

      gate.service.onRenew = () => problem(401, "renewal_reused");
      const ended = newPath();
      namesVisitor(ended, 200, ["Cache-Control", KEPT]);
      for (const headers of [[], PAGE]) {
        const over = await ask(ended, [...headers, ["Cookie", `__Host-renewal=${newRenewalToken()}`]]);
        assert.equal(over.cookies.length, 2);
        assert.deepEqual((await ask(ended, [...headers, ...visitor("eve").headers])).cookies, []);
      }

      const clears = newPath();
      gate.app.on(clears, (request, response) => {
        const clear = request.headers["x-clears"] ? ["Hallpass-Clear-Session", "1"] : [];
        response.writeHead(200, [...clear, "Cache-Control", KEPT]).end();
      });
      assert.equal((await ask(clears, [["X-Clears", "1"], ...visitor("ada").headers])).cookies.length, 2);
      assert.deepEqual((await ask(clears, visitor("eve").headers)).cookies, []);
    });

    test("the edge's own pages are for the one who asks", async () => {
      const [ada, eve] = [visitor("ada"), visitor("eve")];
      for (const path of ["/.session/api/session", "/.session/api/sessions", "/.session/"]) {
        const answers = [];
        for (const { headers } of [ada, eve, NOBODY, ada]) answers.push(await ask(path, headers));
        assert.deepEqual(answers.map(({ status }) => status), [200, 200, 401, 200], path);
        for (const answer of answers) assert.match(answer.headers["cache-control"], /no-store/, path);
        if (path.endsWith("session")) {
          const subjects = answers.map(({ json }) => json.subject);
          assert.deepEqual(subjects, ["ada", "eve", undefined, "ada"]);
        }
      }
      const diagnosed = await ask("/.session/health", [["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL]]);
      assert.ok(diagnosed.json.list && diagnosed.headers["hallpass-decision"]);
      const plain = await ask("/.session/health");
      assert.deepEqual([plain.json, plain.headers["hallpass-decision"]], [{ status: "ok" }, undefined]);
      const page = newPath("/public");
      gate.app.on(page, (_, response) => response.writeHead(200, ["Cache-Control", KEPT]).end());
      const decided = await ask(page, [["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL]]);
      assert.ok(decided.headers["hallpass-decision"]);
      assert.equal((await ask(page)).headers["hallpass-decision"], undefined, "a diagnosis was kept for all");
    });

    test("an app that is back is seen at once", async () => {
      const path = newPath();
      namesVisitor(path, 200, ["Cache-Control", KEPT]);
      await gate.app.stop();
      for (const headers of [PAGE, []]) {
        assert.equal((await ask(path, [...headers, ...visitor("ada").headers])).status, 502);
      }
      await gate.app.start();
      assert.equal((await ask(path, [...PAGE, ...visitor("ada").headers])).text, "page of ada");
    });
  });
}
