// What stands around the edge while it is measured: a session service and an app that cost as little
// as they can, and the tokens that are presented.
//
//   node stand_in.mjs FOLDER TOKENS
//
// writes FOLDER/KIND.txt, one token a line, TOKENS lines of each kind that the edge could remember,
// and then prints one line of JSON: where both listen and what the edge has to be told.

import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Issuer, Key, encode, hmacCompact, roaring } from "../../tests/e2e/harness/mint.mjs";

const EPOCH = "bench";
const CREDENTIAL = "hpc_edge_bench";
const ES256_KID = "p1";
/** How many sessions the list names: every twentieth index. */
const LIST_ENTRIES = 10_000;
const STRIDE = 20;
/** Tokens of a kind that the edge never remembers: they may come again. */
const FORGETTABLE = 500;
/** The runtime keeps connections: nobody may close one under its hands. */
const KEEP_ALIVE_MS = 3_600_000;
/** As long as a session token may live: a run is shorter. */
const LIFETIME_SECS = 3600;

const issuer = new Issuer();
const impostor = new Key(issuer.sessionKey.kid);
const stranger = new Key("unknown");
const es256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const hs256Key = randomBytes(32);
const began = Math.floor(Date.now() / 1000);

/** Claims of a session that is not revoked, unless told otherwise. */
const claims = (changes = {}) => issuer.claims({ idx: 1, exp: began + LIFETIME_SECS, ...changes });
const eddsa = (changes, key) => issuer.token(claims(changes), { key });

/** Kinds whose signature is good: the edge remembers each, so each must be new. */
const memorable = {
  eddsa: () => eddsa(),
  es256: () => signEs256(claims()),
  hs256: () => hmacCompact(hs256Key, issuer.header({ alg: "HS256", kid: "hs256" }), claims()),
  wrong_audience: () => eddsa({ aud: "another" }),
  expired: () => eddsa({ iat: began - 600, auth_time: began - 600, exp: began - 1 }),
  revoked: (n) => eddsa({ idx: ((n % LIST_ENTRIES) + 1) * STRIDE }),
};

const forgettable = {
  malformed: () => `${eddsa().slice(0, -1)}+`,
  unknown_kid: () => issuer.token(claims(), { key: stranger, header: { kid: stranger.kid } }),
  wrong_alg: () => hmacCompact(hs256Key, issuer.header({ alg: "HS256" }), claims()),
  bad_signature: () => eddsa({}, impostor),
};

function signEs256(payload) {
  const header = issuer.header({ alg: "ES256", kid: ES256_KID });
  const signed = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(payload))}`;
  const key = { key: es256.privateKey, dsaEncoding: "ieee-p1363" };
  return `${signed}.${encode(sign("sha256", Buffer.from(signed), key))}`;
}

function writeTokens(folder, kinds, count) {
  for (const [kind, make] of Object.entries(kinds)) {
    const tokens = Array.from({ length: count }, (_, n) => make(n));
    writeFileSync(join(folder, `${kind}.txt`), tokens.join("\n"));
  }
}

const keys = JSON.stringify({
  session: {
    keys: [
      issuer.sessionKey.jwk,
      { ...es256.publicKey.export({ format: "jwk" }), kid: ES256_KID, alg: "ES256", use: "sig" },
    ],
  },
  list: { keys: [issuer.listKey.jwk] },
});

/** The whole list, anew for each who starts. */
function list() {
  const idx = encode(roaring(Array.from({ length: LIST_ENTRIES }, (_, n) => (n + 1) * STRIDE)));
  return issuer.list({
    epoch: EPOCH,
    began: began - LIFETIME_SECS,
    from: 0,
    to: 1,
    revoked_before: 0,
    kids: [issuer.sessionKey.kid, ES256_KID],
    sessions: [{ exp: began + 3 * LIFETIME_SECS, idx }],
  });
}

/** Nothing ever changes: who has the list waits as long as it asked for. */
function answerPoll(query, response) {
  const waitMs = 1000 * Number(query.get("wait"));
  const known = query.get("epoch") === EPOCH;
  const at = (ms) => ({ "hallpass-list": `epoch="${EPOCH}", to=1, confirmed_ms=${ms}` });
  if (known) {
    setTimeout(() => response.writeHead(204, at(waitMs)).end(), waitMs);
  } else {
    response.writeHead(200, { ...at(0), "content-type": "application/jose" }).end(list());
  }
}

function answerEdge(request, response) {
  const url = new URL(request.url, "http://service");
  if (request.headers.authorization !== `Bearer ${CREDENTIAL}`) response.writeHead(401).end();
  else if (url.pathname === "/v1/edge/keys") {
    response.writeHead(200, { "content-type": "application/json" }).end(keys);
  } else if (url.pathname === "/v1/edge/revocations") answerPoll(url.searchParams, response);
  else response.writeHead(404).end();
}

function answerApp(_, response) {
  response.writeHead(200, { "content-type": "text/plain", "content-length": "2" }).end("ok");
}

async function listen(answer) {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: 1 << 21 }, answer);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${server.address().port}`;
}

const [folder, count] = [process.argv[2], Number(process.argv[3])];
writeTokens(folder, memorable, count);
writeTokens(folder, forgettable, Math.min(count, FORGETTABLE));
const told = {
  service_url: await listen(answerEdge),
  upstream_url: await listen(answerApp),
  issuer: issuer.issuer,
  audience: issuer.audience,
  edge_credential: CREDENTIAL,
  session_hs256_key: encode(hs256Key),
};
console.log(JSON.stringify(told));
// Whoever started this holds our standard input open.
process.stdin.on("end", () => process.exit(0)).resume();
