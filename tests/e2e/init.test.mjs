// What `hallpass init` makes is enough for service, app and edge, and `hallpass doctor` says so of the
// edge that runs on it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { send } from "./harness/client.mjs";
import { RUNTIMES, startFromInit } from "./harness/system.mjs";

tidyUp();

describe("a system made by hallpass init", () => {
  for (const { name, raw } of RUNTIMES) {
    test(`edge in ${name} admits with what init wrote, and doctor finds nothing wrong`, async () => {
      const { edge, settings, secrets, hallpass, stop } = await startFromInit({ raw });
      const config = ["--config", settings];

      const minted = hallpass(["token", "mint", "ada", ...config]);
      assert.equal(minted.status, 0, minted.stderr);
      const authorization = [["Authorization", `Bearer ${minted.stdout.trim()}`]];
      const admitted = await send(edge.origin, { path: "/whoami", headers: authorization });
      assert.equal(admitted.status, 200, admitted.text);
      assert.match(admitted.text, /"ada"/);
      assert.equal((await send(edge.origin, { path: "/whoami" })).status, 401);

      const { DIAGNOSTIC_CREDENTIAL } = secrets;
      const looked = hallpass(["doctor", edge.origin, ...config], { DIAGNOSTIC_CREDENTIAL });
      assert.equal(looked.status, 0, looked.stdout + looked.stderr);
      const refused = hallpass(["doctor", edge.origin, "--json"], { DIAGNOSTIC_CREDENTIAL: "wrong" });
      assert.equal(refused.status, 1);
      assert.deepEqual(JSON.parse(refused.stdout).findings.map(({ code }) => code), ["diagnostics_refused"]);

      await stop();
      const gone = hallpass(["doctor", edge.origin, "--json"]);
      assert.equal(gone.status, 3, gone.stdout);
    });
  }
});
