// The main job, in order, on the real parts: sign-in, checking without a call, renewal, the portal,
// ending a session elsewhere, sign-out, the service's absence and return, restarts of every part.
//
// Tokens live six seconds here, so that their end is met; a live token is renewed beside requests
// in its last second (a fifth of its life). Calls of the edge go through a proxy that counts them.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { Client, send } from "./harness/client.mjs";
import { assertProblem } from "./harness/gate.mjs";
import { parseSetCookie } from "./harness/jar.mjs";
import { Proxy } from "./harness/proxy.mjs";
import * as system from "./harness/system.mjs";
import { now, refusedWithin, until, untilSecond } from "./harness/wait.mjs";

tidyUp();

const TOKEN_LIFETIME_SECS = 6;
const SESSION_SECS = 30 * 24 * 3600;
const AUDIENCE = "demo";
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
/** After a failed renewal an isolate rests 5 s and up to 2 s more before it asks again. */
const RECOVERY_DEADLINE_MS = 10_000;

// Both runtimes at once: the journey mostly waits for tokens to end.
describe("journey", { concurrency: system.RUNTIMES.length }, () => {
  for (const { name, raw } of system.RUNTIMES) {
    describe(`through ${name}`, { concurrency: 1 }, () => journey(raw));
  }
});

/** @param {boolean} raw */
function journey(raw) {
  const database = `sqlite://${join(system.newFolder(), "hallpass.db")}`;
  const assertionKey = system.newKey();
  const settings = { token_lifetime_secs: TOKEN_LIFETIME_SECS, token_jitter_percent: 0 };
  let service, credentials, app, edge, toService, toApp;
  /** @type {Client} */
  let ada;
  /** @type {Client} */
  let phone;
  /** Signed in at the start, so that its token ends while others are waited for. @type {Client} */
  let tabs;

  const startService = async (port) => {
    service = await system.startService({ port, database, settings });
    credentials ??= service.credentials;
  };
  const startApp = async (port) => {
    const { app: credential, issuer } = credentials;
    app = await system.startDemo({
      port,
      serviceUrl: service.origin,
      credential,
      assertionKey,
      issuer,
      audience: AUDIENCE,
    });
  };
  const startEdge = async (port) => {
    const { issuer, audience } = credentials;
    const between = { issuer, audience, serviceUrl: toService.origin, upstreamUrl: toApp.origin };
    const more = { assertion_audience: AUDIENCE, routes: [{ path: "/echo", on_outage: "refuse" }] };
    const secrets = { EDGE_CREDENTIAL: credentials.edge, ASSERTION_KEY: assertionKey };
    edge = await system.startEdge({ raw, port, settings: system.edgeSettings(between, more), secrets });
  };
  /** A new visitor who has signed in. */
  const signedIn = async (user, userAgent) => {
    const client = new Client(edge.origin, { userAgent });
    const answer = await client.signIn(user);
    assert.equal(answer.status, 303, answer.text.slice(0, 500));
    return client;
  };
  const whoami = async (client) => {
    const answer = await client.api("/whoami");
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  };
  const asApp = (path) =>
    send(service.origin, { path, headers: [["Authorization", `Bearer ${credentials.app}`]] });

  before(async () => {
    await startService(0);
    toService = await new Proxy(service.origin).start();
    await startApp(0);
    toApp = await new Proxy(app.origin).start();
    await startEdge(0);
    ada = new Client(edge.origin, { userAgent: FIREFOX });
    tabs = await signedIn("tabs", FIREFOX);
  });
  after(async () => {
    for (const part of [edge, app, service, toApp, toService]) await part.stop();
  });

  test("edge sends a page load without session to sign-in and back", async () => {
    const answer = await ada.page("/whoami?x=1&y=2");
    assert.deepEqual(
      [answer.status, answer.headers.location],
      [303, "/sign-in?return_to=/whoami%3Fx%3D1%26y%3D2"],
    );
    const form = await ada.page(answer.headers.location);
    assert.equal(form.status, 200);
    assert.match(form.text, /name="return_to" value="\/whoami\?x=1&amp;y=2"/);
    assertProblem(await ada.api("/whoami"), "session_missing", 401);
  });

  test("sign-in writes a row and hands over two cookies", async () => {
    const wrong = await ada.submit("/sign-in", { user: "ada", password: "wrong", return_to: "/" });
    assert.deepEqual([wrong.status, wrong.cookies], [401, []]);

    const answer = await ada.signIn("ada", "/whoami?x=1");
    assert.deepEqual([answer.status, answer.headers.location], [303, "/whoami?x=1"]);
    assert.equal(
      Object.keys(answer.headers).find((name) => name.startsWith("hallpass-")),
      undefined,
    );
    assertSessionCookies(answer);

    const row = await asApp(`/v1/sessions/${ada.claims.sid}`);
    assert.equal(row.status, 200, row.text);
    const { sid, auth_time, ended, device } = row.json;
    assert.deepEqual([sid, auth_time, ended], [ada.claims.sid, ada.claims.auth_time, null]);
    assert.match(device.label, /Firefox/);
  });

  test("session token is an EdDSA token of the protocol", async () => {
    const [header, payload, signature] = ada.sessionToken.split(".");
    const { keys } = (await send(service.origin, { path: "/.well-known/jwks.json" })).json;
    const { kid, ...rest } = JSON.parse(Buffer.from(header, "base64url"));
    assert.deepEqual(rest, { alg: "EdDSA", typ: "session+jwt" });
    const key = createPublicKey({ key: keys.find((jwk) => jwk.kid === kid), format: "jwk" });
    assert.ok(verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url")));

    const { iss, aud, sub, sid, idx, iat, exp, auth_time, amr, ext } = ada.claims;
    assert.deepEqual(
      { iss, aud, sub, amr, ext },
      { iss: credentials.issuer, aud: credentials.audience, sub: "ada", amr: ["pwd"], ext: { role: "demo" } },
    );
    assert.match(sid, /^[A-Za-z0-9_-]{22}$/);
    assert.ok(Number.isInteger(idx) && idx >= 0 && idx < 2 ** 32);
    assert.ok(auth_time <= iat && iat <= now());
    assert.equal(exp - iat, TOKEN_LIFETIME_SECS);
    assert.match(ada.renewalToken, /^hp1\.[A-Za-z0-9_-]{82}$/);
  });

  test("edge checks further requests without a call and says who they are", async () => {
    const { subject, session, headers } = await whoami(ada);
    assert.deepEqual([subject, session], ["ada", ada.claims.sid]);
    assert.equal(headers["hallpass-subject"], "ada");
    assert.equal(headers["hallpass-session"], ada.claims.sid);
    assert.equal(headers["hallpass-auth-time"], String(ada.claims.auth_time));
    assert.deepEqual(JSON.parse(Buffer.from(headers["hallpass-ext"], "base64url")), { role: "demo" });
    assert.match(headers["hallpass-request"], /^[A-Za-z0-9_-]{22}$/);
    assert.equal(headers["hallpass-degraded"], undefined);

    const before = toService.callsForRequests.length;
    const polls = toService.count("/v1/edge/revocations");
    const began = now();
    let asked = 0;
    for (; asked < 30 && now() < ada.claims.exp - 2; asked += 1) {
      assert.equal((await ada.api("/whoami")).cookies.length, 0);
    }
    assert.ok(asked >= 5, `${asked} requests`);
    assert.deepEqual(toService.callsForRequests.slice(before), []);
    // The list is polled beside requests, whatever their number: about once a second.
    const polled = toService.count("/v1/edge/revocations") - polls;
    assert.ok(polled <= now() - began + 2, `${polled} polls`);
  });

  test("edge renews beside a request near the token's end", async () => {
    const old = ada.claims;
    toApp.holdMs = 200;
    await untilSecond(old.exp - 1);
    const answer = await ada.api("/whoami");
    toApp.holdMs = 0;
    assert.equal(answer.status, 200);
    // The app saw the old token's session; the new token went out with its answer.
    assertSessionCookies(answer);
    assert.equal(ada.claims.sid, old.sid);
    assert.ok(ada.claims.exp > old.exp);
    assert.equal(ada.claims.auth_time, old.auth_time);
  });

  test("edge renews an expired token before the request, unnoticed by the page", async () => {
    const { sid, exp } = ada.claims;
    await untilSecond(exp);
    const renewals = toService.count("/v1/edge/renew");
    const page = await ada.page("/");
    assert.equal(page.status, 200);
    assert.match(page.text, /Signed in as/);
    assertSessionCookies(page);
    assert.equal(toService.count("/v1/edge/renew"), renewals + 1);
    assert.equal(ada.claims.sid, sid);
    assert.equal((await whoami(ada)).session, sid);
  });

  test("edge renews when the session cookie is lost and the renewal cookie is not", async () => {
    const { sid } = ada.claims;
    ada.jar.take(["__Host-session=; Max-Age=0; Path=/; Secure"]);
    assert.equal((await whoami(ada)).session, sid);
    assert.ok(ada.sessionToken);
  });

  test("parallel requests with an expired token all pass", async () => {
    const { sid, exp } = tabs.claims;
    await untilSecond(exp);
    const eight = Array.from({ length: 8 }, () => tabs.copy());
    const answers = await Promise.all(eight.map((tab) => tab.api("/whoami")));
    assert.deepEqual(
      answers.map((answer) => answer.status),
      Array(8).fill(200),
    );
    // Each goes on with the cookies it got: nobody is signed out.
    for (const tab of eight) assert.equal((await whoami(tab)).session, sid);
  });

  test("portal shows a second sign-in elsewhere", async () => {
    phone = await signedIn("ada", SAFARI);
    const { sessions, ended } = (await ada.api("/.session/api/sessions")).json;
    assert.deepEqual(
      sessions.map((session) => [session.sid, session.current]),
      [
        [ada.claims.sid, true],
        [phone.claims.sid, false],
      ],
    );
    assert.deepEqual(ended, []);
    assert.match(sessions[1].device.label, /iPhone|iOS|Safari/);

    const page = await ada.page("/.session/");
    assert.equal(page.status, 200);
    assert.match(page.headers["cache-control"], /no-store/);
    assert.ok(page.text.includes(`value="${phone.claims.sid}"`));
    assert.ok(page.text.includes("Firefox"));

    const own = (await ada.api("/.session/api/session")).json;
    assert.deepEqual([own.subject, own.sid], ["ada", ada.claims.sid]);
  });

  test("portal hides and keeps other people's sessions", async () => {
    const eve = await signedIn("eve", FIREFOX);
    const { sessions } = (await eve.api("/.session/api/sessions")).json;
    assert.deepEqual(
      sessions.map((session) => session.sid),
      [eve.claims.sid],
    );
    const answer = await eve.api(`/.session/api/sessions/${phone.claims.sid}`, { method: "DELETE" });
    const nobody = await eve.api("/.session/api/sessions/AAAAAAAAAAAAAAAAAAAAAA", { method: "DELETE" });
    assert.deepEqual([answer.status, answer.code], [nobody.status, nobody.code]);
    assert.equal(answer.status, 404);
    assert.equal((await phone.api("/whoami")).status, 200);
  });

  test("ending a session in the portal refuses its next requests within the bound", async () => {
    assert.equal((await phone.api("/whoami")).status, 200);
    const answer = await ada.submit("/.session/end", { sid: phone.claims.sid });
    assert.equal(answer.status, 303);
    assert.match(answer.headers.location, /^\/\.session\//);
    const refused = await refusedWithin(system.LIST_MAX_AGE_SECS, () => phone.api("/whoami"));
    assertProblem(refused, "session_revoked", 401);
    const page = await phone.page("/");
    assert.deepEqual([page.status, page.headers.location], [303, "/sign-in?return_to=/"]);

    const { sessions, ended } = (await ada.api("/.session/api/sessions")).json;
    assert.deepEqual(
      sessions.map((session) => session.sid),
      [ada.claims.sid],
    );
    assert.deepEqual(
      ended.map((session) => [session.sid, session.ended.by]),
      [[phone.claims.sid, "user"]],
    );
    assert.equal((await ada.api("/whoami")).status, 200);
  });

  test("ending a session is in force everywhere within the bound, and the portal can say so", async () => {
    const other = await signedIn("ada", SAFARI);
    const { revoked, list } = (await ada.api("/.session/api/sessions", { method: "DELETE" })).json;
    assert.ok(revoked >= 1);
    const query = new URLSearchParams({ epoch: list.epoch, to: list.to });
    await until("in force everywhere", async () => {
      await ada.api("/whoami");
      return (await ada.api(`/.session/api/in-force?${query}`)).json.everywhere;
    });
    assertProblem(await other.api("/whoami"), "session_revoked", 401);
  });

  test("renewal of an ended session clears its cookies", async () => {
    await untilSecond(phone.claims.exp);
    const page = await phone.page("/");
    assert.deepEqual([page.status, page.headers.location], [303, "/sign-in?return_to=/"]);
    assert.deepEqual([phone.sessionToken, phone.renewalToken], [undefined, undefined]);
  });

  for (const path of ["/sign-out", "/.session/sign-out"]) {
    test(`sign-out at ${path} clears both cookies and ends the session`, async () => {
      const leaving = await signedIn("leaving", FIREFOX);
      const copy = leaving.copy();
      const { sid } = leaving.claims;
      const answer = await leaving.submit(path);
      assert.ok([200, 303].includes(answer.status), String(answer.status));
      assert.deepEqual(
        answer.cookies.map((line) => parseSetCookie(line).attributes.get("max-age")),
        ["0", "0"],
      );
      assert.deepEqual([leaving.sessionToken, leaving.renewalToken], [undefined, undefined]);
      await until("the row is ended", async () => (await asApp(`/v1/sessions/${sid}`)).json.ended);
      const refused = await refusedWithin(system.LIST_MAX_AGE_SECS, () => copy.api("/whoami"));
      assertProblem(refused, "session_revoked", 401);
    });
  }

  test("signing in again replaces the session", async () => {
    const again = await signedIn("again", FIREFOX);
    const { sid } = again.claims;
    assert.equal((await again.signIn("again")).status, 303);
    assert.notEqual(again.claims.sid, sid);
    await until("the first session has ended", async () => (await asApp(`/v1/sessions/${sid}`)).json.ended);
    assert.equal((await whoami(again)).session, again.claims.sid);
  });

  test("signed-in users work on while the service is down, until their token ends", async () => {
    const working = await signedIn("working", FIREFOX);
    const { sid, exp } = working.claims;
    assert.equal((await working.api("/echo")).status, 200);
    await service.stop();

    const degraded = await until("the app is told that the edge is cut off", async () => {
      const { headers, session } = await whoami(working);
      assert.equal(session, sid);
      return headers["hallpass-degraded"];
    });
    assert.equal(degraded, "1");
    assert.match((await working.page("/")).text, /Degraded/);

    // A route that says `refuse` is closed, and takes no cookies.
    const strict = await working.api("/echo");
    assertProblem(strict, "service_unavailable", 503);
    assert.deepEqual(strict.cookies, []);

    await untilSecond(exp);
    const late = await working.api("/whoami");
    assertProblem(late, "service_unavailable", 503);
    const page = await working.page("/");
    assert.deepEqual([page.status, page.headers.location], [503, undefined]);
    assert.match(page.headers["retry-after"], /^\d+$/);
    assert.deepEqual([late.cookies, page.cookies], [[], []]);
    assert.equal((await working.page("/sign-in")).status, 200);

    await startService(service.port);
    await until("the edge recovers by itself", async () => (await working.api("/whoami")).status === 200, {
      deadlineMs: RECOVERY_DEADLINE_MS,
    });
    assert.equal((await whoami(working)).session, sid);
    assert.equal((await working.api("/echo")).status, 200);
  });

  test("restart of the service loses nobody and forgets no ending", async () => {
    const other = await signedIn("ada", SAFARI);
    await ada.api(`/.session/api/sessions/${other.claims.sid}`, { method: "DELETE" });
    await service.stop();
    await startService(service.port);
    const { sid } = ada.claims;
    await until("ada works", async () => (await ada.api("/whoami")).status === 200, {
      deadlineMs: RECOVERY_DEADLINE_MS,
    });
    assert.equal(ada.claims.sid, sid);
    await until("the ending holds", async () => (await other.api("/whoami")).code === "session_revoked");
  });

  test("restart of the app loses nobody", async () => {
    const { sid } = ada.claims;
    await app.stop();
    assertProblem(await ada.api("/whoami"), "upstream_unavailable", 502);
    await startApp(app.port);
    assert.equal((await whoami(ada)).session, sid);
  });

  test("restart of the edge loses nobody and forgets no ending", async () => {
    const other = await signedIn("ada", SAFARI);
    await ada.api(`/.session/api/sessions/${other.claims.sid}`, { method: "DELETE" });
    const { sid } = ada.claims;
    await edge.stop();
    await startEdge(edge.port);
    assertProblem(await other.api("/whoami"), "session_revoked", 401);
    assert.equal((await whoami(ada)).session, sid);
  });

  test("nobody was signed out by a fault", async () => {
    assert.equal((await whoami(ada)).subject, "ada");
    const lines = edge.child.log.join("\n");
    assert.doesNotMatch(lines, /panicked|unreachable|RuntimeError/);
  });
}

/** Two cookies with exactly the attributes of §2. */
function assertSessionCookies(answer) {
  const cookies = answer.cookies.map(parseSetCookie);
  assert.deepEqual(cookies.map(({ name }) => name).sort(), ["__Host-renewal", "__Host-session"]);
  for (const { attributes } of cookies) {
    const { "max-age": maxAge, ...rest } = Object.fromEntries(attributes);
    assert.deepEqual(rest, { path: "/", secure: "", httponly: "", samesite: "Lax" });
    assert.ok(Math.abs(Number(maxAge) - SESSION_SECS) < 120, `Max-Age=${maxAge}`);
  }
  assert.equal(answer.headers["cache-control"], "private, no-store");
}
