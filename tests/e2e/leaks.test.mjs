// Nothing secret leaves the edge but where it belongs: no token, key, subject or address in its log,
// no token or key in an answer but for the cookies. docs/protocol.md §6, §8.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { DIAGNOSTIC_CREDENTIAL, startGate } from "./harness/gate.mjs";
import { newRenewalToken } from "./harness/mint.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { RUNTIMES } from "./harness/system.mjs";
import { until } from "./harness/wait.mjs";

tidyUp();

const SUBJECT = "canary-subject-4f1c";
const ADDRESS = "203.0.113.77";
const CLAIM = "canary-claim-9b2e";
const PAGE = ["Accept", "text/html"];

for (const { name, raw } of RUNTIMES) {
  describe(`leaks in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    before(async () => {
      const routes = [{ path: "/admin", require: { role: ["admin"] } }];
      gate = await startGate({ raw, settings: { environment: "production", routes } });
    });
    after(() => gate.stop());

    test("no secret is in the log, none in an answer but for the cookies", async () => {
      const secrets = new Set([gate.service.credential, gate.assertionKey, DIAGNOSTIC_CREDENTIAL]);
      const people = [SUBJECT, CLAIM, ADDRESS];
      const answers = [];
      /** A token whose every part is looked for. */
      const minted = (claims, how) => {
        const token = gate.issuer.token({ sub: SUBJECT, ext: { claim: CLAIM }, ...claims }, how);
        for (const part of token.split(".").slice(1)) secrets.add(part);
        people.push(JSON.parse(Buffer.from(token.split(".")[1], "base64url")).sid);
        return token;
      };
      const renewal = () => {
        const token = newRenewalToken();
        secrets.add(token);
        return token;
      };
      const ask = async (path, headers, more = {}) => {
        for (const page of [[], [PAGE]]) {
          const own = [["CF-Connecting-IP", ADDRESS], ["Origin", gate.origin]];
          answers.push([path, await gate.send({ path, headers: [...own, ...page, ...headers], ...more })]);
        }
      };
      const cookie = (token, renewed) => [
        ["Cookie", [token && `__Host-session=${token}`, renewed && `__Host-renewal=${renewed}`].filter(Boolean).join("; ")],
      ];
      gate.app.on("/begins", (request, response) => {
        const set = gate.issuer.handOff(request.headers["hallpass-request"], {
          session_token: minted(),
          renewal_token: renewal(),
        });
        secrets.add(set);
        response.writeHead(200, { "hallpass-set-session": set }).end();
      });
      gate.app.on("/begins-badly", (_, response) =>
        response.writeHead(200, { "hallpass-set-session": gate.issuer.handOff("x", { session_token: minted() }) }).end(),
      );

      for (const path of ["/private", "/admin", "/public/a", "/begins", "/begins-badly", "/.session/", "/.session/api/sessions"]) {
        await ask(path, cookie(minted(), renewal()));
        await ask(path, [["Authorization", `Bearer ${minted()}`]]);
        await ask(path, cookie(minted({ exp: 5, iat: 1, auth_time: 1 })));
        await ask(`${path}?token=${minted()}&access_token=${minted()}`, []);
      }
      await ask("/private", cookie(`${minted()}x`));
      await ask("/private", cookie(minted({ aud: "other" })));
      await ask("/private", [...cookie(minted()), ["Authorization", `Bearer ${minted()}`]]);
      await ask("/.session/health", [["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL]]);
      await ask("/private", [["Hallpass-Diagnostics", DIAGNOSTIC_CREDENTIAL], ...cookie(minted())]);
      for (const reply of [gate.service.renewed({ sub: SUBJECT }), problem(401, "renewal_reused"), { status: 500, body: "x" }]) {
        if (reply.body.session_token) secrets.add(reply.body.session_token.split(".")[2]);
        gate.service.onRenew = () => reply;
        await ask("/private", cookie(undefined, renewal()));
      }
      await ask("/.session/sign-out", cookie(minted(), renewal()), { method: "POST", body: "" });
      gate.service.onRevoke = () => ({ status: 500, body: "x" });
      await ask("/.session/sign-out", cookie(minted(), renewal()), { method: "POST", body: "" });

      await until("the last request is in the log", () => decisions(gate).length >= answers.length);
      const log = gate.edge.child.log.join("\n");
      for (const secret of [...secrets, ...people]) assert.ok(!log.includes(secret), `${secret} is in the log`);
      for (const [path, answer] of answers) {
        const rest = Object.entries(answer.headers).filter(([header]) => header !== "set-cookie");
        const text = `${JSON.stringify(rest)}\n${answer.text}`;
        // Where to come back to is what the user asked for, and theirs to see.
        const shown = answer.status === 303 ? answer.text : text;
        for (const secret of secrets) assert.ok(!shown.includes(secret), `${path}: ${secret} in ${text}`);
      }
    });
  });
}

const decisions = (gate) => gate.edge.child.log.filter((line) => line.includes('"at":"decision"'));
