// A browser's cookie jar, as far as our cookies need one (RFC 6265bis): what a browser would
// refuse to store is refused here too, so that a wrong attribute shows as a lost session.

/**
 * @typedef {{name: string, value: string, attributes: Map<string, string>}} SetCookie
 */

/**
 * Reads one `Set-Cookie` line; attribute names in lower case.
 *
 * @param {string} line
 * @returns {SetCookie}
 */
export function parseSetCookie(line) {
  const [pair, ...rest] = line.split(";").map((part) => part.trim());
  const [name, value] = splitOnce(pair);
  const attributes = new Map(rest.map(splitOnce).map(([key, text]) => [key.toLowerCase(), text]));
  return { name, value, attributes };
}

export class CookieJar {
  /** @type {Map<string, {value: string, endsMs: number}>} */
  #cookies = new Map();

  /** @param {string[]} lines `Set-Cookie` lines of one answer */
  take(lines) {
    for (const { name, value, attributes } of lines.map(parseSetCookie)) {
      if (name.startsWith("__Host-") && !isHostBound(attributes)) {
        throw new Error(`a browser refuses this cookie: ${name} ${[...attributes]}`);
      }
      const maxAge = attributes.has("max-age") ? Number(attributes.get("max-age")) : Infinity;
      if (maxAge > 0) this.#cookies.set(name, { value, endsMs: Date.now() + maxAge * 1000 });
      else this.#cookies.delete(name);
    }
  }

  /** @param {string} name */
  get(name) {
    const cookie = this.#cookies.get(name);
    return cookie && cookie.endsMs > Date.now() ? cookie.value : undefined;
  }

  /** @param {string} name @param {string} value */
  set(name, value) {
    this.#cookies.set(name, { value, endsMs: Infinity });
  }

  /** The `Cookie` header, or nothing. */
  header() {
    const live = [...this.#cookies.keys()].filter((name) => this.get(name) !== undefined);
    return live.map((name) => `${name}=${this.get(name)}`).join("; ") || undefined;
  }

  copy() {
    const copy = new CookieJar();
    copy.#cookies = new Map(this.#cookies);
    return copy;
  }
}

function isHostBound(attributes) {
  return attributes.has("secure") && attributes.get("path") === "/" && !attributes.has("domain");
}

function splitOnce(text) {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
