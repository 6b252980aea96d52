// A server of the tests' own on 127.0.0.1: on a free port first, on the same one ever after; a stop
// cuts every connection, so that it looks like a program that has ended.

import { forget, keep } from "./children.mjs";

export class LocalServer {
  #server;
  #sockets = new Set();
  #port = 0;

  /** @param {import("node:http").Server} server */
  constructor(server) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start() {
    await new Promise((done) => this.#server.listen(this.#port, "127.0.0.1", done));
    this.#port = this.#server.address().port;
    return keep(this);
  }

  async stop() {
    forget(this);
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((done) => this.#server.close(done));
  }
}
