// What flows through the edge: bodies in both directions, event streams, sockets. docs/protocol.md
// §6, §9. The demo app behind a second edge has the streams; the stand-in app the bodies.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { tidyUp } from "./harness/children.mjs";
import { open } from "./harness/client.mjs";
import { startGate } from "./harness/gate.mjs";
import { openSocket } from "./harness/socket.mjs";
import { streaming } from "./harness/stand_in_app.mjs";
import { LIST_MAX_AGE_SECS, RUNTIMES, edgeSettings, startDemo, startEdge } from "./harness/system.mjs";
import { within } from "./harness/wait.mjs";

tidyUp();

/** A busy machine may be late by this much, in milliseconds. */
const SLACK_MS = 2000;
const AUDIENCE_OF_DEMO = "demo";

for (const { name, raw } of RUNTIMES) {
  describe(`streams in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    let demo, demoEdge;
    before(async () => {
      gate = await startGate({ raw });
      const { issuer, audience } = gate.issuer;
      demo = await startDemo({
        serviceUrl: "http://127.0.0.1:9",
        credential: "hpc_app_unused",
        assertionKey: gate.assertionKey,
        issuer,
        audience: AUDIENCE_OF_DEMO,
      });
      const between = { issuer, audience, serviceUrl: gate.service.origin, upstreamUrl: demo.origin };
      const secrets = { EDGE_CREDENTIAL: gate.service.credential, ASSERTION_KEY: gate.assertionKey };
      const settings = edgeSettings(between, { assertion_audience: AUDIENCE_OF_DEMO });
      demoEdge = await startEdge({ raw, settings, secrets });
    });
    after(async () => {
      await demoEdge.stop();
      await demo.stop();
      await gate.stop();
    });

    const own = () => [["Origin", gate.origin]];

    test("bodies pass unchanged in both directions", async () => {
      gate.app.on("/echo", (request, response, seen) =>
        response.writeHead(200, { "content-type": request.headers["content-type"] }).end(seen.body),
      );
      const bodies = ["", "x", randomBytes(1024), randomBytes(1 << 20)];
      for (const body of bodies) {
        const answer = await gate.withCookie(gate.issuer.token(), {
          method: "POST",
          path: "/echo",
          headers: [...own(), ["Content-Type", "application/x-odd"]],
          body,
        });
        assert.deepEqual([digest(gate.app.last.body), digest(answer.body)], [digest(body), digest(body)]);
        assert.equal(answer.headers["content-type"], "application/x-odd");
      }
      const zipped = gzipSync("zipped ".repeat(1000));
      gate.app.on("/zipped", (_, response) =>
        response.writeHead(200, { "content-encoding": "gzip", "content-type": "text/plain" }).end(zipped),
      );
      const answer = await gate.withCookie(gate.issuer.token(), {
        path: "/zipped",
        headers: [["Accept-Encoding", "gzip"]],
      });
      assert.equal(answer.headers["content-encoding"], "gzip");
      assert.deepEqual(digest(answer.body), digest(zipped));
    });

    test("bodies arrive while they are sent, in both directions", async () => {
      const heard = Promise.withResolvers();
      const sendOn = Promise.withResolvers();
      gate.app.on(
        "/stream",
        streaming((request, response) => {
          request.once("data", () => {
            heard.resolve();
            response.writeHead(200, { "content-type": "text/plain" });
            response.write("first answer");
          });
          request.on("end", () => response.end("last answer"));
        }),
      );
      const body = (async function* () {
        yield Buffer.from("first");
        await sendOn.promise;
        yield Buffer.from("last");
      })();
      const headers = [...own(), ["Cookie", `__Host-session=${gate.issuer.token()}`]];
      const answering = open(gate.origin, { method: "POST", path: "/stream", headers, body });
      await within("the app hears the first part", heard.promise);
      const message = await answering;
      const first = await within("the client hears the first part", nextChunk(message));
      assert.equal(String(first), "first answer");
      sendOn.resolve();
      const last = await within("the client hears the last part", nextChunk(message));
      assert.equal(String(last), "last answer");
    });

    test("event streams arrive while they are written", async () => {
      const headers = [
        ["Cookie", `__Host-session=${gate.issuer.token()}`],
        ["Accept", "text/event-stream"],
      ];
      const message = await open(demoEdge.origin, { path: "/events", headers });
      assert.deepEqual([message.statusCode, message.headers["content-type"]], [200, "text/event-stream"]);
      const first = await within("the first event", nextChunk(message));
      assert.match(String(first), /event: ?tick/);
      const second = await within("the second event", nextChunk(message));
      assert.match(String(second), /"count":2/);
      message.destroy();
    });

    test("sockets carry text and binary messages both ways", async () => {
      const socket = await openSocket(demoEdge.origin, gate.issuer.token());
      for (const [opcode, payload] of [
        [1, Buffer.from("grüße")],
        [2, randomBytes(1000)],
        [2, randomBytes(100_000)],
        [1, Buffer.alloc(0)],
      ]) {
        socket.send(opcode, payload);
        const message = await within("the echo", socket.receive());
        assert.deepEqual([message.opcode, digest(message.payload)], [opcode, digest(payload)]);
      }
      socket.close();
    });

    test("socket with an odd close code ends at the app as well", async () => {
      const closed = new Promise((ended) => gate.app.onUpgrade((socket) => socket.once("data", ended)));
      const socket = await openSocket(gate.origin, gate.issuer.token());
      socket.send(8, Buffer.from([0x13, 0x88]));
      const frame = await within("the app hears the end", closed);
      assert.equal(frame[0] & 0x0f, 8);
      socket.close();
    });

    test("an upgrade's answer cannot set our cookie nor speak in our name, guarded or not", async () => {
      gate.app.upgradeHeaders = [
        "Set-Cookie: __Host-session=evil; Path=/; Secure",
        "Set-Cookie: theme=dark",
        "Hallpass-Subject: mallory",
        "X-Of-The-App: kept",
      ];
      for (const path of ["/ws", "/public/ws"]) {
        const socket = await openSocket(gate.origin, gate.issuer.token(), path);
        assert.doesNotMatch(socket.headers, /evil|mallory|hallpass-/i, path);
        assert.match(socket.headers, /theme=dark/, path);
        assert.match(socket.headers, /x-of-the-app: kept/i, path);
        socket.close();
      }
    });

    test("socket ends within the bound after its session, others go on", async () => {
      const claims = gate.issuer.claims();
      const [ended, other] = await Promise.all(
        [gate.issuer.token(claims), gate.issuer.token()].map((token) => openSocket(demoEdge.origin, token)),
      );
      gate.service.revoke(claims.idx);
      const { opcode, payload } = await within(
        "the socket ends",
        ended.receive(),
        LIST_MAX_AGE_SECS * 1000 + SLACK_MS,
      );
      assert.deepEqual([opcode, payload.readUInt16BE()], [8, 4401]);
      other.send(1, Buffer.from("still here"));
      assert.equal(String((await within("the echo", other.receive())).payload), "still here");
      other.close();
    });
  });
}

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The next piece of a body as it arrives. */
function nextChunk(message) {
  return new Promise((resolve, reject) => {
    message.once("data", (chunk) => {
      message.pause();
      resolve(chunk);
    });
    message.once("error", reject);
    message.once("end", () => reject(new Error("the answer ended")));
    message.resume();
  });
}
