// The edge between a stand-in service and a stand-in app: for what the real ones never do.

import assert from "node:assert/strict";
import { send, sendRaw } from "./client.mjs";
import { StandInApp } from "./stand_in_app.mjs";
import { StandInService } from "./stand_in_service.mjs";
import { edgeSettings, newKey, startEdge } from "./system.mjs";

export const DIAGNOSTIC_CREDENTIAL = "hpc_diagnostic_e2e";

/**
 * Starts another edge in bare workerd, with an empty memory, between the same service and app.
 *
 * @param {Gate} gate
 * @param {Record<string, unknown>} [settings]
 * @param {Record<string, string>} [secrets]
 */
export async function freshGate(gate, settings = {}, secrets = {}) {
  const { service, app, assertionKey } = gate;
  const { issuer, audience } = service.issuer;
  const between = { issuer, audience, serviceUrl: service.origin, upstreamUrl: app.origin };
  const all = { EDGE_CREDENTIAL: service.credential, ASSERTION_KEY: assertionKey, ...secrets };
  const edge = await startEdge({ raw: true, settings: edgeSettings(between, settings), secrets: all });
  return new Gate({ service, app, edge, assertionKey, raw: true });
}

/**
 * Starts all three.
 *
 * @param {{raw: boolean, settings?: Record<string, unknown>, secrets?: Record<string, string>}} options
 */
export async function startGate({ raw, settings = {}, secrets = {} }) {
  const [service, app] = await Promise.all([new StandInService().start(), new StandInApp().start()]);
  const assertionKey = newKey();
  const { issuer, audience } = service.issuer;
  const between = { issuer, audience, serviceUrl: service.origin, upstreamUrl: app.origin };
  const edge = await startEdge({
    raw,
    settings: edgeSettings(between, settings),
    secrets: {
      EDGE_CREDENTIAL: service.credential,
      ASSERTION_KEY: assertionKey,
      DIAGNOSTIC_CREDENTIAL,
      ...secrets,
    },
  });
  return new Gate({ service, app, edge, assertionKey, raw });
}

/** A running gate and short ways to ask it. */
export class Gate {
  constructor({ service, app, edge, assertionKey, raw }) {
    Object.assign(this, { service, app, edge, assertionKey, raw });
    this.origin = edge.origin;
    this.issuer = service.issuer;
  }

  /** A request with this session token in its cookie. */
  withCookie(token, request = {}) {
    return this.send({
      ...request,
      headers: [["Cookie", `__Host-session=${token}`], ...(request.headers ?? [])],
    });
  }

  /** A request with this session token as bearer. */
  withBearer(token, request = {}) {
    return this.send({
      ...request,
      headers: [["Authorization", `Bearer ${token}`], ...(request.headers ?? [])],
    });
  }

  send(request) {
    return send(this.origin, request);
  }

  /**
   * A GET of a path that no client would send as it is.
   *
   * @param {string} path
   */
  getRaw(path) {
    const { host } = new URL(this.origin);
    return sendRaw(this.origin, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  }

  /**
   * Asks as a program and expects this refusal as a problem document, and the app to see nothing.
   *
   * @param {() => Promise<import("./client.mjs").Answer>} ask
   * @param {string} code
   * @param {number} status
   */
  async refuses(ask, code, status) {
    const before = this.app.seen.length;
    const answer = await ask();
    assert.equal(this.app.seen.length, before, "the app saw a refused request");
    assertProblem(answer, code, status);
    return answer;
  }

  async stop() {
    await this.edge.stop();
    await this.app.stop();
    await this.service.stop();
  }
}

/** Asserts a problem document as §8 has it. */
export function assertProblem(answer, code, status) {
  const { headers } = answer;
  assert.equal(headers["content-type"], "application/problem+json", answer.text.slice(0, 300));
  const { json } = answer;
  assert.deepEqual(
    { status: answer.status, code: json.code, said: json.status },
    { status, code, said: status },
  );
  assert.equal(typeof json.type, "string");
  assert.ok(json.title.length > 0);
  assert.match(json.request_id, /^[A-Za-z0-9_-]{22}$/);
  assert.match(headers["cache-control"], /(^|, )no-store$/);
  assert.equal(headers["www-authenticate"], status === 401 ? "Bearer" : undefined);
  if (status === 503) assert.match(headers["retry-after"], /^\d+$/);
}
