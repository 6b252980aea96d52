// Three verifiers that share no code for the same token: the rules with jwt-simple in a native
// program, the built edge with WebCrypto over HTTP, and panva/jose.

import { spawnSync } from "node:child_process";
import { Agent, request as httpRequest } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compactVerify, createLocalJWKSet, errors, importJWK, jwtVerify } from "jose";
import { within } from "./wait.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
/** `hallpass-vectors`, optimised: signatures take ten times as long without. */
const PROGRAM = process.env.HALLPASS_VECTORS ?? join(ROOT, "target/native/hallpass-vectors");
/** Answers of the program in all, in bytes: a word each. */
const MAX_OUTPUT_BYTES = 1 << 24;
const ANSWER_DEADLINE_MS = 15_000;
/** Connections to the edge at once. */
const CONNECTIONS = 16;
/** `clock_skew_secs` and `max_token_lifetime_secs` unless set. */
const CLOCK_SKEW_SECS = 5;
const MAX_TOKEN_LIFETIME_SECS = 3600;

/**
 * @typedef {{issuer: string, audience: string, keys: {keys: object[]}, secret: Buffer}} Trust whom to trust
 * @typedef {{accepts: boolean, says: string}} Verdict
 */

/** Whom the native rules trust, as a line for `judgeNatively`. @param {Trust} trust */
export function trustLine({ issuer, audience, keys, secret }) {
  const bounds = { clock_skew_secs: CLOCK_SKEW_SECS, max_token_lifetime_secs: MAX_TOKEN_LIFETIME_SECS };
  return { trust: { issuer, audience, keys, secret: secret.toString("base64url"), ...bounds } };
}

/**
 * What the native program says of each line.
 *
 * @param {object[]} lines
 * @returns {string[]} a word each
 */
export function judgeNatively(lines) {
  const input = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const { error, status, stdout, stderr } = spawnSync(PROGRAM, ["judge"], {
    input,
    encoding: "utf8",
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  if (error || status !== 0) {
    throw new Error(`${PROGRAM}: ${error ?? stderr} (cargo build --profile native -p hallpass-vectors)`);
  }
  return stdout.trimEnd().split("\n");
}

/** Asks an edge about tokens in its session cookie, over connections that stay open. */
export class EdgeVerifier {
  #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  #url;

  /** @param {string} origin */
  constructor(origin) {
    this.#url = `${origin}/private`;
  }

  /** @param {string} token @returns {Promise<string>} `accepted`, the refusal's code, or what else came */
  async judge(token) {
    const answered = new Promise((resolve, reject) => {
      const headers = { Cookie: `__Host-session=${token}` };
      const sent = httpRequest(this.#url, { agent: this.#agent, headers });
      sent.on("error", reject).on("response", (message) => resolve(read(message)));
      sent.end();
    });
    const { status, text } = await within("the edge's verdict", answered, ANSWER_DEADLINE_MS);
    if (status === 200) return "accepted";
    return status === 401 ? JSON.parse(text).code : `status ${status}: ${text}`;
  }

  close() {
    this.#agent.destroy();
  }
}

async function read(message) {
  const chunks = [];
  for await (const chunk of message) chunks.push(chunk);
  return { status: message.statusCode, text: Buffer.concat(chunks).toString("utf8") };
}

/** jose, as strict as its settings go. */
export class JoseVerifier {
  #trust;
  #keys;

  /** @param {Trust} trust */
  constructor(trust) {
    this.#trust = trust;
    this.#keys = createLocalJWKSet(trust.keys);
  }

  /**
   * jose has one tolerance for both ends of a token's life, the protocol has one for its beginning
   * only: a token that begins ahead is asked about again, with its end judged without tolerance.
   *
   * @param {string} token
   * @param {number} now in seconds
   * @returns {Promise<Verdict>}
   */
  async judge(token, now) {
    const firm = await this.#verify(token, now, 0);
    if (firm.says !== "nbf check_failed") return firm;
    const { claims, ...lenient } = await this.#verify(token, now, CLOCK_SKEW_SECS);
    return lenient.accepts && claims.exp <= now ? { accepts: false, says: "exp" } : lenient;
  }

  async #verify(token, now, clockTolerance) {
    const { issuer, audience } = this.#trust;
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        issuer,
        audience,
        clockTolerance,
        algorithms: ["EdDSA", "Ed25519", "ES256", "HS256"],
        typ: "session+jwt",
        requiredClaims: ["iss", "aud", "sub", "sid", "idx", "iat", "exp", "auth_time"],
        currentDate: new Date(now * 1000),
      });
      return { accepts: true, says: "accepted", claims: payload };
    } catch (error) {
      return { accepts: false, says: complaint(error) };
    }
  }

  #key = (header, token) => {
    if (header.alg !== "HS256") return this.#keys(header, token);
    if (header.kid !== "hs256") throw new errors.JWKSNoMatchingKey();
    return this.#trust.secret;
  };
}

/**
 * What jose says of a JWS's signature under one JWK and the algorithm that it names.
 *
 * @param {object} jwk
 * @param {string} jws
 * @returns {Promise<Verdict>}
 */
export async function judgeSignatureByJose(jwk, jws) {
  try {
    await compactVerify(jws, await importJWK(jwk, jwk.alg), { algorithms: [jwk.alg] });
    return { accepts: true, says: "accepted" };
  } catch (error) {
    return { accepts: false, says: complaint(error) };
  }
}

/** jose's own errors have a code; those of the platform under it a name. */
function complaint(error) {
  if (error.code === "ERR_JWT_CLAIM_VALIDATION_FAILED") return `${error.claim} ${error.reason}`;
  return error.code ?? error.name;
}
