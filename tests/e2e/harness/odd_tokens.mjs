// Session tokens of every kind, good and odd, for verifiers to be compared on. Each is signed by the
// right key unless its kind is about signatures, so that it meets one guard only: docs/protocol.md §1.
//
// Choices come from a seed; keys and times are the run's own, since the edge has the real clock.

import { createHash, createHmac, createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { Key, encode } from "./mint.mjs";
import { now } from "./wait.mjs";

export const SECRET = randomBytes(32);
export const ALGORITHMS = ["EdDSA", "Ed25519", "ES256", "HS256"];

const ED25519_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const ED25519_PRIME = 2n ** 255n - 19n;
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** What a cookie carries unchanged, and a mutation may write. */
const CARRIED = `${ALPHABET}.=+/!$&'*:<>?@[]^|{}~`;
/** DER of an Ed25519 private key, RFC 8410 §7, up to the seed. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** Numbers below a bound, the same for the same seed (mulberry32). @param {number} seed */
export function seeded(seed) {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** One key of each algorithm; the first is the issuer's own. */
export function keysOf(issuer) {
  return { EdDSA: issuer.sessionKey, Ed25519: new Key("k2", "Ed25519"), ES256: new Key("k3", "ES256") };
}

/**
 * Mints one token after the other, each when it is asked for: times at borders are of that second.
 *
 * @param {import("./mint.mjs").Issuer} issuer
 * @param {ReturnType<typeof keysOf>} keys
 * @param {number} rounds how many times over
 * @returns {Generator<{kind: string, alg: string, token: string}>}
 */
export function* tokens(issuer, keys, rounds) {
  const random = seeded(3);
  for (let round = 0; round < rounds; round += 1) {
    for (const alg of ALGORITHMS) {
      const mint = new Mint(issuer, keys, alg, random);
      for (const make of [good, times, claims, headers, texts, shapes, signatures, mutations]) {
        for (const [kind, token] of make(mint)) yield { kind, alg, token };
      }
    }
  }
}

/** An issuer that signs anything under one algorithm. */
class Mint {
  constructor(issuer, keys, alg, random) {
    Object.assign(this, { issuer, keys, alg, random, key: keys[alg] });
    this.headerMembers = { alg, kid: this.key?.kid ?? "hs256", typ: "session+jwt" };
  }

  /** @param {Record<string, unknown>} [claims] @param {Record<string, unknown>} [header] changes */
  token(claims = {}, header = {}) {
    return this.sign(this.header(header), JSON.stringify(this.issuer.claims(claims)));
  }

  header(changes = {}) {
    return JSON.stringify({ ...this.headerMembers, ...changes });
  }

  payload(changes = {}) {
    return JSON.stringify(this.issuer.claims(changes));
  }

  /** @param {string | Buffer} header @param {string | Buffer} payload */
  sign(header, payload) {
    if (this.key) return this.key.compact(header, payload);
    return macCompact(SECRET, header, payload);
  }

  /** A good token's signing input and signature. */
  parts() {
    const token = this.token();
    const at = token.lastIndexOf(".");
    return [token.slice(0, at), Buffer.from(token.slice(at + 1), "base64url")];
  }
}

/** HS256 over any two texts. */
function macCompact(secret, header, payload) {
  const signed = `${encode(header)}.${encode(payload)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

function* good(mint) {
  for (let count = 0; count < 12; count += 1) {
    yield ["good", mint.token({ sub: `user-${mint.random(1e9)}`, idx: mint.random(2 ** 32) })];
  }
  yield ["good", mint.token({ amr: ["pwd", "otp"], ext: { role: ["a", { b: null }] }, nbf: now() })];
  yield ["good", mint.token({ unknown: { at: 1.5 }, roles: ["x"] })];
  yield ["good", mint.sign(`  ${mint.header().replace(",", " ,\n\t")} `, ` ${mint.payload()}\r\n`)];
  yield ["good", mint.token({}, { typ: undefined, kid: undefined, ...mint.headerMembers })];
}

function* times(mint) {
  for (const offset of [-3600, -2, -1, 0, 1, 2, 3]) {
    const at = now() - 3600;
    yield ["end at a border", mint.token({ iat: now() - 60, auth_time: at, exp: now() + offset })];
  }
  for (const name of ["iat", "auth_time", "nbf"]) {
    for (const offset of [-1, 0, 1, 4, 5, 6, 7, 60]) {
      const at = now() + offset;
      const others = { iat: name === "nbf" ? now() : at, auth_time: now() - 60 };
      yield [offset > 0 ? `${name} ahead` : "good", mint.token({ ...others, [name]: at })];
    }
  }
  for (const lifetime of [3599, 3600, 3601, 10 ** 9]) {
    yield [lifetime > 3600 ? "lifetime too long" : "good", mint.token({ exp: now() + lifetime })];
  }
  const contradictions = [{ auth_time: now() }, { iat: now() - 9, nbf: now() + 4, exp: now() + 3 }];
  for (const odd of contradictions) yield ["times in another order", mint.token({ iat: now() - 60, ...odd })];
}

function* claims(mint) {
  const { issuer } = mint;
  for (const name of ["iss", "aud", "sub", "sid", "idx", "iat", "exp", "auth_time"]) {
    yield ["claim missing", mint.token({ [name]: undefined })];
    for (const value of [null, true, [], {}]) {
      yield [`claim of another type: ${name}`, mint.token({ [name]: value })];
    }
  }
  for (const name of ["iat", "exp", "auth_time"]) {
    const at = issuer.claims()[name];
    yield [`claim of another type: ${name}`, mint.token({ [name]: String(at) })];
    for (const text of [`${at}.0`, `${at}.5`, `${at}e0`, `${at / 10}e1`]) {
      const payload = mint.payload({ [name]: "HERE" }).replace('"HERE"', text);
      yield ["number written as float", mint.sign(mint.header(), payload)];
    }
    yield ["time below zero", mint.token({ [name]: -1 })];
  }
  for (const text of ["-1", "-0", "1.5", "7.0", "7e0", "4294967296", "18446744073709551616", '"7"']) {
    const payload = mint.payload({ idx: "HERE" }).replace('"HERE"', text);
    yield ["idx out of bounds", mint.sign(mint.header(), payload)];
  }
  const own = issuer.issuer;
  for (const iss of [`${own}/`, own.toUpperCase(), `${own}\0`, [own], ""]) {
    yield ["another issuer", mint.token({ iss })];
  }
  for (const aud of [issuer.audience.toUpperCase(), `${issuer.audience} `, "other", ["other"], ""]) {
    yield ["another audience", mint.token({ aud })];
  }
  for (const aud of [[issuer.audience], ["other", issuer.audience]]) {
    yield ["audience in an array", mint.token({ aud })];
  }
  for (const sub of ["", "a b", "a\r\nb", "a,b", "a;b", 'a"b', "a\\b", "ü", "\u202ea", "a".repeat(256), 7]) {
    yield ["sub out of bounds", mint.token({ sub })];
  }
  for (const sub of ["a", "a@b", "a".repeat(255)]) yield ["good", mint.token({ sub })];
  const sids = ["A".repeat(21), "A".repeat(23), `${"A".repeat(21)}B`, `${"A".repeat(20)}==`, 7];
  for (const sid of sids) yield ["sid out of bounds", mint.token({ sid })];
  const many = Array(9).fill("x");
  for (const amr of ["pwd", many, [1], null, [""], ["a".repeat(65)]]) {
    yield ["amr out of bounds", mint.token({ amr })];
  }
  for (const ext of [[], null, "x", { x: "y".repeat(1020) }]) {
    yield ["ext out of bounds", mint.token({ ext })];
  }
  for (const nbf of [null, "1", true, []]) yield ["claim of another type: nbf", mint.token({ nbf })];
}

function* headers(mint) {
  for (const name of ["zip", "enc", "cty", "jku", "jwk", "x5u", "x5c", "x5t", "b64", "salt", "p2c"]) {
    yield ["unknown header member", mint.token({}, { [name]: false })];
  }
  for (const crit of [[], null, ["b64"], ["exp"], "x", ["typ"]]) yield ["crit", mint.token({}, { crit })];
  yield ["crit of b64 true", mint.token({}, { crit: ["b64"], b64: true })];
  for (const name of ["alg", "kid", "typ"]) {
    yield [`header without ${name}`, mint.token({}, { [name]: undefined })];
  }
  for (const typ of ["SESSION+JWT", "Session+jwt", "application/session+jwt"]) {
    yield ["typ spelt otherwise", mint.token({}, { typ })];
  }
  const typs = ["JWT", "at+jwt", "revocations+jwt", "\u017fe\u017f\u017fion+jwt", "", " session+jwt", 1, null];
  for (const typ of typs) {
    yield ["another typ", mint.token({}, { typ })];
  }
  const names = [...ALGORITHMS, "none", "None", "RS256", "ES384", "HS512", "eddsa", "ED25519", "es256", ""];
  for (const alg of names.filter((name) => name !== mint.alg)) yield ["another alg", mint.token({}, { alg })];
  for (const alg of [[mint.alg], null, 1, {}]) yield ["another alg", mint.token({}, { alg })];
  const kids = ["K2", "nobody", "__proto__", "../../dev/null", "x".repeat(64)];
  for (const kid of kids) yield ["another kid", mint.token({}, { kid })];
  for (const kid of ["s1", "k2", "k3", "hs256"].filter((kid) => kid !== mint.headerMembers.kid)) {
    yield ["another kid", mint.token({}, { kid })];
  }
  for (const kid of [1, null, [mint.headerMembers.kid], {}]) {
    yield ["kid of another type", mint.token({}, { kid })];
  }
  for (const kid of ["", "x".repeat(65), "a b", "ü"]) yield ["another kid", mint.token({}, { kid })];
}

/** JSON texts that readers take differently. */
function* texts(mint) {
  const [header, payload] = [mint.header(), mint.payload({ ext: { role: "user" } })];
  for (const [name, value] of Object.entries(mint.headerMembers)) {
    const first = name.charCodeAt(0).toString(16).padStart(4, "0");
    for (const spelt of [name, `\\u${first}${name.slice(1)}`]) {
      const twice = header.replace("{", `{"${spelt}":${JSON.stringify(value)},`);
      yield ["member twice", mint.sign(twice, payload)];
    }
  }
  for (const spelt of ["exp", "\\u0065xp"]) {
    yield ["member twice", mint.sign(header, payload.replace("{", `{"${spelt}":9999999999,`))];
  }
  yield ["member twice", mint.sign(header, payload.replace('"role"', '"role":"admin","role"'))];
  const other = ["[]", "null", "1", '"x"', "true", "", "{}{}", "{} x", "{", '{"a":1,}', "{'a':1}", '["a"]', "NaN"];
  for (const odd of other) {
    yield ["no JSON object", mint.sign(header, odd)];
    yield ["no JSON object", mint.sign(odd, payload)];
  }
  for (const end of [" x", "{}", "\0", ",", "//"]) {
    yield ["data after the object", mint.sign(header, payload + end)];
    yield ["data after the object", mint.sign(header + end, payload)];
  }
  yield ["byte order mark", mint.sign(header, `\ufeff${payload}`)];
  yield ["byte order mark", mint.sign(`\ufeff${header}`, payload)];
  const broken = Buffer.from(payload.replace('"user"', '"\xff\xfe"'), "latin1");
  yield ["no UTF-8", mint.sign(header, broken)];
  yield ["half a surrogate pair", mint.sign(header, payload.replace('"user"', '"\\ud800"'))];
  yield ["number beyond doubles", mint.sign(header, payload.replace('"user"', "1e400"))];
  const deep = (levels) => payload.replace('"user"', "[".repeat(levels) + "]".repeat(levels));
  yield ["nested deeply", mint.sign(header, deep(200))];
  yield ["too long", mint.token({ unknown: "x".repeat(3000) })];
  yield ["header too long", mint.sign(`${header}${" ".repeat(513 - header.length)}`, payload)];
  yield ["good", mint.sign(`${header}${" ".repeat(512 - header.length)}`, payload)];
}

/** Texts of other shapes; only those that a cookie carries. */
function* shapes(mint) {
  const token = mint.token();
  const [header, payload, signature] = token.split(".");
  const last = ALPHABET.indexOf(signature.at(-1));
  for (const bit of [1, 2, 3]) {
    yield ["same bytes spelt otherwise", token.slice(0, -1) + ALPHABET[last ^ bit]];
  }
  for (const odd of [
    ".",
    "..",
    `${header}.${payload}`,
    `${token}.${signature}`,
    `${token}.`,
    `.${token}`,
    `.${payload}.${signature}`,
    `${header}..${signature}`,
    `${header}.${payload}.`,
    `${header}.${header}.${signature}`,
    `${header}.${payload}..${signature}`,
    `{"protected":"${header}"}`,
  ]) {
    yield ["another shape", odd];
  }
  yield ["same bytes spelt otherwise", `${token}=`];
  yield ["same bytes spelt otherwise", `${token}==`];
  yield ["same bytes spelt otherwise", `${header}=.${payload}.${signature}`];
  yield ["quotes around it", `"${token}"`];
  const inBase64 = signature.replaceAll("-", "+").replaceAll("_", "/");
  yield ["same bytes spelt otherwise", `${header}.${payload}.${inBase64}`];
}

function* signatures(mint) {
  const [input, signature] = mint.parts();
  const compact = (bytes) => `${input}.${encode(bytes)}`;
  yield ["another signature", compact(Buffer.alloc(signature.length))];
  yield ["another signature", compact(Buffer.alloc(signature.length, 255))];
  yield ["another signature", compact(signature.subarray(0, -1))];
  yield ["another signature", compact(Buffer.concat([signature, Buffer.alloc(1)]))];
  yield ["another signature", compact(signature.subarray(0, 16))];
  yield ["another signature", compact(Buffer.from(signature).reverse())];
  const asSecret = Object.values(mint.keys).flatMap((key) => [key.publicBytes, JSON.stringify(key.jwk)]);
  for (const secret of [...asSecret, ""]) {
    yield ["public key as secret", macCompact(secret, mint.header({ alg: "HS256" }), mint.payload())];
  }
  if (mint.alg === "HS256") return;
  yield ["another signature", new Key("x", mint.alg).compact(mint.header(), mint.payload())];
  if (mint.alg === "ES256") yield* es256Signatures(input, signature);
  else yield* ed25519Signatures(mint, input, signature);
}

function* es256Signatures(input, signature) {
  const number = (bytes) => BigInt(`0x${bytes.toString("hex")}`);
  const bytes = (value) => Buffer.from(value.toString(16).padStart(64, "0"), "hex");
  const [r, s] = [signature.subarray(0, 32), signature.subarray(32)];
  const compact = (...halves) => `${input}.${encode(Buffer.concat(halves))}`;
  yield ["ES256 twin", compact(r, bytes(P256_ORDER - number(s)))];
  for (const odd of [0n, P256_ORDER, 2n ** 256n - 1n]) {
    yield ["another signature", compact(r, bytes(odd))];
    yield ["another signature", compact(bytes(odd), s)];
  }
}

function* ed25519Signatures(mint, input, signature) {
  const [r, s] = [signature.subarray(0, 32), signature.subarray(32)];
  const compact = (...halves) => `${input}.${encode(Buffer.concat(halves))}`;
  yield ["S plus the order", compact(r, littleEndian(fromLittleEndian(s) + ED25519_ORDER))];
  const identity = littleEndian(1n);
  for (const weak of [identity, littleEndian(0n), littleEndian(ED25519_PRIME - 1n)]) {
    yield ["another signature", compact(weak, s)];
    yield ["another signature", compact(weak, Buffer.alloc(32))];
  }
  // S = r + k·a with an R that is not r·B alone: only the key's holder can make these.
  const holder = new Holder(mint.key);
  yield ["R is the identity", compact(identity, holder.solve(0n, identity, input))];
  const { scalar, point } = newNonce();
  yield ["good", compact(point, holder.solve(scalar, point, input))];
  const moved = plusPointOfOrderTwo(point);
  yield ["R with a part of low order", compact(moved, holder.solve(scalar, moved, input))];
}

/** Who has an Ed25519 key and signs as they like, RFC 8032 §5.1.6. */
class Holder {
  constructor(key) {
    this.publicBytes = key.publicBytes;
    this.scalar = scalarOf(Buffer.from(key.privateJwk.d, "base64url"));
  }

  /** S for a nonce and whatever stands in place of its point. */
  solve(nonce, point, input) {
    const hash = createHash("sha512").update(point).update(this.publicBytes).update(input).digest();
    return littleEndian((nonce + fromLittleEndian(hash) * this.scalar) % ED25519_ORDER);
  }
}

/** A scalar and its point: an Ed25519 key pair is one. */
function newNonce() {
  const seed = randomBytes(32);
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
  const point = Buffer.from(createPublicKey(key).export({ format: "jwk" }).x, "base64url");
  return { scalar: scalarOf(seed), point };
}

function scalarOf(seed) {
  const bytes = createHash("sha512").update(seed).digest().subarray(0, 32);
  bytes[0] &= 248;
  bytes[31] = (bytes[31] & 127) | 64;
  return fromLittleEndian(bytes);
}

/** (x, y) + (0, −1) = (−x, −y). */
function plusPointOfOrderTwo(point) {
  const encoded = fromLittleEndian(point);
  const [sign, y] = [encoded >> 255n, encoded & (2n ** 255n - 1n)];
  return littleEndian(((1n - sign) << 255n) | (ED25519_PRIME - y));
}

function fromLittleEndian(bytes) {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}

function littleEndian(value) {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse();
}

/** One to three bytes changed, left out or put in. */
function* mutations(mint) {
  for (let count = 0; count < 60; count += 1) {
    const unchanged = mint.token();
    let token = unchanged;
    for (let left = 1 + mint.random(3); left > 0; left -= 1) token = mutated(token, mint.random);
    yield [kindOfMutation(token, unchanged), token];
  }
}

/** A signature whose bytes are the same in another spelling is another question than a wrong byte. */
function kindOfMutation(token, unchanged) {
  if (token === unchanged) return "good";
  const at = unchanged.lastIndexOf(".") + 1;
  const bytes = (text) => Buffer.from(text.slice(at), "base64url");
  const isSame = token.startsWith(unchanged.slice(0, at)) && bytes(token).equals(bytes(unchanged));
  return isSame ? "same bytes spelt otherwise" : "mutated";
}

function mutated(token, random) {
  const at = random(token.length);
  const other = CARRIED[random(CARRIED.length)];
  const taken = random(10) === 0 ? 0 : 1;
  return token.slice(0, at) + (random(10) === 0 ? "" : other) + token.slice(at + taken);
}
