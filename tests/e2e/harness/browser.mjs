// Chromium, by playwright-core: visitors with a browser profile each, whose every complaint counts.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { keep, forget } from "./children.mjs";

const PROGRAM = process.env.HALLPASS_CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS =
  process.env.HALLPASS_SCREENSHOTS ?? fileURLToPath(new URL("../../../target/screenshots/", import.meta.url));
/** No page of these tests needs longer; the default of half a minute would hide a hang. */
const ACTION_DEADLINE_MS = 10_000;

export const DESKTOP = { viewport: { width: 1280, height: 900 } };
/** The narrowest phone in use, with its own user agent. */
export const PHONE = {
  viewport: { width: 360, height: 740 },
  isMobile: true,
  hasTouch: true,
  userAgent:
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
};

/** Starts a browser; it ends with the test file. */
export async function startBrowser() {
  // Chromium's own sandbox does not work for root, as which CI may run.
  const args = ["--disable-dev-shm-usage", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])];
  const browser = await chromium.launch({ executablePath: PROGRAM, args });
  const running = keep({
    stop: async () => {
      forget(running);
      await browser.close();
    },
  });
  return Object.assign(running, { visit: (origin, options) => Visitor.arrive(browser, origin, options) });
}

/** Somebody with a browser profile of their own. */
export class Visitor {
  /** Errors on the console, uncaught exceptions, violations of a page's policy. @type {string[]} */
  complaints = [];

  /**
   * @param {import("playwright-core").Browser} browser
   * @param {string} origin of the edge
   * @param {import("playwright-core").BrowserContextOptions} [options]
   */
  static async arrive(browser, origin, options = DESKTOP) {
    const context = await browser.newContext({
      baseURL: origin,
      locale: "en-GB",
      timezoneId: "UTC",
      ...options,
    });
    context.setDefaultTimeout(ACTION_DEADLINE_MS);
    const visitor = new Visitor();
    visitor.context = context;
    visitor.page = await context.newPage();
    visitor.page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) visitor.complaints.push(message.text());
    });
    visitor.page.on("pageerror", (error) => visitor.complaints.push(String(error)));
    return visitor;
  }

  /** Goes through the demo's sign-in form, which is where they must be. @param {string} user */
  async signIn(user) {
    await this.page.getByLabel("User name").fill(user);
    await this.page.getByLabel("Password").fill("demo");
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.page.getByRole("heading", { name: `Signed in as ${user}` }).waitFor();
  }

  /** Path and query of the page they see. */
  get location() {
    const { pathname, search } = new URL(this.page.url());
    return pathname + search;
  }

  /** A cookie as the browser keeps it. @param {string} name */
  async cookie(name) {
    return (await this.context.cookies()).find((cookie) => cookie.name === name);
  }

  /** @param {string} name */
  async screenshot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
  }

  /**
   * The page as somebody sees it who likes it dark; loaded so, since colours may fade on a change.
   *
   * @param {string} name
   */
  async screenshotInTheDark(name) {
    await this.page.emulateMedia({ colorScheme: "dark" });
    await this.page.reload();
    await this.screenshot(name);
    await this.page.emulateMedia({ colorScheme: "light" });
    await this.page.reload();
  }

  /** Asserts that nothing sticks out to the side. */
  async assertFits() {
    const [content, window] = await this.page.evaluate(() => [
      document.scrollingElement.scrollWidth,
      innerWidth,
    ]);
    assert.ok(content <= window, `${this.location}: ${content} px of content in ${window} px`);
  }
}
