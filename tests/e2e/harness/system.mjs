// The parts of the system as black boxes: `cargo xtask service` and `edge`, and the demo app.
//
// Each starts on a free port unless told which, and is known by its `ready` line only. Programs are
// found where `cargo xtask test` says: HALLPASS_XTASK, HALLPASS_BIN_DIR; else in target/debug.

import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child, keep } from "./children.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const BIN_DIR = process.env.HALLPASS_BIN_DIR ?? join(ROOT, "target/debug");
const XTASK = process.env.HALLPASS_XTASK ?? join(ROOT, "target/debug/xtask");

/** The two runtimes that the edge is tested in: they differ in what reaches the Worker. */
export const RUNTIMES = [
  { name: "wrangler's runtime", raw: false },
  { name: "bare workerd", raw: true },
];

/** Bound on revocation in these tests, in seconds. */
export const LIST_MAX_AGE_SECS = 2;

/** 32 bytes as edge and app share them. */
export const newKey = () => randomBytes(32).toString("base64url");

/** A folder that goes at the end. */
export function newFolder() {
  const path = mkdtempSync(join(tmpdir(), "hallpass-e2e-"));
  const abandon = () => rmSync(path, { recursive: true, force: true });
  keep({ stop: async () => abandon(), abandon });
  return path;
}

/**
 * @typedef {{origin: string, port: number, child: Child, stop: () => Promise<void>}} Part
 * @typedef {{edge: string, app: string, admin: string, issuer: string, audience: string}} Credentials
 * @typedef {Record<string, string>} Secrets
 */

/**
 * The session service.
 *
 * @param {{port?: number, database?: string, settings?: Record<string, string | number>}} [options]
 * @returns {Promise<Part & {credentials: Credentials}>}
 */
export async function startService({ port = 0, database, settings = {} } = {}) {
  const args = ["service", "--port", String(port)];
  if (database) args.push("--database", database);
  for (const [key, value] of Object.entries(settings)) args.push("--set", `${key}=${value}`);
  const child = new Child("service", XTASK, args, { HALLPASS_BIN_DIR: BIN_DIR });
  const part = await ready(child);
  const credentials = JSON.parse(readFileSync(await child.says(/^credentials (\S+)$/), "utf8"));
  return { ...part, credentials };
}

/**
 * The demo app.
 *
 * @param {{port?: number, serviceUrl: string, credential: string, assertionKey: string, issuer: string,
 *          audience: string}} options
 * @returns {Promise<Part>}
 */
export async function startDemo({ port = 0, serviceUrl, credential, assertionKey, issuer, audience }) {
  const args = ["--listen", `127.0.0.1:${port}`, "--service-url", serviceUrl, "--issuer", issuer];
  const secrets = { APP_CREDENTIAL: credential, ASSERTION_KEY: assertionKey };
  const program = join(BIN_DIR, "hallpass-demo");
  return ready(new Child("demo app", program, [...args, "--audience", audience], secrets));
}

/**
 * The built edge.
 *
 * @param {{raw: boolean, port?: number, settings: object, secrets: Secrets}} options
 * @returns {Promise<Part>}
 */
export async function startEdge({ raw, port = 0, settings, secrets }) {
  const config = join(newFolder(), "edge.toml");
  writeFileSync(config, toToml(settings));
  const args = ["edge", "--no-build", "--config", config, "--port", String(port)];
  for (const [name, value] of Object.entries(secrets)) args.push("--secret", `${name}=${value}`);
  if (raw) args.push("--raw");
  return ready(new Child(raw ? "edge (workerd)" : "edge (wrangler)", XTASK, args));
}

/**
 * Service, app and edge with what `hallpass init` made, and nothing else.
 *
 * @param {{raw: boolean}} options
 */
export async function startFromInit({ raw }) {
  const folder = newFolder();
  const hallpass = (args, environment = {}) =>
    spawnSync(join(BIN_DIR, "hallpass"), args, {
      cwd: folder,
      env: { ...process.env, ...environment },
      encoding: "utf8",
    });
  const [servicePort, appPort] = await freePorts(2);
  const [serviceUrl, upstreamUrl] = [servicePort, appPort].map((port) => `http://127.0.0.1:${port}`);
  const flags = ["--environment", "development", "--listen", `127.0.0.1:${servicePort}`];
  const urls = ["--service-url", serviceUrl, "--upstream-url", upstreamUrl];
  const init = hallpass(["init", "--json", ...flags, ...urls]);
  if (init.status !== 0) throw new Error(init.stderr);
  const made = JSON.parse(init.stdout);
  const { settings, edge_settings, edge_secrets } = made.files;
  const serve = ["serve", "--config", settings];
  const service = await ready(new Child("service", join(BIN_DIR, "hallpass"), serve));
  const edgeFlags = ["--config", edge_settings, "--secrets", edge_secrets, "--port", "0"];
  const edgeArgs = ["edge", "--no-build", ...edgeFlags, ...(raw ? ["--raw"] : [])];
  const edge = await ready(new Child("edge", XTASK, edgeArgs));
  const app = await startDemo({
    port: appPort,
    serviceUrl,
    credential: made.credentials.app,
    assertionKey: made.assertion_key,
    issuer: serviceUrl,
    audience: edge.origin,
  });
  const secrets = JSON.parse(readFileSync(edge_secrets, "utf8"));
  const stop = async () => {
    for (const part of [edge, app, service]) await part.stop();
  };
  return { service, app, edge, settings, secrets, hallpass, stop };
}

/** Ports that were free a moment ago, each another. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

/**
 * Settings of an edge between this service and this app.
 *
 * @param {{issuer: string, audience: string, serviceUrl: string, upstreamUrl: string}} between
 * @param {Record<string, unknown>} [more] further settings; `routes` go before the usual ones
 */
export function edgeSettings({ issuer, audience, serviceUrl, upstreamUrl }, { routes = [], ...more } = {}) {
  return {
    environment: "development",
    issuer,
    audience,
    service_url: serviceUrl,
    upstream_url: upstreamUrl,
    hosts: ["localhost", "127.0.0.1"],
    sign_in_path: "/sign-in",
    list_max_age_secs: LIST_MAX_AGE_SECS,
    list_poll_secs: 1,
    service_timeout_ms: 1000,
    ...more,
    routes: [...routes, { path: "/sign-in", access: "optional" }, { path: "/public/*", access: "public" }],
  };
}

async function ready(child) {
  const origin = await child.says(/^ready (http:\/\/\S+)$/);
  const port = Number(new URL(origin).port);
  child.ports.push(port);
  return { origin, port, child, stop: () => child.stop() };
}

/** The file `xtask edge --config` reads. JSON's scalars and arrays are TOML's, too. */
function toToml({ routes, ...settings }) {
  const lines = (table) => Object.entries(table).map(([key, value]) => `${key} = ${toValue(value)}`);
  const tables = (routes ?? []).map((route) => ["[[HALLPASS.routes]]", ...lines(route)].join("\n"));
  return [["[HALLPASS]", ...lines(settings)].join("\n"), ...tables, ""].join("\n\n");
}

function toValue(value) {
  if (Array.isArray(value) || typeof value !== "object") return JSON.stringify(value);
  return `{ ${Object.entries(value).map(([key, inner]) => `${key} = ${toValue(inner)}`)} }`;
}
