// What the edge refuses, and that nothing of it reaches the app: docs/protocol.md §1, §2, §8.
//
// The session service and the app are stand-ins; tokens are minted here, bad ones under the right
// key. Everything runs in both runtimes, since they differ in what reaches the Worker.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { tidyUp } from "./harness/children.mjs";
import { assertProblem, startGate } from "./harness/gate.mjs";
import { Key, encode, hmacCompact, newRenewalToken, newSid } from "./harness/mint.mjs";
import { problem } from "./harness/stand_in_service.mjs";
import { LIST_MAX_AGE_SECS, RUNTIMES } from "./harness/system.mjs";
import { now, refusedWithin } from "./harness/wait.mjs";

tidyUp();

const PAGE = [
  ["Accept", "text/html"],
  ["Sec-Fetch-Dest", "document"],
];

/** @typedef {import("./harness/mint.mjs").Issuer} Issuer */

/**
 * Tokens that do not pass: what is wrong, the codes it may have, how it is made.
 *
 * @type {[string, string | string[], (issuer: Issuer) => string][]}
 */
const BAD_TOKENS = [
  ["no dots", "token_malformed", () => "session"],
  ["one dot", "token_malformed", (issuer) => issuer.token().split(".").slice(0, 2).join(".")],
  ["three dots", "token_malformed", (issuer) => `${issuer.token()}.x`],
  [
    "an empty signature",
    ["token_malformed", "token_untrusted"],
    (issuer) => issuer.token().replace(/[^.]*$/, ""),
  ],
  ["a character outside base64url", "token_malformed", (issuer) => issuer.token().replace(/.$/, "+")],
  ["padding", "token_malformed", (issuer) => `${issuer.token()}==`],
  ["a percent escape", "token_malformed", (issuer) => issuer.token().replace(".", "%2E")],
  ["non-canonical base64url", "token_malformed", (issuer) => twin(issuer.token())],
  ["4097 bytes", "token_malformed", (issuer) => sized(issuer, 4097)],
  ["10 kB", "token_malformed", (issuer) => sized(issuer, 10_000)],
  [
    "a header of 513 bytes",
    "token_malformed",
    (issuer) => issuer.token({}, { header: { kid: "k".repeat(466) } }),
  ],
  ["a header that is an array", "token_malformed", (issuer) => issuer.sessionKey.compact("[]", good(issuer))],
  ["a header that is no JSON", "token_malformed", (issuer) => issuer.sessionKey.compact("{", good(issuer))],
  ["a payload that is no JSON", "token_malformed", (issuer) => signed(issuer, "{")],
  ["a payload that is an array", "token_malformed", (issuer) => signed(issuer, "[]")],
  [
    "a payload that is not UTF-8",
    "token_malformed",
    (issuer) => signed(issuer, Buffer.from([0x7b, 0xff, 0x7d])),
  ],
  ["crit", "token_malformed", (issuer) => issuer.token({}, { header: { crit: ["exp"] } })],
  [
    "an embedded jwk",
    "token_malformed",
    (issuer) => issuer.token({}, { header: { jwk: issuer.sessionKey.jwk } }),
  ],
  ["an unknown header member", "token_malformed", (issuer) => issuer.token({}, { header: { x: 1 } })],
  ["typ in capitals", "token_malformed", (issuer) => issuer.token({}, { header: { typ: "SESSION+JWT" } })],
  ["typ JWT", "token_malformed", (issuer) => issuer.token({}, { header: { typ: "JWT" } })],
  ["no typ", "token_malformed", (issuer) => issuer.token({}, { header: { typ: undefined } })],
  [
    "typ of an assertion",
    "token_malformed",
    (issuer) => issuer.token({}, { header: { typ: "assertion+jwt" } }),
  ],
  ["duplicate header keys", "token_malformed", (issuer) => duplicateHeader(issuer)],
  [
    "duplicate claims",
    "token_malformed",
    (issuer) => signed(issuer, good(issuer).replace("{", '{"sub":"eve",')),
  ],
  [
    "duplicate claims, one escaped",
    "token_malformed",
    (issuer) => signed(issuer, good(issuer).replace("{", '{"s\\u0075b":"eve",')),
  ],

  ["alg none", "token_untrusted", (issuer) => issuer.token({}, { header: { alg: "none" } })],
  ["alg none and no signature", ["token_malformed", "token_untrusted"], (issuer) => unsigned(issuer)],
  [
    "HS256 under the public key",
    "token_untrusted",
    (issuer) => confused(issuer, { kid: issuer.sessionKey.kid }),
  ],
  ["HS256 under kid hs256", "token_untrusted", (issuer) => confused(issuer, { kid: "hs256" })],
  [
    "alg ES256 under an Ed25519 key",
    "token_untrusted",
    (issuer) => issuer.token({}, { header: { alg: "ES256" } }),
  ],
  ["alg in lower case", "token_untrusted", (issuer) => issuer.token({}, { header: { alg: "eddsa" } })],
  ["an unknown kid", "token_untrusted", (issuer) => issuer.token({}, { header: { kid: "nobody" } })],
  ["a foreign key", "token_untrusted", (issuer) => issuer.token({}, { key: new Key("s1") })],
  [
    "the list's key",
    "token_untrusted",
    (issuer) => issuer.token({}, { key: issuer.listKey, header: { kid: "l1" } }),
  ],
  ["a changed payload", "token_untrusted", (issuer) => spliced(issuer)],
  ["a changed signature", "token_untrusted", (issuer) => flipped(issuer)],

  ["another audience", "token_invalid", (issuer) => issuer.token({ aud: "elsewhere" })],
  [
    "an audience in an array",
    ["token_invalid", "token_malformed"],
    (issuer) => issuer.token({ aud: [issuer.audience] }),
  ],
  ["another issuer", "token_invalid", (issuer) => issuer.token({ iss: `${issuer.issuer}/` })],
  ["iat 60 s ahead", "token_invalid", (issuer) => issuer.token({ iat: now() + 60 })],
  [
    "auth_time 60 s ahead",
    "token_invalid",
    (issuer) => issuer.token({ auth_time: now() + 60, iat: now() + 60 }),
  ],
  ["auth_time after iat", "token_invalid", (issuer) => issuer.token({ auth_time: now(), iat: now() - 10 })],
  ["nbf 60 s ahead", "token_invalid", (issuer) => issuer.token({ nbf: now() + 60 })],
  ["nbf after exp", "token_invalid", (issuer) => issuer.token({ nbf: now() + 301 })],
  ["exp at iat", ["token_invalid", "token_expired"], (issuer) => issuer.token({ exp: now() })],
  ["a lifetime of an hour and a second", "token_invalid", (issuer) => issuer.token({ exp: now() + 3601 })],
  ["exp as a string", "token_invalid", (issuer) => issuer.token({ exp: String(now() + 300) })],
  ["exp as a float", "token_invalid", (issuer) => signed(issuer, good(issuer).replace(/"exp":\d+/, "$&.5"))],
  [
    "exp with an exponent",
    "token_invalid",
    (issuer) => signed(issuer, good(issuer).replace(/"exp":\d+/, '"exp":1e11')),
  ],
  ["a negative iat", "token_invalid", (issuer) => issuer.token({ iat: -1 })],
  ["idx of 2^32", "token_invalid", (issuer) => issuer.token({ idx: 2 ** 32 })],
  ["a negative idx", "token_invalid", (issuer) => issuer.token({ idx: -1 })],
  ["an empty sub", "token_invalid", (issuer) => issuer.token({ sub: "" })],
  ["a sub of 256 bytes", "token_invalid", (issuer) => issuer.token({ sub: "s".repeat(256) })],
  ["a line break in sub", "token_invalid", (issuer) => issuer.token({ sub: "ada\r\nHallpass-Role: admin" })],
  ["a comma in sub", "token_invalid", (issuer) => issuer.token({ sub: "ada,eve" })],
  ["a letter beyond ASCII in sub", "token_invalid", (issuer) => issuer.token({ sub: "adä" })],
  ["a sid of 21 characters", "token_invalid", (issuer) => issuer.token({ sid: newSid().slice(1) })],
  ["ext over 1024 bytes", "token_invalid", (issuer) => issuer.token({ ext: { a: "x".repeat(1024) } })],
  ["ext that is a string", "token_invalid", (issuer) => issuer.token({ ext: "role" })],
  ["nine amr", "token_invalid", (issuer) => issuer.token({ amr: Array(9).fill("pwd") })],
  ...["iss", "aud", "sub", "sid", "idx", "iat", "exp", "auth_time"].map((claim) => [
    `no ${claim}`,
    "token_invalid",
    (issuer) => issuer.token({ [claim]: undefined }),
  ]),

  [
    "its end in this second",
    "token_expired",
    (issuer) => issuer.token({ iat: now() - 60, auth_time: now() - 60, exp: now() }),
  ],
  [
    "its end an hour ago",
    "token_expired",
    (issuer) => issuer.token({ iat: now() - 3900, auth_time: now() - 3900, exp: now() - 3600 }),
  ],
];

/** Credentials that are not exactly one session token: headers, and the code. */
const BAD_CREDENTIALS = [
  ["no credential", "session_missing", () => []],
  ["an empty cookie", ["session_missing", "token_malformed"], () => [["Cookie", "__Host-session="]]],
  [
    "two session cookies",
    "credentials_conflict",
    (issuer) => [["Cookie", cookies(issuer.token(), "forged")]],
  ],
  [
    "two session cookies, the good one last",
    "credentials_conflict",
    (issuer) => [["Cookie", cookies("forged", issuer.token())]],
  ],
  [
    "two good session cookies",
    "credentials_conflict",
    (issuer) => [["Cookie", cookies(issuer.token(), issuer.token())]],
  ],
  [
    "two renewal cookies",
    "credentials_conflict",
    () => [["Cookie", `__Host-renewal=${newRenewalToken()}; __Host-renewal=${newRenewalToken()}`]],
  ],
  [
    "a cookie joined from two lines",
    "session_missing",
    (issuer) => [["Cookie", `a=1, __Host-session=${issuer.token()}`]],
  ],
  [
    "the cookie's name in capitals",
    "session_missing",
    (issuer) => [["Cookie", `__HOST-SESSION=${issuer.token()}`]],
  ],
  [
    "the cookie's name escaped",
    "session_missing",
    (issuer) => [["Cookie", `__Host%2Dsession=${issuer.token()}`]],
  ],
  [
    "the cookie's name quoted",
    "session_missing",
    (issuer) => [["Cookie", `"__Host-session"=${issuer.token()}`]],
  ],
  ["a quoted cookie", "token_malformed", (issuer) => [["Cookie", `__Host-session="${issuer.token()}"`]]],
  [
    "cookie and bearer of two sessions",
    "credentials_conflict",
    (issuer) => [
      ["Cookie", `__Host-session=${issuer.token()}`],
      ["Authorization", `Bearer ${issuer.token()}`],
    ],
  ],
  ["bearer in lower case", "session_missing", (issuer) => [["Authorization", `bearer ${issuer.token()}`]]],
  ["bearer in capitals", "session_missing", (issuer) => [["Authorization", `BEARER ${issuer.token()}`]]],
  ["bearer and two spaces", "session_missing", (issuer) => [["Authorization", `Bearer  ${issuer.token()}`]]],
  ["bearer and a tab", "session_missing", (issuer) => [["Authorization", `Bearer\t${issuer.token()}`]]],
  ["a token without scheme", "session_missing", (issuer) => [["Authorization", issuer.token()]]],
  ["another scheme", "session_missing", (issuer) => [["Authorization", `Token ${issuer.token()}`]]],
  ["somebody else's bearer", "session_missing", () => [["Authorization", "Bearer gho_0123456789"]]],
  [
    "two bearers in one line",
    ["token_malformed", "session_missing"],
    (issuer) => [["Authorization", `Bearer ${issuer.token()}, Bearer ${issuer.token()}`]],
  ],
  [
    "two bearer lines",
    ["token_malformed", "session_missing"],
    (issuer) => [
      ["Authorization", `Bearer ${issuer.token()}`],
      ["Authorization", `Bearer ${issuer.token()}`],
    ],
  ],
  [
    "an expired bearer beside a renewal cookie",
    "token_expired",
    (issuer) => [
      ["Authorization", `Bearer ${issuer.expiredToken()}`],
      ["Cookie", `__Host-renewal=${newRenewalToken()}`],
    ],
  ],
  ["a renewal cookie of another form", "session_missing", () => [["Cookie", "__Host-renewal=hp2.abc"]]],
];

for (const { name, raw } of RUNTIMES) {
  describe(`refusals in ${name}`, () => {
    /** @type {import("./harness/gate.mjs").Gate} */
    let gate;
    const secondKey = new Key("s2");
    before(async () => {
      gate = await startGate({ raw });
      gate.service.extraKeys.push(secondKey);
      gate.service.kids.push(secondKey.kid);
    });
    after(() => gate.stop());

    const asProgram = (headers) => gate.send({ path: "/private?q=1", headers });
    const asPage = (headers) => gate.send({ path: "/private?q=1", headers: [...PAGE, ...headers] });

    /** Refused as a problem document and as a page load, and the app sees neither. */
    async function refusedBothWays(headers, codes) {
      const before = gate.app.seen.length;
      const answer = await asProgram(headers());
      assert.ok([codes].flat().includes(answer.code), `${answer.status} ${answer.code}, not ${codes}`);
      assertProblem(answer, answer.code, 401);
      assert.deepEqual(answer.cookies, []);

      const page = await asPage(headers());
      assert.equal(page.status, 303);
      assert.equal(page.headers.location, "/sign-in?return_to=/private%3Fq%3D1");
      assert.match(page.headers["cache-control"], /no-store/);
      assert.deepEqual(page.cookies, []);
      assert.equal(gate.app.seen.length, before, "the app saw a refused request");
    }

    test("edge forwards a request whose token is good", async () => {
      const answer = await gate.withCookie(gate.issuer.token());
      assert.deepEqual([answer.status, answer.text], [200, "the app"]);
      assert.equal((await gate.withBearer(gate.issuer.token())).status, 200);
    });

    for (const [what, codes, make] of BAD_TOKENS) {
      test(`edge refuses a token with ${what}`, () =>
        refusedBothWays(() => [["Cookie", `__Host-session=${make(gate.issuer)}`]], codes));
    }

    test("edge refuses bad bearers as it does cookies, or leaves them to nobody", async () => {
      for (const [what, codes, make] of BAD_TOKENS) {
        const answer = await gate.withBearer(make(gate.issuer));
        // What does not look like ours at all is the app's to judge, which needs a session to be asked.
        assert.ok([codes, "session_missing"].flat().includes(answer.code), `${what}: ${answer.code}`);
        assert.equal(answer.status, 401, what);
      }
    });

    for (const [what, codes, make] of BAD_CREDENTIALS) {
      test(`edge refuses as credentials ${what}`, () => refusedBothWays(() => make(gate.issuer), codes));
    }

    test("edge takes one session named twice for one", async () => {
      const token = gate.issuer.token();
      assert.equal((await gate.send({ headers: [["Cookie", cookies(token, token)]] })).status, 200);
      assert.equal(
        (await gate.withCookie(token, { headers: [["Authorization", `Bearer ${token}`]] })).status,
        200,
      );
    });

    test("edge survives cookies of 64 kB", async () => {
      const answer = await gate.withCookie("a".repeat(65_536)).catch((error) => error);
      // The runtime may refuse headers of that size before the edge sees them.
      assert.ok(answer instanceof Error || [400, 401, 413, 431].includes(answer.status), answer.status);
      assert.equal((await gate.withCookie(gate.issuer.token())).status, 200);
    });

    test("edge refuses a session from within the bound after its revocation", async () => {
      const claims = gate.issuer.claims();
      const token = gate.issuer.token(claims);
      assert.equal((await gate.withCookie(token)).status, 200);
      gate.service.revoke(claims.idx);
      await refusedWithin(LIST_MAX_AGE_SECS, () => gate.withCookie(token));
      await refusedBothWays(() => [["Cookie", `__Host-session=${token}`]], "session_revoked");
      await refusedBothWays(
        () => [["Cookie", `__Host-session=${gate.issuer.token({ ...claims, iat: now() })}`]],
        "session_revoked",
      );
      assert.equal((await gate.withCookie(gate.issuer.token())).status, 200);
    });

    test("edge refuses a key within the bound after it left the list", async () => {
      const token = gate.issuer.token({}, { key: secondKey, header: { kid: "s2" } });
      assert.equal((await gate.withCookie(token)).status, 200);
      gate.service.change({ kids: ["s1"] });
      await refusedWithin(LIST_MAX_AGE_SECS, () => gate.withCookie(token));
      await refusedBothWays(() => [["Cookie", `__Host-session=${token}`]], "token_untrusted");
    });

    test("edge refuses every session that began before the watermark", async () => {
      const old = gate.issuer.token({ iat: now() - 100, auth_time: now() - 100 });
      assert.equal((await gate.withCookie(old)).status, 200);
      gate.service.change({ revokedBefore: now() - 50 });
      await refusedWithin(LIST_MAX_AGE_SECS, () => gate.withCookie(old));
      await refusedBothWays(() => [["Cookie", `__Host-session=${old}`]], "session_revoked");
      assert.equal((await gate.withCookie(gate.issuer.token())).status, 200);
    });

    for (const code of [
      "session_revoked",
      "session_expired",
      "renewal_reused",
      "renewal_unknown",
      "renewal_malformed",
    ]) {
      test(`edge clears both cookies when renewal ends with ${code}`, async () => {
        gate.service.onRenew = () => problem(401, code);
        const headers = () => [
          ["Cookie", `__Host-session=${gate.issuer.expiredToken()}; __Host-renewal=${newRenewalToken()}`],
        ];
        const answer = await gate.refuses(() => asProgram(headers()), code, 401);
        assertCleared(answer);
        const page = await asPage(headers());
        assert.deepEqual([page.status, page.headers.location], [303, "/sign-in?return_to=/private%3Fq%3D1"]);
        assertCleared(page);
      });
    }

    test("edge refuses a renewal that answers for another session", async () => {
      gate.service.onRenew = () => gate.service.renewed({ sid: newSid() });
      const headers = [
        ["Cookie", `__Host-session=${gate.issuer.expiredToken()}; __Host-renewal=${newRenewalToken()}`],
      ];
      const answer = await gate.refuses(() => asProgram(headers), "credentials_conflict", 401);
      assert.deepEqual(answer.cookies, []);
    });

    test("sign-out with two different cookies clears both, ends no session and says why", async () => {
      const headers = [
        ["Origin", gate.origin],
        ["Cookie", cookies(gate.issuer.token(), gate.issuer.token())],
      ];
      const signOut = { method: "POST", path: "/.session/sign-out", body: "" };
      const before = gate.service.calls.length;
      const answer = await gate.send({ ...signOut, headers });
      assertProblem(answer, "credentials_conflict", 401);
      assertCleared(answer);
      const page = await gate.send({ ...signOut, headers: [...PAGE, ...headers] });
      assert.deepEqual([page.status, page.headers.location], [401, undefined]);
      assert.match(page.text, /Two sign-ins got mixed up/);
      assertCleared(page);
      const calls = gate.service.calls.slice(before).map(({ path }) => path);
      assert.ok(!calls.includes("/v1/edge/me/revoke"), "a session was ended");
    });

    test("edge answers 401 codes on optional routes by forwarding for nobody", async () => {
      gate.service.onRenew = () => problem(401, "renewal_unknown");
      for (const [what, , make] of BAD_TOKENS) {
        const answer = await gate.withCookie(make(gate.issuer), { path: "/sign-in" });
        assert.deepEqual([answer.status, answer.cookies], [200, []], what);
        const { headers } = gate.app.last;
        assert.deepEqual(
          [headers["hallpass-subject"], headers["hallpass-session"], headers.cookie],
          [undefined, undefined, undefined],
          what,
        );
      }
    });
  });
}

/** The claims of a good token as JSON text. */
const good = (issuer) => JSON.stringify(issuer.claims());

/** A payload of any form under the right key. */
const signed = (issuer, payload) => issuer.sessionKey.compact(JSON.stringify(issuer.header()), payload);

const cookies = (one, other) => `__Host-session=${one}; theme=dark; __Host-session=${other}`;

/** A good token of exactly this many bytes, filled by a member that nobody reads. */
function sized(issuer, bytes) {
  const claims = issuer.claims();
  let pad = 0;
  let token;
  do {
    token = issuer.token({ ...claims, pad: "p".repeat(pad) });
    pad += Math.max(1, Math.floor(((bytes - token.length) * 3) / 4) - 2);
  } while (token.length < bytes);
  return token;
}

/** Another text that decodes to the same signature. */
function twin(token) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  // 64 bytes end in two characters of which the last has four bits to spare.
  return token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)) + 1];
}

function duplicateHeader(issuer) {
  const header = JSON.stringify(issuer.header()).replace("{", '{"alg":"none",');
  return issuer.sessionKey.compact(header, good(issuer));
}

function unsigned(issuer) {
  return `${encode(JSON.stringify(issuer.header({ alg: "none" })))}.${encode(good(issuer))}.`;
}

/** Signed by HMAC under what everybody knows: the public key. */
function confused(issuer, header) {
  return hmacCompact(
    issuer.sessionKey.publicBytes,
    issuer.header({ alg: "HS256", ...header }),
    issuer.claims(),
  );
}

function spliced(issuer) {
  const [header, , signature] = issuer.token().split(".");
  return [header, encode(JSON.stringify(issuer.claims({ sub: "admin" }))), signature].join(".");
}

function flipped(issuer) {
  const [header, payload, signature] = issuer.token().split(".");
  const bytes = Buffer.from(signature, "base64url");
  bytes[10] ^= 1;
  return [header, payload, encode(bytes)].join(".");
}

function assertCleared(answer) {
  const cleared = answer.cookies.map((line) => line.split(";")[0]).sort();
  assert.deepEqual(cleared, ["__Host-renewal=", "__Host-session="]);
  for (const line of answer.cookies) {
    for (const attribute of ["Max-Age=0", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"]) {
      assert.ok(line.split("; ").includes(attribute), line);
    }
  }
  assert.match(answer.headers["cache-control"], /private, no-store/);
}
