// An app that writes down everything that reaches it, byte for byte as Node hands it over, and
// answers what a test tells it to. A refusal is proven by this app having seen nothing.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { LocalServer } from "./local_server.mjs";

/** RFC 6455 §1.3. */
const SOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/**
 * @typedef {import("node:http").IncomingMessage} Incoming
 * @typedef {Pick<Incoming, "method" | "url" | "rawHeaders" | "headers"> & {body: Buffer}} Seen
 * @typedef {(request: Incoming, response: import("node:http").ServerResponse, seen: Seen) => void} Handler
 */

export class StandInApp extends LocalServer {
  /** @type {Seen[]} every request, oldest first */
  seen = [];
  /** Answers by path; any other path is answered 200. @type {Map<string, Handler>} */
  answers = new Map();

  constructor() {
    const server = createServer((request, response) => this.#serve(request, response));
    server.maxHeadersCount = 0;
    super(server);
    server.on("upgrade", (request, socket) => this.#upgrade(request, socket));
  }

  #upgraded = (_socket) => {};

  /** Hands each upgraded connection to a test. @param {(socket: import("node:stream").Duplex) => void} act */
  onUpgrade(act) {
    this.#upgraded = act;
  }

  /** Header lines of the answer to every upgrade. @type {string[]} */
  upgradeHeaders = [];

  /** The last request. */
  get last() {
    return this.seen.at(-1);
  }

  /** @param {string} path @param {Handler} handler */
  on(path, handler) {
    this.answers.set(path, handler);
  }

  /** Agrees to a socket and never says a word on it. */
  #upgrade(request, socket) {
    const { method, url, rawHeaders, headers } = request;
    this.seen.push({ method, url, rawHeaders, headers, body: Buffer.alloc(0) });
    const accept = createHash("sha1").update(headers["sec-websocket-key"] + SOCKET_GUID).digest("base64");
    const lines = ["Connection: Upgrade", "Upgrade: websocket", `Sec-WebSocket-Accept: ${accept}`];
    const answer = ["HTTP/1.1 101 Switching Protocols", ...lines, ...this.upgradeHeaders];
    socket.write(`${answer.join("\r\n")}\r\n\r\n`);
    this.#upgraded(socket);
  }

  async #serve(request, response) {
    const { method, url, rawHeaders, headers } = request;
    const seen = { method, url, rawHeaders, headers, body: Buffer.alloc(0) };
    this.seen.push(seen);
    const handler = this.answers.get(url.split("?")[0]);
    if (handler?.streams) return handler(request, response, seen);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    seen.body = Buffer.concat(chunks);
    if (handler) return handler(request, response, seen);
    response.writeHead(200, { "content-type": "text/plain" });
    response.end("the app");
  }
}

/**
 * A handler that reads the body itself.
 *
 * @param {Handler} handler
 */
export const streaming = (handler) => Object.assign(handler, { streams: true });
