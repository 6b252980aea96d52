// Third-party data and hostile tokens through the built edge: a sample of what `cargo xtask vectors`
// judges, over HTTP and with the platform's own verifier. docs/protocol.md §1, §2.
//
// Tokens are minted by the harness's issuer, which shares no code with ours. The data is in
// ../shared/vectors, which is no part of the repository: skipped where it is absent, a failure under
// CI=true. Bare workerd, since what the two runtimes differ in is tested elsewhere.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { tidyUp } from "./harness/children.mjs";
import { startGate } from "./harness/gate.mjs";
import { LocalServer } from "./harness/local_server.mjs";
import { Key, encode } from "./harness/mint.mjs";
import { LIST_MAX_AGE_SECS } from "./harness/system.mjs";
import { until } from "./harness/wait.mjs";

tidyUp();

const DATA = fileURLToPath(new URL("../../../shared/vectors", import.meta.url));
/** Requests under way at once. */
const BATCH = 16;
/** Longest cookie that the runtime certainly hands over; what is longer is refused for its length. */
const SENDABLE_BYTES = 8192;
/** Valid JSON with a member twice, which the rules refuse. */
const MEMBER_TWICE = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const here = existsSync(DATA);
if (!here && process.env.CI === "true") throw new Error(`no third-party data in ${DATA}`);
const skip = !here && `no third-party data in ${DATA}`;

describe("third-party data and hostile tokens", () => {
  /** @type {import("./harness/gate.mjs").Gate} */
  let gate;
  before(async () => {
    gate = await startGate({ raw: true });
  });
  after(() => gate.stop());

  /** Presents each token as a cookie; what was answered, in the order of the tokens. */
  async function present(tokens) {
    const answers = [];
    for (let at = 0; at < tokens.length; at += BATCH) {
      const batch = tokens.slice(at, at + BATCH).map((token) => gate.withCookie(token, { path: "/private" }));
      answers.push(...(await Promise.all(batch)));
    }
    return answers;
  }

  /** Presents tokens of which none may pass; how many had which code. */
  async function refusesAll(tokens, t) {
    const before = gate.app.seen.length;
    const codes = {};
    for (const { status, code } of await present(tokens)) {
      assert.equal(status, 401);
      codes[code] = (codes[code] ?? 0) + 1;
    }
    assert.equal(gate.app.seen.length, before, "the app saw a refused request");
    t.diagnostic(JSON.stringify(codes));
  }

  test("edge refuses every JWS of Wycheproof", { skip }, async (t) => {
    const file = JSON.parse(readFileSync(`${DATA}/wycheproof/json_web_signature_test.json`, "utf8"));
    const tokens = file.testGroups.flatMap((group) => group.tests.map(({ jws }) => jws));
    assert.equal(tokens.length, file.numberOfTests);
    await refusesAll(tokens, t);
  });

  test("edge judges the documents of JSONTestSuite as they are labelled", { skip }, async (t) => {
    const folder = `${DATA}/jsontestsuite/test_parsing`;
    const cases = readdirSync(folder).flatMap((name) => {
      const document = readFileSync(`${folder}/${name}`);
      const open = JSON.stringify(gate.issuer.claims()).slice(0, -1);
      const claim = Buffer.concat([Buffer.from(`${open},"x":`), document, Buffer.from("}")]);
      const header = JSON.stringify(gate.issuer.header());
      const key = gate.issuer.sessionKey;
      const label = MEMBER_TWICE.includes(name) ? "n_" : name.slice(0, 2);
      return [
        { name, token: key.compact(header, claim), allowed: { y_: [200], n_: [401], i_: [200, 401] }[label] },
        { name, token: key.compact(header, document), allowed: [401] },
        { name, token: key.compact(document, JSON.stringify(gate.issuer.claims())), allowed: [401] },
      ];
    });
    const sendable = cases.filter(({ token }) => token.length <= SENDABLE_BYTES);
    const answers = await present(sendable.map(({ token }) => token));
    answers.forEach(({ status }, at) => {
      const { name, allowed } = sendable[at];
      assert.ok(allowed.includes(status), `${name}: ${status}`);
    });
    t.diagnostic(`${sendable.length} of ${cases.length} sent, ${answers.filter((a) => a.status === 200).length} passed`);
  });

  test("edge refuses a token with any one character changed, and with any bit of its signature", async (t) => {
    const good = gate.issuer.token();
    assert.equal((await gate.withCookie(good)).status, 200);
    const changed = [...good].map((character, at) => {
      const other = ALPHABET[(ALPHABET.indexOf(character) + 1 + (at % 63)) % 64];
      return good.slice(0, at) + other + good.slice(at + 1);
    });
    const input = good.slice(0, good.lastIndexOf("."));
    const signature = Buffer.from(good.slice(input.length + 1), "base64url");
    const flipped = Array.from({ length: signature.length * 8 }, (_, bit) => {
      const bytes = Buffer.from(signature);
      bytes[bit >> 3] ^= 1 << (bit & 7);
      return `${input}.${encode(bytes)}`;
    });
    await refusesAll([...changed, ...flipped], t);
  });

  test("edge fetches nothing that a token's header names", async () => {
    let connections = 0;
    const server = createServer((_, response) => response.end(JSON.stringify({ keys: [gate.issuer.sessionKey.jwk] })));
    server.on("connection", () => (connections += 1));
    const attacker = await new LocalServer(server).start();
    for (const header of [{ jku: attacker.origin }, { x5u: attacker.origin }, { kid: attacker.origin }]) {
      const answer = await gate.withCookie(gate.issuer.token({}, { header }));
      assert.equal(answer.status, 401);
    }
    assert.equal(connections, 0);
    await attacker.stop();
  });

  test("edge asks at most once for keys it does not know", async () => {
    const asked = () => gate.service.calls.filter(({ path }) => path === "/v1/edge/keys").length;
    const before = asked();
    const tokens = Array.from({ length: 40 }, (_, n) => gate.issuer.token({}, { header: { kid: `nobody-${n}` } }));
    for (const answer of await present(tokens)) assert.equal(answer.code, "token_untrusted");
    assert.ok(asked() <= before + 1, `${asked() - before} times`);

    // A key that the list names and the service has not shown yet is an outage, never a refusal.
    gate.service.change({ kids: [...gate.service.kids, "coming"] });
    const coming = gate.issuer.token({}, { header: { kid: "coming" } });
    const outage = async () => (await gate.withCookie(coming)).code === "service_unavailable";
    await until("the list names the key", outage, { deadlineMs: 2 * LIST_MAX_AGE_SECS * 1000 });
  });

  test("edge takes up the list's new key whatever keys tokens name", async () => {
    // The tokens' fetch is spent: the service shows the new key only from here on.
    await present([gate.issuer.token({}, { header: { kid: "nobody" } })]);
    gate.issuer.listKey = new Key("l2");
    const claims = gate.issuer.claims();
    const token = gate.issuer.token(claims);
    assert.equal((await gate.withCookie(token)).status, 200);
    gate.service.revoke(claims.idx);
    const isRevoked = async () => (await gate.withCookie(token)).code === "session_revoked";
    await until("a list under the new key is in force", isRevoked, { deadlineMs: 2 * LIST_MAX_AGE_SECS * 1000 });
  });

  test("edge takes no token from query or body", async () => {
    const token = gate.issuer.token();
    const names = ["token", "access_token", "__Host-session", "authorization", "session"];
    const form = new URLSearchParams(names.map((name) => [name, token])).toString();
    await gate.refuses(() => gate.send({ path: `/private?${form}` }), "session_missing", 401);
    const headers = [["Content-Type", "application/x-www-form-urlencoded"]];
    const post = { method: "POST", path: "/private", headers, body: form };
    await gate.refuses(() => gate.send(post), "session_missing", 401);
  });
});
