// Lines that lead to another site where they are taken for a path of this one: every way to begin
// one, before every way to name a host.

/** How they begin: what browsers, servers and libraries read as `//` or as a scheme. */
const LEADS = [
  "//", "///", "////", "/////", "/\\", "\\/", "\\\\", "/\\/\\/", "/\t/", "//\t/", "/\n/", "/\r/", "\t//", " //", "/ /",
  "\u00a0//", "\u3000//", "/%09/", "//%09/", "/%0a/", "/%5c", "//%5c", "/%2f", "/%2f%2f", "/%2f%5c%2f", "/%252f%252f", "/.//", "/..//",
  "/./\\", "/%2e%2e//", "http://", "https://", "HTTP://", "http:", "https:", "https:/", "https:\\", "https:///", "/http://",
  "//http://", "//https:///", "/https:/%5c", "ftp://", "<>//", "/<>//", "///\\;@", "//;@", "/;//", "@", "/@", ".", "?//", "#//", "/?//",
  "/#//", "javascript:alert(1)//", "/javascript:", "data:text/html,//", "%68%74%74%70%3a%2f%2f", "jav\tascript://", "//%00",
  "/\0/", ";//", "\\u002f\\u002f", "//\u202e", "／／", "/／", "∕∕", "/\u2215", "view-source://", "blob:", "\\x2f\\x2f", "/%c0%af",
];
const TAILS = ["", "/", "//", "/%2e%2e", "/%2f..", "/..;/", "?a=b", "#/a"];

/**
 * @param {string} own host of the edge, with its port
 * @returns {string[]}
 */
export function openRedirects(own) {
  const hosts = [
    "evil.example", "evil.example:80", "user@evil.example", `${own}@evil.example`, `evil.example#@${own}`,
    `evil.example?@${own}`, `evil.example\\@${own}`, `${own}.evil.example`, "evil%E3%80%82example",
    "evil。example", "evil%00.example", "3627734734", "0xd83ad6ce", "[::ffff:216.58.214.206]", `evil.example%2f@${own}`,
  ];
  return LEADS.flatMap((lead, i) =>
    hosts.map((host, j) => `${lead}${host}${TAILS[(i + j) % TAILS.length]}`),
  );
}
