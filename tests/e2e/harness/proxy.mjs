// A proxy on a fixed port that counts the calls that go through it, and can hold them: between edge
// and service to prove that no call was made, between edge and app to be a slow app.

import { Agent, createServer, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { LocalServer } from "./local_server.mjs";

export class Proxy extends LocalServer {
  /** @type {{method: string, path: string, status?: number}[]} */
  calls = [];
  /** How long answers are held, in milliseconds. */
  holdMs = 0;
  #agent = new Agent({ keepAlive: false });

  /** @param {string} target origin to pass requests on to; may be changed, and may be down */
  constructor(target) {
    const server = createServer((request, response) => this.#pass(request, response));
    server.on("upgrade", (request, socket, head) => this.#tunnel(request, socket, head));
    super(server);
    this.target = target;
  }

  /** Calls to paths that begin so. @param {string} path */
  count(path) {
    return this.calls.filter((call) => call.path.startsWith(path)).length;
  }

  /** Calls but those for the revocation list, which go on beside requests and not for them. */
  get callsForRequests() {
    return this.calls.filter((call) => !call.path.startsWith("/v1/edge/revocations"));
  }

  #pass(request, response) {
    const call = { method: request.method, path: request.url };
    this.calls.push(call);
    const { hostname, port } = new URL(this.target);
    const { method, url: path, rawHeaders: headers } = request;
    const sent = httpRequest({ hostname, port, method, path, headers, agent: this.#agent });
    sent.on("response", async (answer) => {
      call.status = answer.statusCode;
      await pause(this.holdMs);
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    // What is down looks down: the connection is cut, no answer is made up.
    sent.on("error", () => response.destroy());
    response.on("close", () => sent.destroy());
    request.pipe(sent);
  }

  #tunnel(request, socket, head) {
    const { hostname, port } = new URL(this.target);
    const upstream = connect({ host: hostname, port: Number(port) }, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2) {
        lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
      }
      upstream.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
      upstream.write(head);
      socket.pipe(upstream).pipe(socket);
    });
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
  }
}
