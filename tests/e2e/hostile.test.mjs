// Hostile strings in every field that is shown or handed on: they stay text. docs/protocol.md §6–§8.
//
// Two pages are compared by their skeleton, the hostile one with a plain one; what a browser makes of
// them is tried in browser/hostile.test.mjs.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { inParallel } from "./harness/client.mjs";
import { assertProblem, startGate } from "./harness/gate.mjs";
import { HOSTILE, skeletonOf } from "./harness/hostile.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { SESSION_FIELDS, sessionsWith } from "./harness/sessions.mjs";

tidyUp();

/** The issue asks for this many. */
const STRINGS_MIN = 500;
/** Sessions on one page. */
const AT_ONCE = 40;
const REQUESTS_AT_ONCE = 16;
const PAGE = ["Accept", "text/html"];

for (const { name, raw } of RUNTIMES) {
  describe(`hostile strings in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw, settings: { list_max_age_secs: 60, routes: [{ path: "/down", on_outage: "refuse" }] } });
    });
    after(() => gate.stop());
    const asAda = (path, headers = []) => gate.withCookie(gate.issuer.token(), { path, headers });
    const showing = async (sessions) => {
      gate.service.onSessions = () => ({ status: 200, body: sessions });
      const answer = await asAda("/.session/", [PAGE]);
      assert.equal(answer.status, 200, answer.text.slice(0, 300));
      return answer.text;
    };

    test("portal shows a stranger's words as words, in every field of a session", async (t) => {
      assert.ok(HOSTILE.length >= STRINGS_MIN, `${HOSTILE.length} strings`);
      const plain = new Map();
      let shown = 0;
      for (const field of Object.keys(SESSION_FIELDS)) {
        for (let at = 0; at < HOSTILE.length; at += AT_ONCE) {
          const strings = HOSTILE.slice(at, at + AT_ONCE);
          const key = `${field} ${strings.length}`;
          if (!plain.has(key)) {
            plain.set(key, skeletonOfPortal(await showing(sessionsWith(field, strings.map((_, i) => `plain ${i}`)))));
          }
          const html = await showing(sessionsWith(field, strings));
          assert.equal(skeletonOfPortal(html), plain.get(key), `${field}, strings ${at} and on`);
          shown += strings.length;
        }
      }
      t.diagnostic(`${shown} strings in ${Object.keys(SESSION_FIELDS).length} fields`);
    });

    test("portal's API gives a stranger's words unchanged, as JSON", async () => {
      for (const field of ["label", "city"]) {
        const sessions = sessionsWith(field, HOSTILE.slice(0, 400));
        gate.service.onSessions = () => ({ status: 200, body: sessions });
        const answer = await asAda("/.session/api/sessions");
        assert.equal(answer.headers["content-type"], "application/json");
        assert.equal(answer.headers["x-content-type-options"], "nosniff");
        assert.deepEqual(answer.json, sessions);
      }
    });

    test("pages and problem documents repeat nothing of a request", async (t) => {
      await gate.app.stop();
      const skeletons = await inParallel(HOSTILE, REQUESTS_AT_ONCE, async (text, i) => {
        const query = encodeURIComponent(text.toWellFormed()).slice(0, 3000);
        const headers = [
          ["User-Agent", Buffer.from(text.replace(/[\0-\x1f\x7f]/g, " ").trim().slice(0, 500)).toString("latin1")],
          ["Referer", `http://evil.example/?${query}`],
        ];
        const path = i % 2 ? `/page?q=${query}` : `/p${query.slice(0, 2000)}`;
        const page = await asAda(path, [PAGE, ...headers]);
        const program = await asAda(path, headers);
        assert.ok([502, 400].includes(page.status), `${page.status} ${path}`);
        assertProblem(program, page.status === 502 ? "upstream_unavailable" : "path_ambiguous", page.status);
        assert.deepEqual(Object.keys(program.json).sort(), ["code", "request_id", "status", "title", "type"]);
        assert.ok(!program.text.includes("evil"), program.text);
        return skeletonOf(page.text).join("\n");
      });
      assert.equal(new Set(skeletons).size, 1, "a page's skeleton depends on what was asked for");
      t.diagnostic(`${skeletons.length} strings in path or query, user agent and referrer`);
      await gate.app.start();
    });

    // What a token says arrives in both runtimes alike: base64url in a cookie.
    if (raw) {
      test("text in a token's own claims reaches the app as it was signed, or not at all", async (t) => {
        const strings = HOSTILE.filter((text) => JSON.stringify(text).length < 900 && text.isWellFormed());
        for (const text of strings) {
          const answer = await gate.withCookie(gate.issuer.token({ ext: { text } }), { path: "/ext" });
          assert.equal(answer.status, 200, JSON.stringify(text));
          const { "hallpass-ext": ext, "hallpass-subject": subject } = gate.app.last.headers;
          assert.deepEqual([JSON.parse(Buffer.from(ext, "base64url")), subject], [{ text }, "ada"]);
        }
        for (const text of strings) {
          const answer = await gate.withCookie(gate.issuer.token({ sub: text }), { path: "/sub" });
          const isPlain = /^[\x21-\x7e]{1,255}$/.test(text) && !/[",;\\]/.test(text);
          if (isPlain) assert.deepEqual([answer.status, gate.app.last.headers["hallpass-subject"]], [200, text]);
          else assert.equal(answer.code, "token_invalid", JSON.stringify(text));
        }
        t.diagnostic(`${strings.length} strings in ext, and as sub`);
      });
    }

    test("edge's log stays one line of JSON for each request", () => {
      const lines = gate.edge.child.log.filter((line) => line.includes("decision"));
      assert.ok(lines.length >= HOSTILE.length);
      for (const line of lines) assert.equal(JSON.parse(line).at, "decision");
      assert.doesNotMatch(gate.edge.child.log.join("\n"), /pwned|evil|panicked|RuntimeError/);
    });
  });
}

/** Names that read alike are numbered, and many a hostile one reads like another once it is cleaned. */
const skeletonOfPortal = (html) =>
  skeletonOf(html).join("\n").replaceAll("/bdi\nspan class\n/span\n/h3", "/bdi\n/h3");
