// The programs a test starts: started until they say `ready`, stopped on every way out, their logs
// kept for the tests that fail. A port that is not free after the end fails the run.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { after, afterEach } from "node:test";
import { until, within } from "./wait.mjs";

/** wrangler's runtime needs two seconds on an idle machine; a busy one has two cores for all. */
const START_DEADLINE_MS = 60_000;
/** Programs end at once on SIGTERM; what has not after this is killed, and the test fails. */
const STOP_DEADLINE_MS = 10_000;
const LOG_LINES_SHOWN = 25;

/** @type {Set<{stop: () => Promise<void>}>} everything to stop at the end, in order of its start */
const running = new Set();
/** @type {Set<Child>} programs whose logs a failed test shows */
const spoken = new Set();

process.on("exit", () => {
  for (const child of spoken) child.killNow();
});

/** One program. */
export class Child {
  #process;
  #lines = [];
  #told = 0;
  /** Ports to be free once it has ended. */
  ports = [];

  /**
   * @param {string} name for messages and logs
   * @param {string} program
   * @param {string[]} args
   * @param {Record<string, string>} [environment] added to ours
   */
  constructor(name, program, args, environment = {}) {
    this.name = name;
    const env = { ...process.env, ...environment };
    this.#process = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.ended = once(this.#process, "exit").catch((error) => [error]);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#lines.push(line));
    }
    running.add(this);
    spoken.add(this);
  }

  /** Everything it has printed, line by line. */
  get log() {
    return this.#lines;
  }

  /**
   * Waits for a line that matches.
   *
   * @param {RegExp} pattern
   * @returns {Promise<string>} its first group
   */
  async says(pattern) {
    const found = () => this.#lines.map((line) => pattern.exec(line)).find(Boolean);
    const gone = this.ended.then(([code]) => {
      if (!found()) throw new Error(`${this.name} ended (${code}):\n${this.#lines.join("\n")}`);
    });
    const heard = until(`${this.name} says ${pattern}`, found, { deadlineMs: START_DEADLINE_MS });
    await Promise.race([heard, gone.then(() => heard)]);
    return found()[1];
  }

  /** Ends it in order; fails if it does not end, or leaves a port taken. */
  async stop() {
    if (!running.delete(this)) return;
    this.#process.kill("SIGTERM");
    try {
      await within(`${this.name} ends on SIGTERM`, this.ended, STOP_DEADLINE_MS);
    } finally {
      this.killNow();
    }
    for (const port of this.ports) {
      await until(`${this.name} leaves port ${port}`, () => isFree(port));
    }
  }

  killNow() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill("SIGKILL");
    }
  }

  /** What it has printed since this was last asked. */
  news() {
    const from = this.#told;
    this.#told = this.#lines.length;
    return this.#lines.slice(from);
  }
}

/**
 * Registers something to be stopped at the end of the file, should the test not come to it.
 *
 * @template {{stop: () => Promise<void>}} T
 * @param {T} thing
 * @returns {T}
 */
export function keep(thing) {
  running.add(thing);
  return thing;
}

/** @param {{stop: () => Promise<void>}} thing stopped already */
export function forget(thing) {
  running.delete(thing);
}

/** To be called once at the top of each test file. */
export function tidyUp() {
  afterEach((context) => {
    const logs = [...spoken].map((child) => [child.name, child.news().slice(-LOG_LINES_SHOWN)]);
    if (context.passed !== false) return;
    for (const [name, lines] of logs.filter(([, lines]) => lines.length > 0)) {
      console.error(`── ${name}, during “${context.name}”\n${lines.join("\n")}`);
    }
  });
  after(async () => {
    for (const thing of [...running].reverse()) await thing.stop();
  });
}

async function isFree(port) {
  const server = createServer();
  const outcome = Promise.race([
    once(server, "listening").then(() => true),
    once(server, "error").then(() => false),
  ]);
  server.listen({ port, host: "127.0.0.1", exclusive: true });
  const free = await outcome;
  await new Promise((done) => server.close(done));
  return free;
}
