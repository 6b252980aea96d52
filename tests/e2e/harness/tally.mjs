// A reporter for Node's test runner: one line of JSON for each test that ran, with the suites it is
// in, how it went and what it said. `cargo xtask test` counts from them what ran in which runtime.

import { relative } from "node:path";

/** @param {AsyncIterable<{type: string, data: any}>} events */
export default async function* tally(events) {
  /** Names of the suites a file is in, outermost first. @type {Map<string, string[]>} */
  const open = new Map();
  /** The last test of each file: what it says comes after its end. */
  const last = new Map();
  const line = (test) => (test ? `${JSON.stringify(test)}\n` : "");
  for await (const { type, data } of events) {
    const { file, nesting, name } = data ?? {};
    if (type === "test:start") {
      open.set(file, [...(open.get(file) ?? []).slice(0, nesting), name]);
    } else if (type === "test:diagnostic" && last.has(file)) {
      last.get(file).said.push(data.message);
    } else if ((type === "test:pass" || type === "test:fail") && data.details?.type !== "suite") {
      yield line(last.get(file));
      const suites = open.get(file).slice(0, nesting);
      const outcome = data.skip === undefined ? type.slice(5) : "skip";
      last.set(file, { file: relative(process.cwd(), file ?? ""), suites, name, outcome, said: [] });
    }
  }
  for (const test of last.values()) yield line(test);
}
