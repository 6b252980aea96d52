// Two verifiers, one verdict, and a third to compare with: what the native rules with jwt-simple and
// the built edge with WebCrypto say of the same tokens, and where panva/jose says otherwise.
// docs/protocol.md §1.
//
// The first two must give the same code, and accept nothing that jose refuses. jose has no rules of
// ours, only the RFCs': each kind of token that it takes and we do not stands in a table with the
// reason. Wycheproof's files are in ../shared/vectors, which is no part of the repository: skipped
// where it is absent, a failure under CI=true.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { tidyUp } from "./harness/children.mjs";
import { startGate } from "./harness/gate.mjs";
import { SECRET, keysOf, tokens } from "./harness/odd_tokens.mjs";
import {
  EdgeVerifier,
  JoseVerifier,
  judgeNatively,
  judgeSignatureByJose,
  trustLine,
} from "./harness/verifiers.mjs";
import { now } from "./harness/wait.mjs";

tidyUp();

const DATA = fileURLToPath(new URL("../../../shared/vectors/wycheproof/", import.meta.url));
const here = existsSync(DATA);
if (!here && process.env.CI === "true") throw new Error(`no third-party data in ${DATA}`);
const skip = !here && `no third-party data in ${DATA}`;

/** Tokens per round are about a thousand. */
const ROUNDS = 2;
/** Tokens minted before the first of them is judged: few, so that times at borders are still so. */
const BATCH = 64;

const NOT_A_CLAIM = "jose knows this claim by its name only";
const NO_SUCH_RULE = "the RFCs have no such rule, protocol §1 has";

/** Kinds of token that jose takes and we refuse, with the reason. */
const JOSE_TAKES = {
  "iat ahead": "jose looks at iat only to bound a token's age",
  "auth_time ahead": NOT_A_CLAIM,
  "lifetime too long": NO_SUCH_RULE,
  "times in another order": NO_SUCH_RULE,
  "time below zero": "RFC 7519 has NumericDates below zero",
  "number written as float": "RFC 7519 has NumericDates with a fraction",
  "claim of another type: sub": "jose compares sub when told a value, and looks at no type",
  "claim of another type: sid": NOT_A_CLAIM,
  "claim of another type: idx": NOT_A_CLAIM,
  "claim of another type: auth_time": NOT_A_CLAIM,
  "idx out of bounds": NOT_A_CLAIM,
  "sid out of bounds": NOT_A_CLAIM,
  "amr out of bounds": NOT_A_CLAIM,
  "ext out of bounds": NOT_A_CLAIM,
  "sub out of bounds": "RFC 7519 lets sub be any text; ours becomes a header's value",
  "audience in an array": "RFC 7519 allows several audiences, protocol §1 one",
  "unknown header member": "RFC 7515 ignores header members it does not know, protocol §1 wants exactly three",
  "crit of b64 true": "jose implements RFC 7797, protocol §1 has no crit",
  "header without kid": "jose takes the set's only key that fits the algorithm",
  "typ spelt otherwise": "RFC 7515 compares typ as a media type, protocol §1 byte for byte",
  "member twice": "JSON.parse takes the last of two members",
  "byte order mark": "TextDecoder drops it",
  "half a surrogate pair": "JSON.parse makes a string that is no Unicode",
  "number beyond doubles": "JSON.parse makes it infinite",
  "nested deeply": "JSON.parse has no limit",
  "too long": NO_SUCH_RULE,
  "header too long": NO_SUCH_RULE,
  "same bytes spelt otherwise": "jose drops padding and spare bits",
};

/** Kinds that the native rules take and the edge refuses, with the reason. */
const NATIVE_TAKES = {
  "R with a part of low order":
    "jwt-simple multiplies by the cofactor, WebCrypto does not; only the key's holder can sign so",
};

/** Cases of Wycheproof that jose takes and jwt-simple refuses, by comment, with the reason. */
const JOSE_TAKES_OF_WYCHEPROOF = {
  rejectsSpacesInMac: "jose's base64url skips spaces",
  spacesInHeader: "jose's base64url skips spaces",
  spacesInPayload: "jose's base64url skips spaces",
  MacOfIncorrectlyEncodedMessage: "jose drops spare bits",
};

describe("the same token before three verifiers", () => {
  /** @type {import("./harness/gate.mjs").Gate} */
  let gate;
  let keys;
  /** @type {import("./harness/verifiers.mjs").Trust} */
  let trust;
  before(async () => {
    const secret = SECRET.toString("base64url");
    gate = await startGate({
      raw: true,
      settings: { token_algs: ["EdDSA", "Ed25519", "ES256", "HS256"] },
      secrets: { SESSION_HS256_KEY: secret },
    });
    keys = keysOf(gate.issuer);
    const own = Object.values(keys);
    gate.service.extraKeys = own.slice(1);
    gate.service.change({ kids: own.map(({ kid }) => kid) });
    const { issuer, audience } = gate.issuer;
    trust = { issuer, audience, keys: { keys: own.map(({ jwk }) => jwk) }, secret: SECRET };
  });
  after(() => gate.stop());

  test("verifiers agree on every generated token but for the kinds listed", async (t) => {
    const began = performance.now();
    const cases = await judgeByEdge(tokens(gate.issuer, keys, ROUNDS));
    judgeByRules(cases);
    const jose = new JoseVerifier(trust);
    for (const one of cases) one.jose = await jose.judge(one.token, one.from);

    const firm = cases.filter(({ native, nativeAfter }) => native === nativeAfter);
    const between = cases.filter((one) => !firm.includes(one));
    const natively = firm.filter(({ native, edge }) => native !== edge);
    assertListed("the edge and the native rules", natively, NATIVE_TAKES);
    for (const one of natively) assert.equal(one.native, "accepted", describeCase(one));
    for (const one of between) assert.ok([one.native, one.nativeAfter].includes(one.edge), describeCase(one));

    const accepts = ({ edge }) => edge === "accepted";
    const lax = firm.filter((one) => accepts(one) && !one.jose.accepts);
    assert.deepEqual(lax.map(describeCase), [], "we accept what jose refuses");
    const strict = firm.filter((one) => !accepts(one) && one.jose.accepts);
    assertListed("jose and we", strict, JOSE_TAKES);

    assert.ok(cases.length >= 2000, `${cases.length} tokens`);
    for (const alg of ["EdDSA", "Ed25519", "ES256", "HS256"]) {
      assert.ok(cases.some((one) => one.alg === alg && one.kind === "good" && accepts(one)), alg);
    }
    const odd = cases.filter((one) => one.kind === "good" && !accepts(one));
    assert.deepEqual(odd.map(describeCase), [], "a good token is refused");
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    t.diagnostic(`${cases.length} tokens in ${seconds} s; by our verdict: ${counts(cases, ({ edge }) => edge)}`);
    t.diagnostic(`at a border while asked: ${between.length}; jose agrees on ${firm.length - strict.length}`);
    t.diagnostic(`jose takes: ${counts(strict, ({ kind }) => kind)}`);
    t.diagnostic(`only jwt-simple takes: ${counts(natively, ({ kind }) => kind)}`);
  });

  /** Presents each token to the edge; between which seconds that was. */
  async function judgeByEdge(minted) {
    const verifier = new EdgeVerifier(gate.origin);
    const cases = [];
    for (let batch = take(minted, BATCH); batch.length > 0; batch = take(minted, BATCH)) {
      const judged = batch.map(async (one) => {
        const from = now();
        const edge = await verifier.judge(one.token);
        return { ...one, edge, from, to: now() };
      });
      cases.push(...(await Promise.all(judged)));
    }
    verifier.close();
    return cases;
  }

  /** Asks the native rules about both of those seconds. */
  function judgeByRules(cases) {
    const line = (token, second) => ({ token: { token, now: second } });
    const lines = cases.flatMap(({ token, from, to }) => [line(token, from), line(token, to)]);
    const [, ...verdicts] = judgeNatively([trustLine(trust), ...lines]);
    assert.equal(verdicts.length, lines.length);
    cases.forEach((one, at) => {
      [one.native, one.nativeAfter] = [verdicts[2 * at], verdicts[2 * at + 1]];
    });
  }
});

describe("Wycheproof's signatures before two verifiers", () => {
  test("jose agrees with jwt-simple on each JWS of our algorithms", { skip }, async (t) => {
    const { testGroups } = readVectors("json_web_signature_test.json");
    const cases = testGroups.flatMap(({ public: shown, private: secret, tests }) => {
      const jwk = shown ?? secret;
      const ours = ["ES256", "HS256"].includes(jwk.alg);
      return ours ? tests.map((one) => ({ kind: one.comment, alg: jwk.alg, jwk, token: one.jws })) : [];
    });
    const verdicts = judgeNatively(cases.map(({ jwk, token }) => ({ jws: { jwk, jws: token } })));
    assert.equal(verdicts.length, cases.length);
    for (const [at, one] of cases.entries()) {
      one.native = verdicts[at];
      one.jose = await judgeSignatureByJose(one.jwk, one.token);
    }
    const lax = cases.filter((one) => one.native === "accepted" && !one.jose.accepts);
    assert.deepEqual(lax.map(describeCase), [], "we accept what jose refuses");
    const strict = cases.filter((one) => one.native !== "accepted" && one.jose.accepts);
    assertListed("jose and jwt-simple", strict, JOSE_TAKES_OF_WYCHEPROOF);
    t.diagnostic(`${cases.length} JWS: ${counts(cases, ({ alg, native }) => `${alg} ${native}`)}`);
    t.diagnostic(`jose takes: ${counts(strict, ({ kind }) => kind)}`);
  });

  /** What is signed here is no JWS: the platform's WebCrypto, which jose asks, stands in for jose. */
  for (const [file, alg] of [
    ["ed25519_test.json", "EdDSA"],
    ["ecdsa_secp256r1_sha256_p1363_test.json", "ES256"],
  ]) {
    test(`WebCrypto agrees with jwt-simple on each ${alg} signature`, { skip }, async (t) => {
      const cases = readVectors(file).testGroups.flatMap(({ publicKey, tests }) => {
        const key = publicKey.pk ?? publicKey.uncompressed;
        return tests.map(({ msg, sig }) => ({ key, message: msg, signature: sig }));
      });
      const verdicts = judgeNatively(cases.map((one) => ({ raw: { alg, ...one } })));
      for (const [at, one] of cases.entries()) {
        assert.equal(await judgeByWebCrypto(alg, one), verdicts[at], JSON.stringify(one));
      }
      t.diagnostic(`${cases.length} signatures: ${counts(verdicts, (verdict) => verdict)}`);
    });
  }
});

function readVectors(file) {
  return JSON.parse(readFileSync(`${DATA}${file}`, "utf8"));
}

async function judgeByWebCrypto(alg, { key, message, signature }) {
  const algorithm =
    alg === "EdDSA" ? { name: "Ed25519" } : { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const [material, signed, claimed] = [key, message, signature].map((hex) => Buffer.from(hex, "hex"));
  const imported = await webcrypto.subtle.importKey("raw", material, algorithm, false, ["verify"]);
  const isGood = await webcrypto.subtle.verify(algorithm, imported, claimed, signed);
  return isGood ? "accepted" : "refused";
}

/** Asserts that exactly the kinds of the table differ. */
function assertListed(between, differing, table) {
  const kinds = new Map(differing.map((one) => [one.kind, one]));
  const unlisted = [...kinds.values()].filter(({ kind }) => !Object.hasOwn(table, kind));
  assert.deepEqual(unlisted.map(describeCase), [], `${between} differ on kinds that no table lists`);
  const gone = Object.keys(table).filter((kind) => !kinds.has(kind));
  assert.deepEqual(gone, [], `${between} no longer differ on these kinds: take them from the table`);
}

/** All that is needed to judge it again. */
function describeCase({ kind, alg, token, from, native, edge, jose }) {
  return { kind, alg, native, edge, jose: jose?.says, from, token };
}

function counts(cases, name) {
  const found = {};
  for (const one of cases) found[name(one)] = (found[name(one)] ?? 0) + 1;
  return JSON.stringify(found);
}

/** The next so many of a generator. */
function take(generator, count) {
  const taken = [];
  while (taken.length < count) {
    const { value, done } = generator.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
