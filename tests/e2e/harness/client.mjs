// Clients of the edge: one plain request, and a browser or program with a cookie jar of its own.
//
// Requests go out over node:http with the headers exactly as given, duplicates and odd bytes
// included; nothing is followed, folded or unpacked. Each has a connection of its own, so that a
// restarted server is never met through an old one.

import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { CookieJar } from "./jar.mjs";
import { within } from "./wait.mjs";

/** No answer of the edge may take longer: its own deadlines in these tests are a second or two. */
const ANSWER_DEADLINE_MS = 15_000;

/**
 * @typedef {[string, string][]} HeaderPairs
 * @typedef {string | Buffer | AsyncIterable<Buffer>} Body
 * @typedef {{method?: string, path?: string, headers?: HeaderPairs, body?: Body, host?: string}} RequestParts
 */

/** One answer, read whole. */
export class Answer {
  /**
   * @param {import("node:http").IncomingMessage} message
   * @param {Buffer} body
   */
  constructor(message, body) {
    this.status = message.statusCode;
    this.headers = message.headers;
    this.rawHeaders = message.rawHeaders;
    this.body = body;
  }

  get text() {
    return this.body.toString("utf8");
  }

  get json() {
    return JSON.parse(this.text);
  }

  /** `Set-Cookie` lines. */
  get cookies() {
    return this.headers["set-cookie"] ?? [];
  }

  /** The code of a problem document; undefined for any other answer. */
  get code() {
    const isProblem = this.headers["content-type"]?.startsWith("application/problem+json");
    return isProblem ? this.json.code : undefined;
  }
}

/**
 * Sends one request.
 *
 * @param {string} origin
 * @param {RequestParts} request
 * @returns {Promise<Answer>}
 */
export async function send(origin, request) {
  const message = await open(origin, request);
  const chunks = [];
  for await (const chunk of message) chunks.push(chunk);
  return new Answer(message, Buffer.concat(chunks));
}

/**
 * Sends one request and returns as soon as the answer's headers are there.
 *
 * @param {string} origin
 * @param {RequestParts} request
 * @returns {Promise<import("node:http").IncomingMessage>}
 */
export function open(origin, { method = "GET", path = "/", headers = [], body, host }) {
  const { hostname, port } = new URL(origin);
  const length =
    typeof body === "string" || Buffer.isBuffer(body) ? [["Content-Length", Buffer.byteLength(body)]] : [];
  const pairs = [["Host", host ?? `${hostname}:${port}`], ...length, ...headers];
  const outcome = new Promise((resolve, reject) => {
    const flat = pairs.flat().map(String);
    const sent = httpRequest({ hostname, port, method, path, headers: flat, agent: false, setHost: false });
    sent.on("response", resolve);
    sent.on("upgrade", (message, socket) => {
      socket.destroy();
      resolve(Object.assign(message, { upgraded: true }));
    });
    sent.on("error", reject);
    write(sent, body).catch(reject);
  });
  return within(`an answer to ${method} ${path.slice(0, 80)}`, outcome, ANSWER_DEADLINE_MS);
}

async function write(sent, body) {
  if (body?.[Symbol.asyncIterator] && !Buffer.isBuffer(body)) {
    for await (const chunk of body) sent.write(chunk);
    sent.end();
  } else {
    sent.end(body);
  }
}

/**
 * Writes bytes to the edge as they are and reads until it closes: for what no HTTP client sends.
 *
 * @param {string} origin
 * @param {string} text in latin1, one character a byte; must ask for `Connection: close`
 * @returns {Promise<{status: number, code: string | undefined, text: string}>} status 0: no answer
 */
export async function sendRaw(origin, text) {
  const { hostname, port } = new URL(origin);
  const socket = connect({ host: hostname, port: Number(port) });
  const chunks = [];
  const closed = new Promise((resolve) => {
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("close", resolve);
    // A reset is an answer too: the runtime wants no more of it.
    socket.on("error", () => {});
  });
  socket.write(text, "latin1");
  await within(`an answer to ${JSON.stringify(text.slice(0, 80))}`, closed, ANSWER_DEADLINE_MS);
  const answer = Buffer.concat(chunks).toString("latin1");
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0),
    code: /"code":"([a-z_]+)"/.exec(answer)?.[1],
    text: answer,
  };
}

/**
 * Calls `act` for each item, this many at once, and returns what came of each.
 *
 * @template T, U
 * @param {T[]} items
 * @param {number} atOnce
 * @param {(item: T, index: number) => Promise<U>} act
 * @returns {Promise<U[]>}
 */
export async function inParallel(items, atOnce, act) {
  const outcomes = Array(items.length);
  let next = 0;
  const work = async () => {
    for (let i = next++; i < items.length; i = next++) outcomes[i] = await act(items[i], i);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return outcomes;
}

const PAGE = [
  ["Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"],
  ["Sec-Fetch-Dest", "document"],
  ["Sec-Fetch-Mode", "navigate"],
];

/** Somebody with a cookie jar. */
export class Client {
  jar = new CookieJar();

  /**
   * @param {string} origin of the edge
   * @param {{userAgent?: string}} [options]
   */
  constructor(origin, { userAgent = "e2e/1.0" } = {}) {
    this.origin = origin;
    this.userAgent = userAgent;
  }

  /**
   * Sends a request with this client's cookies and keeps those of the answer.
   *
   * @param {RequestParts} request
   */
  async send({ headers = [], ...request }) {
    const cookies = this.jar.header();
    const own = [["User-Agent", this.userAgent], ...(cookies ? [["Cookie", cookies]] : [])];
    const answer = await send(this.origin, { ...request, headers: [...own, ...headers] });
    this.jar.take(answer.cookies);
    return answer;
  }

  /** Another tab, or a thief: somebody with the same cookies, from now on apart. */
  copy() {
    const copy = new Client(this.origin, this);
    copy.jar = this.jar.copy();
    return copy;
  }

  /** As a browser opens a page. @param {string} path */
  page(path) {
    return this.send({ path, headers: [...PAGE, ["Sec-Fetch-Site", "none"]] });
  }

  /**
   * As a script of our own pages, or a program, asks.
   *
   * @param {string} path
   * @param {RequestParts} [request]
   */
  api(path, { headers = [], ...request } = {}) {
    const own = [
      ["Accept", "application/json"],
      ["Origin", this.origin],
    ];
    return this.send({ ...request, path, headers: [...own, ...headers] });
  }

  /**
   * As a browser posts a form of our own pages.
   *
   * @param {string} path
   * @param {Record<string, string>} form
   */
  submit(path, form = {}) {
    const kind = ["Content-Type", "application/x-www-form-urlencoded"];
    const from = [
      ["Origin", this.origin],
      ["Sec-Fetch-Site", "same-origin"],
    ];
    const body = new URLSearchParams(form).toString();
    return this.send({ method: "POST", path, headers: [...PAGE, ...from, kind], body });
  }

  /** Signs in at the demo app; the answer that sets the cookies. @param {string} user */
  signIn(user, returnTo = "/") {
    return this.submit("/sign-in", { user, password: "demo", return_to: returnTo });
  }

  get sessionToken() {
    return this.jar.get("__Host-session");
  }

  get renewalToken() {
    return this.jar.get("__Host-renewal");
  }

  /** Claims of the session token, unverified. */
  get claims() {
    return this.sessionToken && JSON.parse(Buffer.from(this.sessionToken.split(".")[1], "base64url"));
  }
}
