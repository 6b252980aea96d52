// A cache that all visitors share: nginx in front of the edge, as careless as one that heeds
// Cache-Control can be. It keeps every answer that does not forbid it, whatever its status, under
// its path alone: not under cookies, nor under what `Vary` names.

import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { Child } from "./children.mjs";
import { newFolder } from "./system.mjs";
import { send } from "./client.mjs";
import { until } from "./wait.mjs";

const PROGRAM = process.env.HALLPASS_NGINX ?? "/usr/sbin/nginx";
/** Where nginx would otherwise keep what it buffers: folders that only its package makes. */
const BUFFERS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/**
 * @param {string} origin of the edge
 * @returns {Promise<{origin: string, stop: () => Promise<void>}>}
 */
export async function startSharedCache(origin) {
  const folder = newFolder();
  const port = await freePort();
  const config = join(folder, "nginx.conf");
  for (const name of BUFFERS) mkdirSync(join(folder, name));
  writeFileSync(config, configuration(folder, port, origin));
  const child = new Child("nginx", PROGRAM, ["-p", folder, "-e", "stderr", "-c", config]);
  child.ports.push(port);
  const own = `http://127.0.0.1:${port}`;
  let hasEnded = false;
  child.ended.then(() => (hasEnded = true));
  await until("nginx answers", async () => hasEnded || (await send(own, { path: "/.session/health" }).catch(() => false)));
  if (hasEnded) throw new Error(`nginx ended:\n${child.log.join("\n")}`);
  return { origin: own, stop: () => child.stop() };
}

function configuration(folder, port, origin) {
  // Started by root, nginx would give its folders to somebody who may not enter ours.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  return `daemon off; worker_processes 1; pid ${folder}/pid; ${user}
events {}
http {
  access_log off;
  ${BUFFERS.map((name) => `${name}_temp_path ${folder}/${name};`).join("\n  ")}
  proxy_cache_path ${folder}/cache keys_zone=shared:1m;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass ${origin};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_buffer_size 32k;
      proxy_buffers 8 32k;
      proxy_cache shared;
      proxy_cache_key $request_uri;
      proxy_cache_valid any 10m;
      proxy_ignore_headers Vary;
      add_header X-Shared-Cache $upstream_cache_status always;
    }
  }
}
`;
}

/** A port that nobody uses: nginx cannot be asked which one it took. */
async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}
