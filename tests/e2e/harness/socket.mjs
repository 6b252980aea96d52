// A WebSocket client by hand (RFC 6455): the one of Node can send neither cookies nor an origin.

import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { within } from "./wait.mjs";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE = 8;

/**
 * Opens a socket as a page of the edge's own origin would; `headers` of it are the answer's, as text.
 *
 * @param {string} origin of the edge
 * @param {string} token session token for the cookie
 * @param {string} [path]
 */
export async function openSocket(origin, token, path = "/ws") {
  const { host, hostname, port } = new URL(origin);
  const key = randomBytes(16).toString("base64");
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
    `Origin: ${origin}`,
    "Sec-Fetch-Site: same-origin",
    `Cookie: __Host-session=${token}`,
  ];
  const stream = connect({ host: hostname, port: Number(port) });
  stream.write(`${lines.join("\r\n")}\r\n\r\n`);
  const socket = new Socket(stream);
  const head = await within("the upgrade", socket.head());
  const accept = createHash("sha1")
    .update(key + GUID)
    .digest("base64");
  if (
    !head.startsWith("HTTP/1.1 101 ") ||
    !head.toLowerCase().includes(`sec-websocket-accept: ${accept}`.toLowerCase())
  ) {
    stream.destroy();
    throw new Error(`no upgrade: ${head}`);
  }
  socket.headers = head;
  return socket;
}

class Socket {
  headers = "";
  #stream;
  #bytes = Buffer.alloc(0);
  #wake = () => {};

  constructor(stream) {
    this.#stream = stream;
    stream.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    stream.on("error", () => {});
  }

  /** The answer's head. */
  async head() {
    while (!this.#bytes.includes("\r\n\r\n")) await this.#more();
    return this.#take(this.#bytes.indexOf("\r\n\r\n") + 4).toString("latin1");
  }

  /** @param {number} opcode 1 text, 2 binary @param {Buffer} payload */
  send(opcode, payload) {
    const mask = randomBytes(4);
    const masked = Buffer.from(payload.map((byte, i) => byte ^ mask[i % 4]));
    this.#stream.write(Buffer.concat([Buffer.from([0x80 | opcode]), lengthOf(payload.length), mask, masked]));
  }

  /** The next whole message. */
  async receive() {
    const parts = [];
    for (let first; ;) {
      const { fin, opcode, payload } = await this.#frame();
      first ??= opcode;
      parts.push(payload);
      if (fin) return { opcode: first, payload: Buffer.concat(parts) };
    }
  }

  close() {
    this.send(CLOSE, Buffer.from([0x03, 0xe8]));
    this.#stream.destroySoon();
  }

  async #frame() {
    const [one, two] = await this.#exactly(2);
    const short = two & 0x7f;
    const length =
      short === 126
        ? (await this.#exactly(2)).readUInt16BE()
        : short === 127
          ? Number((await this.#exactly(8)).readBigUInt64BE())
          : short;
    return { fin: (one & 0x80) !== 0, opcode: one & 0x0f, payload: await this.#exactly(length) };
  }

  async #exactly(count) {
    while (this.#bytes.length < count) await this.#more();
    return this.#take(count);
  }

  #take(count) {
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  #more() {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}

/** The length of a masked frame. */
function lengthOf(length) {
  if (length < 126) return Buffer.from([0x80 | length]);
  const header = Buffer.alloc(length < 65_536 ? 3 : 9);
  header[0] = 0x80 | (length < 65_536 ? 126 : 127);
  if (length < 65_536) header.writeUInt16BE(length, 1);
  else header.writeBigUInt64BE(BigInt(length), 1);
  return header;
}
