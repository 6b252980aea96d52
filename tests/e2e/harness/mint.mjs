// An independent issuer: session tokens and revocation lists made with Node's own crypto, from
// docs/protocol.md §1 and §3 alone. It shares no code with the service, and it mints what the
// service never would, under the right key.

import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { now } from "./wait.mjs";

/** Index of the next session: any number no other session of the run has. */
let nextIndex = 1000;

/** @param {Buffer | string} bytes */
export const encode = (bytes) => Buffer.from(bytes).toString("base64url");

/** A session id: 16 random bytes in 22 characters. */
export const newSid = () => encode(randomBytes(16));

/** A renewal token by its form; only its issuer could check more. */
export const newRenewalToken = () => `hp1.${encode(randomBytes(61))}`;

/** What each algorithm takes from Node's crypto. */
const KEY_TYPES = {
  EdDSA: { type: "ed25519", options: {}, digest: null },
  Ed25519: { type: "ed25519", options: {}, digest: null },
  ES256: { type: "ec", options: { namedCurve: "P-256" }, digest: "sha256" },
};

export class Key {
  /** @param {string} kid @param {"EdDSA" | "Ed25519" | "ES256"} [alg] */
  constructor(kid, alg = "EdDSA") {
    const { type, options } = KEY_TYPES[alg];
    const { publicKey, privateKey } = generateKeyPairSync(type, options);
    Object.assign(this, { kid, alg, publicKey, privateKey });
  }

  /** As `GET /v1/edge/keys` shows it. */
  get jwk() {
    const { kid, alg } = this;
    return { ...this.publicKey.export({ format: "jwk" }), kid, alg, use: "sig" };
  }

  /** The private key as a JWK: what no set may hold. */
  get privateJwk() {
    return { ...this.jwk, ...this.privateKey.export({ format: "jwk" }) };
  }

  /** The public key's x coordinate, as an attacker knows it. */
  get publicBytes() {
    return Buffer.from(this.jwk.x, "base64url");
  }

  /**
   * @param {string} header JSON text
   * @param {string | Buffer} payload JSON text
   */
  compact(header, payload) {
    const signed = `${encode(header)}.${encode(payload)}`;
    const key = { key: this.privateKey, dsaEncoding: "ieee-p1363" };
    return `${signed}.${encode(sign(KEY_TYPES[this.alg].digest, Buffer.from(signed), key))}`;
  }
}

/** HS256 over what a header of that kind says. */
export function hmacCompact(key, header, payload) {
  const signed = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(payload))}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

export class Issuer {
  issuer = "https://issuer.test";
  audience = "e2e";
  sessionKey = new Key("s1");
  listKey = new Key("l1");

  /** Claims of a good token; a member given as undefined is left out. */
  claims(changes = {}) {
    const at = now();
    const good = {
      iss: this.issuer,
      aud: this.audience,
      sub: "ada",
      sid: newSid(),
      idx: nextIndex++,
      iat: at,
      exp: at + 300,
      auth_time: at,
    };
    return Object.fromEntries(
      Object.entries({ ...good, ...changes }).filter(([, value]) => value !== undefined),
    );
  }

  header(changes = {}) {
    return { alg: "EdDSA", kid: this.sessionKey.kid, typ: "session+jwt", ...changes };
  }

  /**
   * A session token, good unless told otherwise.
   *
   * @param {Record<string, unknown>} [claims] changes to the claims
   * @param {{header?: Record<string, unknown>, key?: Key}} [how]
   */
  token(claims = {}, { header = {}, key = this.sessionKey } = {}) {
    return key.compact(JSON.stringify(this.header(header)), JSON.stringify(this.claims(claims)));
  }

  /** A token whose end is behind it by more than any grace of these tests. */
  expiredToken() {
    const at = now();
    return this.token({ iat: at - 400, auth_time: at - 400, exp: at - 100 });
  }

  /** What the app copies onto its sign-in answer: `Hallpass-Set-Session`. */
  handOff(request, changes = {}) {
    const set = {
      session_token: this.token(),
      renewal_token: newRenewalToken(),
      session_ends_at: now() + 3600,
      persistent: true,
      request,
      ...changes,
    };
    return encode(JSON.stringify(set));
  }

  /** A signed revocation list of these claims. */
  list(content, { header = {}, key = this.listKey } = {}) {
    const at = now();
    const claims = { iss: this.issuer, iat: at, exp: at + 300, ...content };
    const whole = { alg: key.alg, kid: key.kid, typ: "revocations+jwt", ...header };
    return key.compact(JSON.stringify(whole), JSON.stringify(claims));
  }
}

/**
 * A set of numbers as a Roaring bitmap in the portable format, in array containers: enough for the
 * few entries of a test.
 *
 * @param {number[]} numbers each below 2^32
 */
export function roaring(numbers) {
  /** @type {Map<number, number[]>} */
  const containers = new Map();
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const high = Math.floor(number / 65536);
    containers.set(high, [...(containers.get(high) ?? []), number % 65536]);
  }
  const u16 = (values) => Buffer.concat(values.map((value) => Buffer.from(Uint16Array.of(value).buffer)));
  const u32 = (values) => Buffer.concat(values.map((value) => Buffer.from(Uint32Array.of(value).buffer)));
  const entries = [...containers];
  const bodies = entries.map(([, lows]) => u16(lows));
  const first = 8 + entries.length * 8;
  const offsets = bodies.map(
    (_, i) => first + bodies.slice(0, i).reduce((sum, body) => sum + body.length, 0),
  );
  const descriptions = u16(entries.flatMap(([high, lows]) => [high, lows.length - 1]));
  const COOKIE_WITHOUT_RUNS = 12346;
  return Buffer.concat([u32([COOKIE_WITHOUT_RUNS, entries.length]), descriptions, u32(offsets), ...bodies]);
}
