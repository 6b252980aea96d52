// The session service alone, as edges and apps meet it over HTTP: who may call what, and whether its
// answers have the forms of tests/vectors/wire. What it decides is tested in crates/service.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { send } from "./harness/client.mjs";
import { newRenewalToken, newSid } from "./harness/mint.mjs";
import { startService } from "./harness/system.mjs";

tidyUp();

describe("service", () => {
  let service;
  /** What the app was handed at sign-in. */
  let created;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  /** A call with the credential of this scope. */
  const as = (scope, method, path, { body, headers = [] } = {}) =>
    call(method, path, {
      body,
      headers: [["Authorization", `Bearer ${service.credentials[scope]}`], ...headers],
    });
  const call = (method, path, { body, headers = [] } = {}) => {
    const json = body === undefined ? [] : [["Content-Type", "application/json"]];
    return send(service.origin, {
      method,
      path,
      headers: [...json, ...headers],
      body: body && JSON.stringify(body),
    });
  };
  const signIn = async (subject = "ada") => {
    const answer = await as("app", "POST", "/v1/sessions", {
      body: { ...vector("create_session"), subject },
    });
    assert.equal(answer.status, 201, answer.text);
    return answer.json;
  };
  const asUser = (token) => [["Hallpass-Session-Token", token]];

  /** Every call but those that need no credential, with a scope that may make it. */
  const CALLS = [
    ["edge", "GET", "/v1/edge/keys"],
    ["edge", "GET", "/v1/edge/revocations?after=0&wait=0&edge=e2e&bound=10"],
    ["edge", "POST", "/v1/edge/renew"],
    ["edge", "GET", `/v1/edge/sessions/${newSid()}`],
    ["edge", "GET", "/v1/edge/me/sessions"],
    ["edge", "POST", "/v1/edge/me/revoke"],
    ["edge", "GET", "/v1/edge/me/in-force?epoch=e&to=1"],
    ["app", "POST", "/v1/sessions"],
    ["app", "GET", `/v1/sessions/${newSid()}`],
    ["app", "DELETE", `/v1/sessions/${newSid()}`],
    ["app", "GET", "/v1/subjects/YWRh/sessions"],
    ["app", "DELETE", "/v1/subjects/YWRh/sessions"],
    ["app", "GET", "/v1/in-force?epoch=e&to=1"],
    ["admin", "POST", "/v1/revoked-before"],
  ];

  test("service refuses every call without a credential of its own", async () => {
    for (const [scope, method, path] of CALLS) {
      const good = service.credentials[scope];
      const wrong = [
        [],
        [["Authorization", "Bearer "]],
        [["Authorization", `Bearer ${good}x`]],
        [["Authorization", `Bearer ${good.slice(0, -1)}`]],
        [["Authorization", good]],
        [["Authorization", `Basic ${good}`]],
        [["Cookie", `Authorization=Bearer ${good}`]],
      ];
      for (const headers of wrong) {
        const answer = await call(method, path, { headers });
        assert.deepEqual(
          [answer.status, answer.code],
          [401, "credential_invalid"],
          `${method} ${path} ${headers}`,
        );
        assert.equal(answer.headers["www-authenticate"], "Bearer");
        assertForm(answer.json, vector("problem"), "problem");
      }
    }
  });

  test("service refuses credentials of another scope", async () => {
    for (const [scope, method, path] of CALLS) {
      const others = ["edge", "app", "admin"].filter(
        (other) => other !== scope && !(scope === "app" && other === "admin"),
      );
      for (const other of others) {
        const answer = await as(other, method, path);
        assert.deepEqual(
          [answer.status, answer.code],
          [403, "scope_insufficient"],
          `${other}: ${method} ${path}`,
        );
      }
    }
  });

  test("service says that it is alive and ready to anybody", async () => {
    for (const path of ["/healthz", "/readyz"]) assert.equal((await call("GET", path)).status, 200);
    assertForm((await call("GET", "/.well-known/jwks.json")).json, vector("edge_keys").session, "jwks");
  });

  test("service creates a session in the recorded form", async () => {
    created = await signIn();
    assertForm(created, vector("created"), "created");
    const set = JSON.parse(Buffer.from(created.headers["Hallpass-Set-Session"], "base64url"));
    assertForm(set, vector("set_session"), "set session");
    assert.equal(set.request, vector("create_session").request);
    assert.deepEqual([set.session_token, set.renewal_token], [created.session_token, created.renewal_token]);
  });

  test("service refuses sessions it cannot read", async () => {
    const good = vector("create_session");
    const bad = [
      { ...good, subject: "" },
      { ...good, subject: "a b" },
      { ...good, request: undefined },
      { ...good, odd: 1 },
      { ...good, ext: { a: "x".repeat(2000) } },
      [],
    ];
    for (const body of bad) {
      const answer = await as("app", "POST", "/v1/sessions", { body });
      assert.deepEqual(
        [answer.status, answer.code],
        [400, "request_malformed"],
        JSON.stringify(body).slice(0, 100),
      );
    }
    const large = await as("app", "POST", "/v1/sessions", { body: { ...good, odd: "x".repeat(70_000) } });
    assert.deepEqual([large.status, large.code], [413, "request_too_large"]);
  });

  test("service answers edges in the recorded forms", async () => {
    const keys = await as("edge", "GET", "/v1/edge/keys");
    assertForm(keys.json, vector("edge_keys"), "edge keys");
    assert.equal(keys.headers["cache-control"], "no-store");

    const { sid } = created.session;
    assertForm((await as("edge", "GET", `/v1/edge/sessions/${sid}`)).json, vector("liveness"), "liveness");

    const body = { ...vector("renew_request"), renewal_token: created.renewal_token };
    const renewed = await as("edge", "POST", "/v1/edge/renew", { body });
    assert.equal(renewed.status, 200, renewed.text);
    assertForm(renewed.json, vector("renewed"), "renewed");

    const mine = await as("edge", "GET", "/v1/edge/me/sessions", { headers: asUser(created.session_token) });
    assertForm(mine.json, vector("sessions"), "sessions");
    assert.deepEqual(
      mine.json.sessions.map((session) => [session.sid, session.current]),
      [[sid, true]],
    );
  });

  test("service renews for no token but its own", async () => {
    for (const [renewal_token, code] of [
      ["x", "renewal_malformed"],
      [newRenewalToken(), undefined],
      [`${created.renewal_token}A`, "renewal_malformed"],
    ]) {
      const answer = await as("edge", "POST", "/v1/edge/renew", {
        body: { ...vector("renew_request"), renewal_token },
      });
      assert.ok([401, 503].includes(answer.status));
      if (code) assert.deepEqual([answer.status, answer.code], [401, code]);
      assert.doesNotMatch(answer.text, /session_token/);
    }
  });

  test("service lists revocations in a signed list of the recorded form", async () => {
    const other = await signIn();
    const poll = (query) => as("edge", "GET", `/v1/edge/revocations?${query}&wait=0&edge=e2e&bound=10`);
    const position = (answer) =>
      /^epoch="([^"]+)", to=(\d+), confirmed_ms=(-?\d+)$/.exec(answer.headers["hallpass-list"]).slice(1);
    const [epoch, before] = position(await poll("after=0"));

    const headers = asUser(created.session_token);
    const revoked = await as("edge", "POST", "/v1/edge/me/revoke", {
      body: { sid: other.session.sid },
      headers,
    });
    assertForm(revoked.json, vector("revoked"), "revoked");
    assert.equal(revoked.json.revoked, 1);

    const whole = await poll("after=0");
    assert.deepEqual([whole.status, whole.headers["content-type"]], [200, "application/jose"]);
    const claims = await verifiedList(whole.text);
    assertForm(claims, vector("list_claims"), "list claims");
    assert.deepEqual([claims.epoch, claims.from, claims.sessions.length], [epoch, 0, 1]);
    assert.ok(claims.to > Number(before) && claims.to >= revoked.json.list.to);
    assert.deepEqual(position(whole).slice(0, 2), [epoch, String(claims.to)]);

    const delta = await verifiedList((await poll(`epoch=${epoch}&after=${before}`)).text);
    assert.deepEqual([delta.from, delta.to], [Number(before), claims.to]);
    const nothing = await poll(`epoch=${epoch}&after=${claims.to}`);
    assert.deepEqual([nothing.status, nothing.body.length], [204, 0]);
    const elsewhere = await verifiedList((await poll("epoch=other&after=1")).text);
    assert.equal(elsewhere.from, 0);

    const inForce = await as("edge", "GET", `/v1/edge/me/in-force?epoch=${epoch}&to=${claims.to}`, {
      headers,
    });
    assertForm(inForce.json, vector("in_force"), "in force");
    assert.equal((await as("edge", "GET", `/v1/edge/sessions/${other.session.sid}`)).json.live, false);
    const sessions = (await as("edge", "GET", "/v1/edge/me/sessions", { headers })).json;
    assertForm(sessions, vector("sessions"), "sessions");
    assert.deepEqual(
      sessions.ended.map((session) => session.sid),
      [other.session.sid],
    );
  });

  test("service lets nobody end another's session", async () => {
    const eve = await signIn("eve");
    const headers = asUser(eve.session_token);
    const answer = await as("edge", "POST", "/v1/edge/me/revoke", {
      body: { sid: created.session.sid },
      headers,
    });
    assert.deepEqual([answer.status, answer.code], [404, "session_unknown"]);
    const nobody = await as("edge", "POST", "/v1/edge/me/revoke", { body: { sid: created.session.sid } });
    assert.equal(nobody.status, 401);
    assert.equal((await as("edge", "GET", `/v1/edge/sessions/${created.session.sid}`)).json.live, true);
  });

  test("service ends everybody's sessions for an operator", async () => {
    const answer = await as("admin", "POST", "/v1/revoked-before", { body: {} });
    assertForm(answer.json, vector("revoked"), "revoked");
    assert.equal((await as("edge", "GET", `/v1/edge/sessions/${created.session.sid}`)).json.live, false);
    const body = { ...vector("renew_request"), renewal_token: created.renewal_token };
    const renewal = await as("edge", "POST", "/v1/edge/renew", { body });
    assert.deepEqual([renewal.status, renewal.code], [401, "session_revoked"]);
  });

  test("service knows no other paths and methods", async () => {
    for (const [method, path, status, code] of [
      ["GET", "/v1/nothing", 404, "path_unknown"],
      ["DELETE", "/v1/edge/keys", 405, "method_refused"],
    ]) {
      const answer = await as("edge", method, path);
      assert.deepEqual([answer.status, answer.code], [status, code]);
    }
  });

  /** The claims of a list whose signature is good under a published list key. */
  async function verifiedList(text) {
    const [header, payload, signature] = text.split(".");
    const { alg, kid, typ } = JSON.parse(Buffer.from(header, "base64url"));
    assert.deepEqual([alg, typ], ["EdDSA", "revocations+jwt"]);
    const { list } = (await as("edge", "GET", "/v1/edge/keys")).json;
    const key = createPublicKey({ key: list.keys.find((jwk) => jwk.kid === kid), format: "jwk" });
    assert.ok(verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url")));
    return JSON.parse(Buffer.from(payload, "base64url"));
  }
});

/** The recorded example of a message. @param {string} name */
function vector(name) {
  const file = new URL(`../vectors/wire/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).message;
}

/** Asserts the same members of the same types; null stands for any type, a list for all its items. */
function assertForm(actual, form, where) {
  if (actual === null || form === null) return;
  if (Array.isArray(form)) {
    assert.ok(Array.isArray(actual), where);
    actual.forEach((item, i) => form.length && assertForm(item, form[0], `${where}[${i}]`));
  } else if (typeof form === "object") {
    assert.deepEqual(Object.keys(actual).sort(), Object.keys(form).sort(), where);
    for (const key of Object.keys(form)) assertForm(actual[key], form[key], `${where}.${key}`);
  } else {
    assert.equal(typeof actual, typeof form, where);
    if (typeof form === "number") assert.ok(Number.isInteger(actual), where);
  }
}
