// What flows through the edge: bodies in both directions, event streams, sockets. docs/protocol.md
// §6, §9. The demo app behind a second edge has the streams; the stand-in app the bodies.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { tidyUp } from "./harness/children.mjs";
import { open, send } from "./harness/client.mjs";
import { startGate } from "./harness/gate.mjs";
import { Key } from "./harness/mint.mjs";
import { openSocket } from "./harness/socket.mjs";
import { streaming } from "./harness/stand_in_app.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { LIST_MAX_AGE_SECS, RUNTIMES, edgeSettings, startDemo, startEdge } from "./harness/system.mjs";
import { now, until, within } from "./harness/wait.mjs";

tidyUp();

/** A busy machine may be late by this much, in milliseconds. */
const SLACK_MS = 2000;
const AUDIENCE_OF_DEMO = "demo";
/** Close codes: the session is over; nobody can say. */
const [ENDED, OUTAGE] = [4401, 4503];

for (const { name, raw } of RUNTIMES) {
  describe(`streams in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    let demo, demoEdge;
    before(async () => {
      const routes = [
        { path: "/ws/strict", on_outage: "refuse" },
        { path: "/ws/lenient", outage_grace_secs: 3600 },
      ];
      gate = await startGate({ raw, settings: { routes } });
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

    test("a hand-off that is refused on an upgrade ends the app's socket", async () => {
      const told = new Promise((heard) => gate.app.onUpgrade((socket) => socket.once("data", heard)));
      const usual = gate.app.upgradeHeaders;
      gate.app.upgradeHeaders = ["Hallpass-Set-Session: forged"];
      await assert.rejects(openSocket(gate.origin, gate.issuer.token()), /502 [^]*no-store/);
      gate.app.upgradeHeaders = usual;
      const frame = await within("the app hears of the end", told);
      assert.deepEqual([frame[0] & 0x0f, unmasked(frame).readUInt16BE()], [8, 1008]);
    });

    test("socket ends within the bound after its session, others go on", async () => {
      const claims = gate.issuer.claims();
      const [ended, other] = await Promise.all(
        [gate.issuer.token(claims), gate.issuer.token()].map((token) => openSocket(demoEdge.origin, token)),
      );
      gate.service.revoke(claims.idx);
      await endsWith(ENDED, ended);
      await isOpen(other);
      other.close();
    });

    test("sockets go on through a change of keys, until theirs is removed", async () => {
      const next = new Key("s2");
      const old = await openSocket(demoEdge.origin, gate.issuer.token());
      // As a service does it: the new key is published and trusted beside the old one, then it signs.
      gate.service.extraKeys = [next];
      gate.service.change({ kids: ["s1", "s2"] });
      const token = gate.issuer.token({}, { key: next, header: { kid: "s2" } });
      await untilTrusted(token);
      const newer = await openSocket(demoEdge.origin, token);
      await twoLooks();
      await Promise.all([old, newer].map(isOpen));

      gate.service.change({ kids: ["s2"] });
      await endsWith(ENDED, old);
      await isOpen(newer);
      newer.close();
      await trustFirstKeyOnly();
    });

    test("socket outlives its token, and that token's key, while the service calls its session live", async () => {
      const claims = gate.issuer.claims({ exp: now() + 2 });
      const socket = await openSocket(demoEdge.origin, gate.issuer.token(claims));
      await until("the service is asked", () =>
        gate.service.calls.find(({ path }) => path === `/v1/edge/sessions/${claims.sid}`),
      );
      gate.service.change({ kids: [] });
      await twoLooks();
      await isOpen(socket);
      socket.close();
      await trustFirstKeyOnly();
    });

    /** What the service says of a session whose token has ended, and how its socket ends. */
    const ANSWERS = [
      ["the session is over", ENDED, () => ({ status: 200, body: { live: false, ends_at: now() } })],
      ["it knows no such session", ENDED, () => problem(404, "session_unknown")],
      ["nothing of use", OUTAGE, () => problem(500, "service_faulty")],
    ];
    for (const [what, code, answer] of ANSWERS) {
      test(`socket ends with ${code} when its token has ended and the service says that ${what}`, async () => {
        const usual = gate.service.onLiveness;
        gate.service.onLiveness = answer;
        const exp = now() + 2;
        const [socket, lenient] = await Promise.all(
          ["/ws", "/ws/lenient"].map((path) =>
            openSocket(gate.origin, gate.issuer.token({ exp, iat: exp - 5, auth_time: exp - 5 }), path),
          ),
        );
        await endsWith(code, socket);
        // Where the route has a grace, an outage ends nothing yet.
        if (code === ENDED) await endsWith(code, lenient);
        else lenient.close();
        gate.service.onLiveness = usual;
      });
    }

    test("requests ask for the list whatever has failed for a socket", async () => {
      const socket = await openSocket(gate.origin, gate.issuer.token());
      let failed = 0;
      const usual = gate.service.onList;
      gate.service.onList = () => {
        failed += 1;
        return problem(500, "service_faulty");
      };
      await until("the list has grown too old", () => failed >= 4);
      gate.service.onList = usual;
      const answer = await gate.withCookie(gate.issuer.token(), { path: "/ws/strict" });
      assert.equal(answer.status, 200);
      socket.close();
    });

    test("socket on a strict route ends when the list grows too old, others go on", async () => {
      const heard = [];
      gate.app.onUpgrade((socket) => socket.on("data", (frame) => heard.push(frame)));
      const [strict, other] = await Promise.all(
        ["/ws/strict", "/ws"].map((path) => openSocket(gate.origin, gate.issuer.token(), path)),
      );
      await gate.service.stop();
      await endsWith(OUTAGE, strict);
      heard.length = 0;
      other.send(1, Buffer.from("still here"));
      await until("the app hears the other", () => heard.length > 0);
      other.close();
      await gate.service.start();
    });

    async function trustFirstKeyOnly() {
      gate.service.extraKeys = [];
      gate.service.change({ kids: ["s1"] });
      await untilTrusted(gate.issuer.token());
    }

    async function untilTrusted(token) {
      const headers = [["Cookie", `__Host-session=${token}`]];
      const isTrusted = async () => (await send(demoEdge.origin, { path: "/", headers })).status === 200;
      await until("the token's key is trusted", isTrusted);
    }

    /** Waits until the newest list has been held for two looks: sockets confirm it before each. */
    async function twoLooks() {
      const { epoch, to } = gate.service.listClaims;
      const began = gate.service.calls.length;
      const confirms = ({ path, query }) =>
        path === "/v1/edge/revocations" && query.get("epoch") === epoch && Number(query.get("after")) === to;
      await until(
        "the newest list is confirmed again",
        () => gate.service.calls.slice(began).filter(confirms).length >= 3,
      );
    }
  });
}

/** The edge ends the socket with this code, within the bound and the time of a look. */
async function endsWith(code, socket) {
  const { opcode, payload } = await within(
    "the socket ends",
    socket.receive(),
    LIST_MAX_AGE_SECS * 1000 + SLACK_MS,
  );
  assert.deepEqual([opcode, payload.readUInt16BE()], [8, code]);
}

/** The socket still carries messages to the demo app and back. */
async function isOpen(socket) {
  socket.send(1, Buffer.from("still here"));
  assert.equal(String((await within("the echo", socket.receive())).payload), "still here");
}

/** The payload of a short frame of a client. */
function unmasked(frame) {
  const [mask, payload] = [frame.subarray(2, 6), frame.subarray(6)];
  return Buffer.from(payload.map((byte, i) => byte ^ mask[i % 4]));
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
