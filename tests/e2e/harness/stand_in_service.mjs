// A session service written from docs/protocol.md §3 alone: keys, the signed revocation list,
// renewal and the portal's calls. It has no table; tests tell it what is revoked and how to answer.

import { createServer } from "node:http";
import { LocalServer } from "./local_server.mjs";
import { Issuer, encode, newRenewalToken, roaring } from "./mint.mjs";
import { now } from "./wait.mjs";

const EPOCH = "e2e-epoch";

/**
 * @typedef {import("node:http").IncomingHttpHeaders} Headers
 * @typedef {{method: string, path: string, query: URLSearchParams, headers: Headers, body: any}} Call
 * @typedef {{status: number, headers?: Record<string, string>, body?: string | object, stalls?: boolean}} Reply
 *   status 0: none; stalls: half of the body, and never the rest
 * @typedef {{session: {keys: object[]}, list: {keys: object[]}}} Keys
 */

export class StandInService extends LocalServer {
  issuer = new Issuer();
  credential = "hpc_edge_e2e";
  /** @type {Call[]} every call, oldest first */
  calls = [];
  /** @type {number[]} indexes of revoked sessions */
  revoked = [];
  revokedBefore = 0;
  /** Key ids trusted now. */
  kids = [this.issuer.sessionKey.kid];
  /** Further session keys to publish. @type {import("./mint.mjs").Key[]} */
  extraKeys = [];
  /** What `renew` answers. @type {(call: Call) => Reply} */
  onRenew = () => problem(401, "renewal_unknown");
  /** Holds an answer back. @type {(call: Call) => Promise<void> | void} */
  beforeAnswer = () => {};
  /** What `revoke` answers. @type {(call: Call) => Reply} */
  onRevoke = () => ({
    status: 200,
    body: { revoked: 1, list: { epoch: EPOCH, to: this.#to }, committed_at_ms: Date.now() },
  });
  /** What `GET /v1/edge/sessions/{sid}` answers. @type {(call: Call) => Reply} */
  onLiveness = () => ({ status: 200, body: { live: true, ends_at: now() + 3600 } });
  /** What `GET /v1/edge/me/sessions` answers. @type {(call: Call) => Reply} */
  onSessions = () => ({ status: 200, body: { sessions: [], ended: [] } });
  /** Changes the answer with the keys. @type {(keys: Keys) => object} */
  onKeys = (keys) => keys;
  /** Changes the answer with the list. @type {(reply: Reply) => Reply} */
  onList = (reply) => reply;
  #to = 1;

  constructor() {
    super(createServer((request, response) => this.#serve(request, response)));
  }

  /** Revokes a session by its index; the list has a new number. */
  revoke(index) {
    this.revoked.push(index);
    this.#to += 1;
  }

  /** Changes who or what is trusted, under a new number. */
  change(changes) {
    Object.assign(this, changes);
    this.#to += 1;
  }

  /** A renewal's answer with a fresh token of these claims. */
  renewed(claims) {
    return {
      status: 200,
      body: {
        session_token: this.issuer.token(claims),
        renewal_token: newRenewalToken(),
        session_ends_at: now() + 3600,
        persistent: true,
      },
    };
  }

  /** Claims of the whole list, without its sessions. */
  get listClaims() {
    const { revokedBefore: revoked_before, kids } = this;
    return { epoch: EPOCH, began: now() - 3600, from: 0, to: this.#to, revoked_before, kids, sessions: [] };
  }

  async #serve(request, response) {
    const url = new URL(request.url, this.origin);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString("utf8");
    const call = {
      method: request.method,
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: text ? JSON.parse(text) : undefined,
    };
    this.calls.push(call);
    await this.beforeAnswer(call);
    const { status, headers = {}, body, stalls } = this.#answer(call);
    if (status === 0) return response.destroy();
    const kind = status < 400 ? "application/json" : "application/problem+json";
    response.writeHead(status, { "content-type": kind, "cache-control": "no-store", ...headers });
    const whole = typeof body === "object" ? JSON.stringify(body) : body;
    if (stalls) response.write(whole.slice(0, whole.length / 2));
    else response.end(whole);
  }

  /** @param {Call} call @returns {Reply} */
  #answer(call) {
    if (call.headers.authorization !== `Bearer ${this.credential}`) return problem(401, "credential_refused");
    switch (`${call.method} ${call.path}`) {
      case "GET /v1/edge/keys":
        return { status: 200, body: this.onKeys(this.#keys()) };
      case "GET /v1/edge/revocations":
        return this.onList(this.#revocations(call));
      case "POST /v1/edge/renew":
        return this.onRenew(call);
      case "POST /v1/edge/me/revoke":
        return this.onRevoke(call);
      case "GET /v1/edge/me/sessions":
        return this.onSessions(call);
      default:
        return call.path.startsWith("/v1/edge/sessions/") ? this.onLiveness(call) : problem(404, "not_found");
    }
  }

  #keys() {
    const session = [this.issuer.sessionKey, ...this.extraKeys].map((key) => key.jwk);
    return { session: { keys: session }, list: { keys: [this.issuer.listKey.jwk] } };
  }

  #revocations({ query }) {
    const position = { "hallpass-list": `epoch="${EPOCH}", to=${this.#to}, confirmed_ms=0` };
    if (query.get("epoch") === EPOCH && Number(query.get("after")) === this.#to) {
      return { status: 204, headers: position };
    }
    const minute = (Math.floor(now() / 60) + 120) * 60;
    const sessions = this.revoked.length ? [{ exp: minute, idx: encode(roaring(this.revoked)) }] : [];
    const body = this.issuer.list({ ...this.listClaims, sessions });
    return { status: 200, headers: { ...position, "content-type": "application/jose" }, body };
  }
}

/** @returns {Reply} */
export function problem(status, code) {
  return { status, body: { type: "about:blank", title: code, status, code, request_id: "e2e" } };
}
