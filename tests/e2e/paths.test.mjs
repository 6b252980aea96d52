// Every way to write a path: judged as docs/protocol.md §9 says, forwarded as it was judged, and no
// page that needs a session without one. Each form goes over a socket as its bytes are, once as
// nobody and once as a user who may not see everything.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { inParallel, sendRaw } from "./harness/client.mjs";
import { startGate } from "./harness/gate.mjs";
import { carelessReadings, pathForms, reading } from "./harness/path_forms.mjs";
import { RUNTIMES } from "./harness/system.mjs";

tidyUp();

/** Requests under way at once. */
const AT_ONCE = 32;
const FORMS_MIN = 5000;
/** Who asks: nobody, who tries every form, and a user without the role, who tries every so many-th. */
const VISITORS = [
  { who: "nobody", every: 1 },
  { who: "user", every: 4 },
];

const ROUTES = [{ path: "/private/*", require: { role: ["admin"] } }, { path: "/private", require: { role: ["admin"] } }];

for (const { name, raw } of RUNTIMES) {
  describe(`paths in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      gate = await startGate({ raw, settings: { routes: ROUTES, list_max_age_secs: 60 } });
    });
    after(() => gate.stop());

    for (const { who, every } of VISITORS) {
      test(`every form of a path is judged as it is forwarded, for ${who}`, async (t) => {
        const { host } = new URL(gate.origin);
        const token = gate.issuer.token({ exp: gate.issuer.claims().iat + 3000 });
        const cookie = who === "user" ? `Cookie: __Host-session=${token}\r\n` : "";
        const groups = Object.entries(pathForms(host));
        const all = groups.flatMap(([group, targets]) => targets.map((target) => ({ group, target })));
        assert.ok(all.length >= FORMS_MIN, `${all.length} forms`);
        const asked = all.filter((_, i) => i % every === 0);
        const answers = await inParallel(asked, AT_ONCE, ({ target }, i) =>
          sendRaw(gate.origin, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${cookie}X-Form: ${i}\r\n\r\n`),
        );
        const seen = new Map(gate.app.seen.splice(0).map(({ headers, url }) => [Number(headers["x-form"]), url]));
        const tally = {};
        for (const [i, { group, target }] of asked.entries()) {
          const path = seen.get(i)?.split("?")[0];
          const outcome = judge({ ...answers[i], path }, meaningOf(target, gate.origin, raw), who);
          assert.ok(!outcome.startsWith("!"), `${group}: ${JSON.stringify(target)} for ${who}: ${outcome}`);
          tally[outcome] = (tally[outcome] ?? 0) + 1;
        }
        t.diagnostic(`${asked.length} forms: ${JSON.stringify(tally)}`);
        assert.doesNotMatch(gate.edge.child.log.join("\n"), /panicked|RuntimeError/);
      });
    }
  });
}

/**
 * What the path of a target is by §9, once the runtime has read the target: undefined where it has
 * no one form; ANY where only the runtime knows which part of the target is the path.
 */
function meaningOf(target, origin, raw) {
  if (!target.startsWith("/")) return ANY;
  const path = target.split(/[?#]/)[0];
  if (raw) return reading(path);
  // wrangler's runtime resolves it first as a browser would, in whole characters.
  const text = Buffer.from(path, "latin1").toString("utf8");
  return reading(new URL(origin + text).pathname);
}

const ANY = Symbol("any");

/**
 * What became of a form; begins with `!` where that must not be.
 *
 * @param {{status: number, code?: string, path?: string}} outcome `path`: as the app saw it
 * @param {string | symbol | undefined} means
 * @param {string} who
 */
function judge({ status, code, path }, means, who) {
  if (path !== undefined) return judgeForwarded(path, means, who);
  const may = (allowed) => means === ANY || allowed;
  if (code === "path_ambiguous") return may(means === undefined) ? "ambiguous" : "!refused, though it has one reading";
  if (code === "host_unknown") return may(false) ? "of another host" : "!of another host";
  if (code === "session_missing") return may(!isOpen(means)) && who === "nobody" ? "needs a session" : "!asked for a session";
  if (code === "requirement_unmet") return may(isClosed(means)) && who === "user" ? "needs a role" : "!asked for a role";
  if (isOwn(means)) return "the edge's own";
  // A request line that is none never reaches the edge; wrangler's own front fails at `*`.
  return code === undefined && [0, 400, ...(means === ANY ? [500] : [])].includes(status) ? "no request" : `!${status} ${code}`;
}

function judgeForwarded(path, means, who) {
  if (means !== ANY && path !== means) return `!forwarded as ${path}, judged as ${String(means)}`;
  if (reading(path) !== path) return `!forwarded in another form: ${path}`;
  if (who === "nobody" && !isOpen(path)) return "!forwarded without a session";
  if (isClosed(path)) return "!forwarded without the role";
  if (who === "nobody" && !carelessReadings(path).every(staysOpen)) return "!a careless app serves another page";
  return "forwarded";
}

const isPath = (means) => typeof means === "string";
const isOpen = (path) => isPath(path) && (path.startsWith("/public/") || path === "/sign-in");
const isClosed = (path) => isPath(path) && (path === "/private" || path.startsWith("/private/"));
const isOwn = (path) => isPath(path) && (path === "/.session" || path.startsWith("/.session/"));
const staysOpen = (path) => path === "/public" || path.startsWith("/public/") || path === "/sign-in";
