// The programs a test starts: started until they say `ready`, stopped on every way out, their logs
// kept for the tests that fail. A port that is not free after the end fails the run.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { after, afterEach } from "node:test";
import { until, within } from "./wait.mjs";

/** wrangler's runtime needs two seconds on an idle machine; a busy one has two cores for all. */
const START_DEADLINE_MS = 60_000;
/** Programs end at once on SIGTERM; what has not after this is killed, and the test fails. */
const STOP_DEADLINE_MS = 10_000;
const LOG_LINES_SHOWN = 25;

/**
 * What a file starts. `abandon` is for when there is no time left: at once, whatever comes of it.
 *
 * @typedef {{stop: () => Promise<void>, abandon?: () => void}} Started
 */

/** @type {Set<Started>} everything to stop at the end, in order of its start */
const running = new Set();
/** @type {Set<Child>} programs whose logs a failed test shows */
const spoken = new Set();

process.on("exit", () => {
  for (const thing of running) thing.abandon?.();
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

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
    let hasEnded = false;
    this.ended.then(() => (hasEnded = true));
    const found = () => this.#lines.map((line) => pattern.exec(line)).find(Boolean);
    const options = { deadlineMs: START_DEADLINE_MS };
    await until(`${this.name} says ${pattern}`, () => found() ?? hasEnded, options);
    if (!found()) throw new Error(`${this.name} ended:\n${this.#lines.join("\n")}`);
    return found()[1];
  }

  /** Ends it in order; fails if it does not end, or leaves a port taken. */
  async stop() {
    if (!running.delete(this)) return;
    this.#signal("SIGTERM");
    try {
      await within(`${this.name} ends on SIGTERM`, this.ended, STOP_DEADLINE_MS);
    } finally {
      this.#signal("SIGKILL");
    }
    for (const port of this.ports) {
      await until(`${this.name} leaves port ${port}`, () => isFree(port));
    }
  }

  abandon() {
    this.#signal("SIGTERM");
  }

  /** What it has printed since this was last asked. */
  news() {
    const from = this.#told;
    this.#told = this.#lines.length;
    return this.#lines.slice(from);
  }

  #signal(name) {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === null && signalCode === null) this.#process.kill(name);
  }
}

/**
 * Registers something to be stopped at the end of the file, should the test not come to it.
 *
 * @template {Started} T
 * @param {T} thing
 * @returns {T}
 */
export function keep(thing) {
  running.add(thing);
  return thing;
}

/** @param {Started} thing stopped already */
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

/** Whether nobody accepts connections there. */
function isFree(port) {
  const socket = connect({ port, host: "127.0.0.1" });
  return new Promise((resolve) => {
    socket.on("connect", () => resolve(false));
    socket.on("error", () => resolve(true));
  }).finally(() => socket.destroy());
}
