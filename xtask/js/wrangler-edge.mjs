// Runs the built edge in wrangler's local runtime, without wrangler's command line: the parent
// says on standard input, in one line of JSON, what to run; one `ready http://…` line per isolate
// is printed; what the edge logs goes to standard error; the end of standard input or a signal to
// stop ends all of it, so that a parent that was killed leaves nothing behind.
//
// The line: {"config": path of a wrangler configuration, "secrets": {NAME: value},
//            "ports": [one per isolate, 0 for any free one]}

import { createInterface } from "node:readline";
import { unstable_startWorker as startWorker } from "wrangler";

const lines = createInterface({ input: process.stdin });
const order = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);

const isolates = [];
let stopping = false;

async function stop() {
  if (stopping) return;
  stopping = true;
  await Promise.allSettled(isolates.map((isolate) => isolate.dispose()));
  process.exit(0);
}

lines.on("close", stop);
process.on("SIGTERM", stop);
process.on("SIGINT", stop);

function options(port) {
  const secrets = Object.entries(order.secrets);
  return {
    config: order.config,
    envFiles: [],
    bindings: Object.fromEntries(secrets.map(([name, value]) => [name, { type: "secret_text", value }])),
    dev: {
      server: { hostname: "127.0.0.1", port },
      inspector: false,
      persist: false,
      watch: false,
      logLevel: "warn",
      structuredLogsHandler: ({ message }) => console.error(message),
    },
  };
}

for (const port of order.ports) {
  isolates.push(await startWorker(options(port)));
}
for (const isolate of isolates) {
  await isolate.ready;
  console.log(`ready ${(await isolate.url).origin}`);
}
