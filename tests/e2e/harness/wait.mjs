// Waiting on conditions: the only way these tests wait for anything. There is no fixed sleep.

import { setTimeout as pause } from "node:timers/promises";

/** How often a condition is looked at, in milliseconds. */
const LOOK_EVERY_MS = 20;
/** How long a condition may take unless a test says otherwise, in milliseconds. */
const DEADLINE_MS = 10_000;

/**
 * Waits until `condition` gives something truthy, and returns it.
 *
 * @template T
 * @param {string} what what is waited for, for the message when it does not come
 * @param {() => T | Promise<T>} condition
 * @param {{deadlineMs?: number}} [options]
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, condition, { deadlineMs = DEADLINE_MS } = {}) {
  const ends = performance.now() + deadlineMs;
  for (;;) {
    const outcome = await condition();
    if (outcome) return outcome;
    if (performance.now() > ends) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await pause(LOOK_EVERY_MS);
  }
}

/**
 * Asks until it is refused. What was asked later than the bound must not be let through any more,
 * however slow the answers are.
 *
 * @template {{status: number}} A
 * @param {number} boundSecs from now on
 * @param {() => Promise<A>} ask
 * @param {(answer: A) => boolean} [isRefused]
 * @returns {Promise<A>} the refusal
 */
export async function refusedWithin(boundSecs, ask, isRefused = ({ status }) => status !== 200) {
  const ends = performance.now() + boundSecs * 1000;
  for (;;) {
    const isLate = performance.now() > ends;
    const answer = await ask();
    if (isRefused(answer)) return answer;
    if (isLate) throw new Error(`let through more than ${boundSecs} s later`);
    await pause(LOOK_EVERY_MS);
  }
}

/**
 * Waits for a promise, but not longer than the deadline.
 *
 * @template T
 * @param {string} what
 * @param {Promise<T>} promise
 * @param {number} [deadlineMs]
 * @returns {Promise<T>}
 */
export async function within(what, promise, deadlineMs = DEADLINE_MS) {
  const watch = new AbortController();
  const late = pause(deadlineMs, undefined, { signal: watch.signal }).then(() => {
    throw new Error(`${what}: not within ${deadlineMs} ms`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    watch.abort();
    late.catch(() => {});
  }
}

/** The current second since 1970, as tokens count. */
export const now = () => Math.floor(Date.now() / 1000);

/**
 * Waits until the clock has reached a second.
 *
 * @param {number} second
 */
export function untilSecond(second) {
  const waitMs = Math.max(0, second * 1000 - Date.now());
  return until(`second ${second}`, () => Date.now() >= second * 1000, { deadlineMs: waitMs + 1000 });
}
