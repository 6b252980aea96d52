// Thousands of ways to write the path of a request, made by rule, and what docs/protocol.md §9 says
// that each of them means. Written from that section alone.
//
// A form is the target of a request line in latin1, one character a byte: anything but the space and
// the line ends that would end the line.

/** Everything below this is for everybody. */
const OPEN = "/public/";
/** What nobody may see without a session. */
const CLOSED = "private";

const hex = (byte) => byte.toString(16).padStart(2, "0");
const BYTES = Array.from({ length: 256 }, (_, byte) => byte);
/** Text as the bytes of its UTF-8. */
const bytesOf = (text) => Buffer.from(text, "utf8").toString("latin1");
/** All of it percent-encoded. */
const escaped = (text) => [...Buffer.from(text, "utf8")].map((byte) => `%${hex(byte)}`).join("");
const product = (...lists) =>
  lists.reduce((all, list) => all.flatMap((head) => list.map((item) => [...head, item])), [[]]);

/** Every subset of the letters of a word, changed. */
function subsets(word, change) {
  const letters = [...word];
  return Array.from({ length: 2 ** letters.length }, (_, set) =>
    letters.map((letter, i) => (set & (1 << i) ? change(letter) : letter)).join(""),
  );
}

/** Spellings of `..` and `.`, and of what programs take for them. */
const DOTS = [
  ".", "..", "...", "%2e", "%2E", "%2e%2e", "%2E%2e", ".%2e", "%2e.", "..%00", "..%09", "..%20", "..;",
  "..;a=b", "..%3b", "%252e%252e", "%25%32%65.", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%u002e%u002e",
  "%uff0e%uff0e", escaped("．．"), bytesOf("．．"), escaped("‥"), "..%c0%80", ".\\.",
];
/** Spellings of `/`, and of what programs take for it. */
const SLASHES = [
  "/", "//", "///", "/./", "\\", "\\\\", "/\\", "%2f", "%2F", "%5c", "%5C", "%252f", "%255c", "%c0%af",
  "%e0%80%af", "%f0%80%80%af", "%c1%9c", escaped("∕"), escaped("⁄"), escaped("／"), bytesOf("／"), ";/",
  "/;/", "%00/", "%u2215", "/%20/",
];
const TAILS = [CLOSED, `${CLOSED}/`, `${CLOSED}%00.css`];

/** Letters that programs fold to those of `public` and `private`. */
const ALIKE = { p: "ｐр", u: "ｕυ", b: "ｂƄ", l: "ｌⅼ", i: "ｉıİі", c: "ｃϲ", r: "ｒ", v: "ｖⅴν", a: "ａаª", t: "ｔ", e: "ｅе" };
/** Marks that take no room. */
const UNSEEN = ["\u200b", "\u200d", "\u00ad", "\ufeff", "\u2060", "\u0301", "\u202e", "\u00a0", "\u3000", "\u2028"];

const lookalikes = (word) =>
  [...word].flatMap((letter, i) =>
    [...(ALIKE[letter] ?? "")].map((other) => word.slice(0, i) + other + word.slice(i + 1)),
  );
const withMarks = (word) =>
  UNSEEN.flatMap((mark) => [mark + word, word + mark, word.slice(0, 3) + mark + word.slice(3)]);

/** UTF-8 of one ASCII character in more bytes than it needs, two to six. */
function overlong(character) {
  const code = character.charCodeAt(0);
  return [2, 3, 4, 5, 6].map((length) => {
    const bytes = [((0xff << (8 - length)) & 0xff) | (length === 2 ? code >> 6 : 0)];
    for (let left = length - 2; left >= 0; left -= 1) bytes.push(0x80 | ((code >> (6 * left)) & 0x3f));
    return bytes.map((byte) => `%${hex(byte)}`).join("");
  });
}

/**
 * The forms by what they are about.
 *
 * @param {string} host of the edge, with its port
 * @returns {Record<string, string[]>}
 */
export function pathForms(host) {
  const groups = {
    "each byte, escaped": BYTES.flatMap((byte) =>
      [`%${hex(byte)}`, `%${hex(byte).toUpperCase()}`].flatMap((text) => [
        `${OPEN}a${text}b`,
        `${OPEN}..${text}${CLOSED}`,
        `/public${text}${CLOSED}`,
        `/${CLOSED}${text}`,
      ]),
    ),
    "each byte as it is": BYTES.filter((byte) => ![0x0a, 0x0d, 0x20].includes(byte)).flatMap((byte) => {
      const text = String.fromCharCode(byte);
      return [`${OPEN}a${text}b`, `${OPEN}..${text}${CLOSED}`, `/${CLOSED}${text}`];
    }),
    "each byte, escaped twice": BYTES.flatMap((byte) => [
      `${OPEN}..%25${hex(byte)}${CLOSED}`,
      `/${CLOSED}%25${hex(byte)}`,
    ]),
    "dots and slashes": product(DOTS, SLASHES).flatMap(([dots, slash], i) => [
      `${OPEN}${dots}${slash}${TAILS[i % TAILS.length]}`,
      `/public${slash}${dots}${slash}${CLOSED}`,
    ]),
    "letter case": [
      ...subsets("public", (letter) => letter.toUpperCase()).map((word) => `/${word}/a`),
      ...subsets(CLOSED, (letter) => letter.toUpperCase()).map((word) => `/${word}`),
    ],
    "escaped letters": [
      ...subsets("public", escaped).map((word) => `/${word}/a`),
      ...subsets(CLOSED, escaped).map((word) => `/${word}`),
      ...subsets(CLOSED, escaped).map((word) => `${OPEN}../${word}`),
    ],
    "look-alike letters": ["public", CLOSED]
      .flatMap((word) => [...lookalikes(word), ...withMarks(word)])
      .flatMap((word) => [`/${escaped(word)}/a`, `/${bytesOf(word)}/a`, `${OPEN}../${bytesOf(word)}`]),
    "overlong UTF-8": product([..."/.\\;\0p%?#"].flatMap(overlong), [(x) => x, (x) => x.toUpperCase()]).flatMap(
      ([text, change]) => [`${OPEN}..${change(text)}${CLOSED}`, `${OPEN}${change(text)}`, `/public${change(text)}a`],
    ),
    "absolute and authority form": [
      ...product(
        ["http://", "https://", "HTTP://", "ftp://", "ws://", "//", "http:", "http:/", "javascript://", "file://"],
        [host, "evil.example", "localhost", `${host}@evil.example`, `user:pw@${host}`, ""],
        ["/public/a", `/${CLOSED}`, `/public/../${CLOSED}`, `//public/a`, "", "?/public/a", "#/public/a"],
      ).map((parts) => parts.join("")),
      "*", host, "evil.example:80", "public/a", CLOSED, "@/public/a", ".", "..", "?", "#", ":80/public/a",
    ],
    "queries and fragments": product(
      [`/${CLOSED}`, "/public", `${OPEN}..`, "/"],
      ["?", "#", "%3f", "%23", "?#", "#?", ";?", "%3F%23", "??"],
      ["/public/a", `/../${CLOSED}`, "/..", "//", `\\..\\${CLOSED}`, ""],
    ).map((parts) => parts.join("")),
    "empty and trailing segments": [
      ...Array.from({ length: 20 }, (_, n) => `/public${"/".repeat(n + 1)}${CLOSED}`),
      ...Array.from({ length: 20 }, (_, n) => `${"/".repeat(n + 1)}${CLOSED}`),
      ...Array.from({ length: 20 }, (_, n) => `${OPEN}a${"/..".repeat(n + 1)}/${CLOSED}`),
      ...Array.from({ length: 20 }, (_, n) => `/${CLOSED}${"/.".repeat(n + 1)}`),
      ...product(
        [`/${CLOSED}`, `${OPEN}a`, "/public"],
        [".", "..", "...", "%20", "%2e", "~1", "::$DATA", ".css", ".json", "/", "//", "/.", "/..", "%00", "%0a", "+"],
        ["", "/", "a"],
      ).map((parts) => parts.join("")),
    ],
    "bad escapes": product(
      [OPEN, `${OPEN}../`, `/${CLOSED}`],
      ["%", "%%", "%a", "%zz", "%2", "%2g", "%g2", "% 2f".replace(" ", "+"), "%-1", "%0x2f", "%u002f", "%\u00b2f", "%2%66", "%%32f"],
      ["", "/", CLOSED, "%"],
    ).map((parts) => parts.join("")),
    "the edge's own paths": product(
      ["/.session", "/%2esession", "/.SESSION", "/.session%2f", "/.session;", "/.session\\", `${OPEN}../.session`],
      ["", "/", "/health", "//health", "/../public/a", `/..%2f${CLOSED}`, "/api/sessions", "/assets/../../private"],
    ).map((parts) => parts.join("")),
    "length": [100, 1000, 4000].flatMap((length) => [
      `${OPEN}${"a".repeat(length)}`,
      `${OPEN}${"a/".repeat(length / 2)}`,
      `${OPEN}${"../".repeat(length / 3)}${CLOSED}`,
      `${OPEN}${"%2e%2e/".repeat(length / 7)}${CLOSED}`,
    ]),
  };
  return Object.fromEntries(Object.entries(groups).map(([name, forms]) => [name, [...new Set(forms)]]));
}

const UNRESERVED = /[A-Za-z0-9._~-]/;
const DELIMITER = /[/!$&'()*+,=:@]/;

/**
 * The one form of a path by §9; undefined where it can be read in two ways.
 *
 * @param {string} path in latin1, without query
 */
export function reading(path) {
  if (!path.startsWith("/") || /%(?![0-9a-f]{2})/i.test(path)) return undefined;
  const meaning = [];
  let form = "";
  for (const [piece] of path.matchAll(/%..|[^]/gs)) {
    const isEscape = piece.length === 3;
    const code = isEscape ? Number.parseInt(piece.slice(1), 16) : piece.charCodeAt(0);
    const character = String.fromCharCode(code);
    if (code < 0x20 || code === 0x7f || "\\;".includes(character) || (isEscape && character === "/")) return undefined;
    meaning.push(code);
    const stays = UNRESERVED.test(character) || (!isEscape && DELIMITER.test(character));
    form += stays ? character : `%${hex(code).toUpperCase()}`;
  }
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(meaning));
  } catch {
    return undefined;
  }
  const segments = form.slice(1).split("/");
  const isLast = (i) => i === segments.length - 1;
  const odd = (segment, i) => segment === "." || segment === ".." || (segment === "" && !isLast(i));
  return segments.some(odd) ? undefined : form;
}

/**
 * The path as a program reads it that is careless in one way: what it would then serve.
 *
 * @param {string} path in latin1, without query
 * @returns {string[]}
 */
export function carelessReadings(path) {
  const decoded = path.replace(/%([0-9a-f]{2})/gi, (_, pair) => String.fromCharCode(Number.parseInt(pair, 16)));
  return [path, decoded]
    .flatMap((text) => [text, text.replaceAll("\\", "/"), text.replace(/;[^/]*/g, ""), text.split("\0")[0]])
    .flatMap((text) => [text, text.toLowerCase(), text.trim()])
    .map(resolved);
}

/** Without empty and dot segments. */
function resolved(path) {
  const segments = [];
  for (const segment of path.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "." && segment !== "") segments.push(segment);
  }
  return `/${segments.join("/")}`;
}
