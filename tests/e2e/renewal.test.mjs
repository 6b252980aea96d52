// When the edge renews, before a request or beside it, and what becomes of the cookies:
// docs/protocol.md §2. The stand-in service answers as told and remembers who asked.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { assertProblem, freshGate, startGate } from "./harness/gate.mjs";
import { parseSetCookie } from "./harness/jar.mjs";
import { encode, newRenewalToken, newSid } from "./harness/mint.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { now, until } from "./harness/wait.mjs";

tidyUp();

const DAY_SECS = 24 * 3600;
const MAX_AGE_LIMIT_SECS = 400 * DAY_SECS;

for (const { name, raw } of RUNTIMES) {
  describe(`renewal in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    /** The session of each test, and the cookie that renews it. */
    let sid, renewalToken;
    before(async () => {
      gate = await startGate({ raw });
    });
    after(() => gate.stop());
    beforeEach(() => {
      sid = newSid();
      renewalToken = newRenewalToken();
      gate.service.onRenew = () => gate.service.renewed({ sid });
      gate.app.answers.clear();
    });

    const revocations = () => gate.service.calls.filter(({ path }) => path === "/v1/edge/me/revoke");
    const renewals = () => gate.service.calls.filter((call) => call.path === "/v1/edge/renew");
    const cookies = (...pairs) => [["Cookie", pairs.join("; ")]];
    const session = (token) => `__Host-session=${token}`;
    const renewal = () => `__Host-renewal=${renewalToken}`;
    const lived = (secs, left) => ({ sid, iat: now() - secs, auth_time: now() - secs, exp: now() + left });
    const values = (answer) => answer.cookies.map((line) => line.split(/[=;]/).slice(0, 2).join("="));
    const cleared = ["__Host-session=", "__Host-renewal="];
    /** How often the service was asked meanwhile, with the answer. */
    async function counted(ask) {
      const before = renewals().length;
      const answer = await ask();
      return [answer, renewals().length - before];
    }

    /** Session cookies that are renewed before the request. */
    const RENEWED = [
      ["no session cookie", () => []],
      ["an ended token", () => [session(gate.issuer.token(lived(400, -100)))]],
      ["a malformed token", () => [session("garbage")]],
      [
        "a token of an unknown key",
        () => [session(gate.issuer.token({ sid }, { header: { kid: "nobody" } }))],
      ],
      ["a token for another audience", () => [session(gate.issuer.token({ sid, aud: "elsewhere" }))]],
    ];
    for (const [what, make] of RENEWED) {
      test(`edge renews first with ${what}`, async () => {
        const [answer, asked] = await counted(() =>
          gate.send({ path: "/private", headers: cookies(...make(), renewal()) }),
        );
        assert.deepEqual([answer.status, asked, answer.cookies.length], [200, 1, 2]);
        assert.equal(gate.app.last.headers["hallpass-session"], sid);
        assert.equal(answer.headers["cache-control"], "private, no-store");
        const { body } = renewals().at(-1);
        assert.equal(body.renewal_token, renewalToken);
        assert.equal(body.request_id, gate.app.last.headers["hallpass-request"]);
      });
    }

    test("edge tells the service which client renews", async () => {
      const headers = [["User-Agent", "Odd/1.0"], ["Sec-CH-UA-Platform", '"Linux"'], ...cookies(renewal())];
      assert.equal((await gate.send({ headers })).status, 200);
      const { client } = renewals().at(-1).body;
      assert.deepEqual([client.user_agent, client.hints], ["Odd/1.0", { "sec-ch-ua-platform": '"Linux"' }]);
    });

    /** Requests that never renew, and how they are answered. */
    const NOT_RENEWED = [
      [
        "a live token far from its end",
        200,
        () => ({ headers: cookies(session(gate.issuer.token(lived(10, 200))), renewal()) }),
      ],
      ["a public route", 200, () => ({ path: "/public/a", headers: cookies(renewal()) })],
      [
        "a bearer",
        401,
        () => ({
          headers: [
            ["Authorization", `Bearer ${gate.issuer.token(lived(400, -100))}`],
            ...cookies(renewal()),
          ],
        }),
      ],
      [
        "two renewal cookies",
        401,
        () => ({ headers: cookies(renewal(), `__Host-renewal=${newRenewalToken()}`) }),
      ],
      [
        "a renewal cookie of another form",
        401,
        () => ({ headers: cookies(`__Host-renewal=${renewalToken}.`) }),
      ],
      [
        "a renewal cookie over 256 bytes",
        401,
        () => ({ headers: cookies(`__Host-renewal=hp1.${"A".repeat(253)}`) }),
      ],
      ["a renewal cookie behind a comma", 401, () => ({ headers: cookies(`a=1, ${renewal()}`) })],
    ];
    for (const [what, status, request] of NOT_RENEWED) {
      test(`edge does not renew with ${what}`, async () => {
        const [answer, asked] = await counted(() => gate.send(request()));
        assert.deepEqual([answer.status, asked, answer.cookies], [status, 0, []]);
      });
    }

    test("edge does not renew a revoked session", async () => {
      const claims = gate.issuer.claims({ sid });
      gate.service.revoke(claims.idx);
      await until(
        "the session is refused",
        async () => (await gate.withCookie(gate.issuer.token(claims))).status === 401,
      );
      const headers = cookies(session(gate.issuer.token(claims)), renewal());
      const [answer, asked] = await counted(() => gate.send({ headers }));
      assertProblem(answer, "session_revoked", 401);
      assert.deepEqual([asked, answer.cookies], [0, []]);
    });

    test("edge renews beside a request near its token's end, never later than the answer's headers", async () => {
      let release;
      const renewed = new Promise((resolve) => (release = resolve));
      gate.service.onRenew = () => {
        release();
        return gate.service.renewed({ sid });
      };
      // The app answers once the service was asked: renewal did not wait for it.
      gate.app.on("/slow", async (_, response) => {
        await renewed;
        await until("a moment has passed for the edge to take it in", () => performance.now() > began + 300);
        response.writeHead(200).end("slow");
      });
      const began = performance.now();
      const headers = cookies(session(gate.issuer.token(lived(50, 5))), renewal());
      const [answer, asked] = await counted(() => gate.send({ path: "/slow", headers }));
      assert.deepEqual([answer.status, asked, answer.cookies.length], [200, 1, 2]);
    });

    test("renewal beside a request neither delays nor fails it", async () => {
      const fresh = await freshGate(gate);
      const headers = cookies(session(gate.issuer.token(lived(50, 5))), renewal());
      for (const reply of [problem(500, "service_faulty"), problem(401, "session_expired"), { status: 0 }]) {
        gate.service.onRenew = () => reply;
        const answer = await fresh.send({ headers });
        assert.deepEqual([answer.status, answer.cookies], [200, []]);
      }
      await fresh.edge.stop();
    });

    test("edge drops new cookies when the app's answer is late", async () => {
      // A quarter of the new token's eight seconds.
      gate.service.onRenew = () => gate.service.renewed({ ...lived(0, 8), sid });
      const answerAfter = (waitMs) => {
        gate.app.on("/late", async (_, response) => {
          const began = performance.now();
          await until("the app answers", () => performance.now() > began + waitMs);
          response.writeHead(200).end("late");
        });
        return gate.send({ path: "/late", headers: cookies(renewal()) });
      };
      assert.equal((await answerAfter(0)).cookies.length, 2);
      const late = await answerAfter(2500);
      assert.deepEqual([late.status, late.cookies], [200, []]);
    });

    test("cookies live as long as the session, at most 400 days, or with the browser", async () => {
      const forms = [
        [{ session_ends_at: now() + 3600 }, 3600],
        [{ session_ends_at: now() + 500 * DAY_SECS }, MAX_AGE_LIMIT_SECS],
        [{ persistent: false }, undefined],
      ];
      for (const [changes, wanted] of forms) {
        gate.service.onRenew = () => {
          const { status, body } = gate.service.renewed({ sid });
          return { status, body: { ...body, ...changes } };
        };
        const answer = await gate.send({ headers: cookies(renewal()) });
        for (const { attributes } of answer.cookies.map(parseSetCookie)) {
          const maxAge = attributes.get("max-age");
          if (wanted === undefined) assert.equal(maxAge, undefined);
          else assert.ok(Math.abs(Number(maxAge) - wanted) <= 5, `${maxAge}, not ${wanted}`);
          assert.ok(!attributes.has("expires"));
        }
        assert.equal(answer.cookies.length, 2);
      }
    });

    test("optional routes renew, forward for nobody after a terminal answer and clear", async () => {
      const ask = () => gate.send({ path: "/sign-in", headers: cookies(renewal()) });
      const answer = await ask();
      assert.deepEqual([answer.cookies.length, gate.app.last.headers["hallpass-session"]], [2, sid]);
      gate.service.onRenew = () => problem(401, "session_revoked");
      const ended = await ask();
      assert.deepEqual([ended.status, values(ended).sort()], [200, cleared.toSorted()]);
      assert.equal(gate.app.last.headers["hallpass-subject"], undefined);
    });

    test("optional routes forward for nobody in an outage and clear nothing", async () => {
      const fresh = await freshGate(gate);
      gate.service.onRenew = () => problem(503, "table_rolled_back");
      const answer = await fresh.send({ path: "/sign-in", headers: cookies(renewal()) });
      assert.deepEqual([answer.status, answer.cookies], [200, []]);
      assert.equal(gate.app.last.headers["hallpass-subject"], undefined);
      await fresh.edge.stop();
    });

    test("edge asks a failing service once in its rest of five seconds", async () => {
      const fresh = await freshGate(gate);
      gate.service.onRenew = () => problem(500, "service_faulty");
      const [, asked] = await counted(async () => {
        for (let i = 0; i < 10; i += 1) {
          assertProblem(await fresh.send({ headers: cookies(renewal()) }), "service_unavailable", 503);
        }
      });
      assert.equal(asked, 1);
      await fresh.edge.stop();
    });

    test("edge goes on renewing for others after a token that the service cannot decide on", async () => {
      const fresh = await freshGate(gate);
      for (const [status, code] of [
        [503, "renewal_key_unknown"],
        [503, "table_rolled_back"],
        [400, "request_malformed"],
      ]) {
        gate.service.onRenew = () => problem(status, code);
        const odd = await fresh.send({ headers: cookies(renewal()) });
        assertProblem(odd, "service_unavailable", 503);
        assert.deepEqual(odd.cookies, [], code);
        gate.service.onRenew = () => gate.service.renewed({ sid });
        assert.equal((await fresh.send({ headers: cookies(renewal()) })).status, 200, code);
      }
      await fresh.edge.stop();
    });

    test("edge grants no grace for a renewal token that the service cannot decide on", async () => {
      const fresh = await freshGate(gate, { routes: [{ path: "/lenient", outage_grace_secs: 3600 }] });
      gate.service.onRenew = () => problem(503, "renewal_key_unknown");
      const ended = session(gate.issuer.token(lived(400, -100)));
      const ask = () => fresh.send({ path: "/lenient", headers: cookies(ended, renewal()) });
      await fresh.refuses(ask, "service_unavailable", 503);
      await fresh.edge.stop();
    });

    test("edge grants no grace to what is no token, and calls the outage one", async () => {
      const fresh = await freshGate(gate, { routes: [{ path: "/lenient", outage_grace_secs: 3600 }] });
      gate.service.onRenew = () => problem(500, "service_faulty");
      for (const value of ["garbage", gate.issuer.token({ sid }, { header: { kid: "nobody" } })]) {
        const ask = () => fresh.send({ path: "/lenient", headers: cookies(session(value), renewal()) });
        const answer = await fresh.refuses(ask, "service_unavailable", 503);
        assert.deepEqual(answer.cookies, []);
      }
      await fresh.edge.stop();
    });

    test("edge waits for no answer of the service that stalls half way", async () => {
      const fresh = await freshGate(gate);
      gate.service.onRenew = () => ({ ...gate.service.renewed({ sid }), stalls: true });
      await fresh.refuses(() => fresh.send({ headers: cookies(renewal()) }), "service_unavailable", 503);
      const usual = gate.service.onList;
      gate.service.onList = (reply) => ({ ...reply, stalls: reply.status === 200 });
      const cold = await freshGate(gate);
      await cold.refuses(() => cold.withCookie(gate.issuer.token()), "service_unavailable", 503);
      gate.service.onList = usual;
      await Promise.all([fresh.edge.stop(), cold.edge.stop()]);
    });

    test("signing in replaces the session that only its renewal cookie names", async () => {
      gate.app.on("/sign-in", (request, response) => {
        const set = gate.issuer.handOff(request.headers["hallpass-request"]);
        response.writeHead(303, { location: "/", "hallpass-set-session": set }).end();
      });
      const headers = [["Origin", gate.origin], ...cookies(renewal())];
      const answer = await gate.send({ method: "POST", path: "/sign-in", headers, body: "" });
      assert.deepEqual([answer.status, answer.cookies.length], [303, 2]);
      await until("the service is told to end the old one", () =>
        revocations().some(({ body }) => body.renewal_token === renewalToken),
      );
    });

    test("signing in again to the same session does not end it", async () => {
      const set = gate.service.renewed({ sid }).body;
      gate.app.on("/sign-in", (request, response) => {
        const { session_token, renewal_token } = set;
        const header = gate.issuer.handOff(request.headers["hallpass-request"], {
          session_token,
          renewal_token,
        });
        response.writeHead(303, { location: "/", "hallpass-set-session": header }).end();
      });
      const ofSame = `hp1.${encode(Buffer.concat([Buffer.of(1), Buffer.from(sid, "base64url"), randomBytes(44)]))}`;
      const [same, other] = [ofSame, newRenewalToken()];
      for (const value of [same, other]) {
        const headers = [["Origin", gate.origin], ...cookies(`__Host-renewal=${value}`)];
        const answer = await gate.send({ method: "POST", path: "/sign-in", headers, body: "" });
        assert.deepEqual([answer.status, answer.cookies.length], [303, 2]);
      }
      const ended = () => revocations().map(({ body }) => body.renewal_token);
      // Sessions are ended behind the answer, in the order of the requests.
      await until("the service is told to end the other", () => ended().includes(other));
      assert.ok(!ended().includes(same), "the new session was ended");
    });

    test("sign-out sends the service nothing that is no token, and ends what the renewal cookie names", async () => {
      for (const value of ["caf\u00e9", "garbage", "a".repeat(5000)]) {
        const before = revocations().length;
        const answer = await gate.send({
          method: "POST",
          path: "/.session/sign-out",
          headers: [["Origin", gate.origin], ...cookies(session(value), renewal())],
          body: "",
        });
        assert.deepEqual([answer.status, values(answer).sort()], [204, cleared.toSorted()], value);
        const calls = revocations().slice(before);
        assert.deepEqual(
          calls.map(({ headers, body }) => [headers["hallpass-session-token"], body.renewal_token]),
          [[undefined, renewalToken]],
        );
      }
    });

    test("sign-out ends a session by its renewal cookie when its token is not believed", async () => {
      const revoke = gate.service.onRevoke;
      gate.service.onRevoke = (call) =>
        call.headers["hallpass-session-token"] ? problem(401, "token_untrusted") : revoke(call);
      const answer = await gate.send({
        method: "POST",
        path: "/.session/sign-out",
        headers: [["Origin", gate.origin], ...cookies(session(`${gate.issuer.token({ sid })}AA`), renewal())],
        body: "",
      });
      assert.deepEqual([answer.status, values(answer).sort()], [204, cleared.toSorted()]);
      gate.service.onRevoke = revoke;
      assert.equal(revocations().at(-1).body.renewal_token, renewalToken);
    });

    test("app's hand-off and clearing go before renewal", async () => {
      gate.app.on("/clears", (_, response) =>
        response.writeHead(200, { "hallpass-clear-session": "1" }).end(),
      );
      const answer = await gate.send({ path: "/clears", headers: cookies(renewal()) });
      assert.deepEqual(values(answer).sort(), cleared.toSorted());
      gate.app.on("/both", (request, response) => {
        const set = gate.issuer.handOff(request.headers["hallpass-request"]);
        response.writeHead(200, { "hallpass-clear-session": "1", "hallpass-set-session": set }).end();
      });
      assert.deepEqual(
        values(await gate.send({ path: "/both", headers: cookies(renewal()) })).sort(),
        cleared.toSorted(),
      );
    });
  });
}
