// Betters the portal where it runs; the page's plain forms do everything without it.
//
// It asks before a sign-out, does it without leaving the page, says when it is in force everywhere,
// and keeps relative times fresh. What it cannot finish it leaves to the form.

const API = "/.session/api/";
const DAY = 86_400;
const UNITS = [[365 * DAY, "year"], [30 * DAY, "month"], [DAY, "day"], [3_600, "hour"], [60, "minute"]];
/** How often times are refreshed: half of their finest unit. */
const REFRESH_MS = 30_000;
/** How often to ask whether a sign-out is in force, and how long past its bound. */
const ASK_EVERY_MS = 1_000;
const ASK_LONGER_MS = 5_000;

const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const main = one("main");
const status = one("[role=status]");
const dialog = one("#confirm");
const bound = Number(main.dataset.bound);
/** What the service's clock is ahead of this device's, in seconds. */
const ahead = Number(main.dataset.now) - Date.now() / 1000;

const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** The words and borders of the server's `words::ago`. */
function ago(seconds) {
  const [unit, noun] = UNITS.find(([least]) => seconds >= least) ?? [];
  return unit ? `${counted(Math.floor(seconds / unit), noun)} ago` : "just now";
}

function refreshTimes() {
  for (const time of all("time.ago")) {
    time.textContent = ago(Math.floor(Date.now() / 1000 + ahead - Date.parse(time.dateTime) / 1000));
  }
}

/** Exact times in the reader's own time zone; the page comes with UTC. */
function localiseTimes() {
  const format = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const time of all("time:not([datetime=''])")) {
    const words = `${format.format(new Date(time.dateTime))} (${zone})`;
    if (time.matches(".exact")) time.textContent = words;
    else time.title = words;
  }
}

function say(text, isFailure = false) {
  const line = document.createElement("p");
  line.textContent = text;
  line.classList.toggle("failed", isFailure);
  status.replaceChildren(line);
}

/** Waits until the log position is in force everywhere, then says so; or that nobody could. */
async function follow({ epoch, to }, is) {
  const query = new URLSearchParams({ epoch, to });
  const giveUp = Date.now() + bound * 1000 + ASK_LONGER_MS;
  while (Date.now() < giveUp) {
    const answer = await fetch(`${API}in-force?${query}`).then((it) => it.json()).catch(() => null);
    if (answer?.everywhere === true) return say(`${is} signed out everywhere.`);
    await new Promise((done) => setTimeout(done, ASK_EVERY_MS));
  }
  say(`${is} signed out. Whether everywhere could not be confirmed.`);
}

/** Whether the user said yes; focus goes back to the button by itself. */
function confirmed(question, consequence) {
  dialog.querySelector("h2").textContent = question;
  dialog.querySelector("p").textContent = consequence;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "end"), { once: true });
  });
}

const rows = () => all(".device:not(.gone, .this)");

/** What a form would sign out: its rows, its address and its words. */
function targetOf(form) {
  const sid = form.dataset.end;
  if (sid === "others") {
    return { rows: rows(), path: "sessions", name: "all other devices", is: "All other devices are" };
  }
  const row = form.closest(".device");
  const name = row.querySelector("h3").textContent;
  return { rows: [row], path: `sessions/${encodeURIComponent(sid)}`, name, is: `${name} is` };
}

/** Marks rows as signed out and puts focus on what is next. */
function markGone(gone) {
  const every = all(".device:not(.this)");
  const after = every.slice(every.indexOf(gone.at(-1)) + 1).concat(every.toReversed());
  for (const row of gone) {
    const outcome = document.createElement("p");
    outcome.className = "outcome";
    outcome.textContent = "Signed out";
    row.classList.add("gone");
    row.querySelector("form").replaceWith(outcome);
  }
  const left = rows();
  for (const count of all(".count")) count.textContent = left.length;
  if (left.length === 0) one(".all").remove();
  const next = after.find((row) => left.includes(row));
  (next?.querySelector("form button") ?? one("#others")).focus();
}

async function signOut(form) {
  const target = targetOf(form);
  const effect = `takes effect everywhere within ${counted(bound, "second")}`;
  if (!(await confirmed(`Sign out ${target.name}?`, `It ${effect} and cannot be undone.`))) return;
  if (!navigator.onLine) return say("You are offline. Nothing has been signed out.", true);
  const button = form.querySelector("button");
  button.setAttribute("aria-disabled", "true");
  say(`Signing out ${target.name}…`);
  const answer = await fetch(API + target.path, { method: "DELETE" });
  if (answer.status === 401) return location.assign("/.session/");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { list } = await answer.json();
  markGone(target.rows);
  say(`${target.is} signed out. It ${effect}.`);
  follow(list, target.is);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-end]")) return;
  event.preventDefault();
  if (form.querySelector("[aria-disabled]")) return;
  // submit() skips this listener: the plain form finishes, or its answer says what is wrong.
  signOut(form).catch(() => form.isConnected && form.submit());
});

// A page from the browser's memory may show what has ended since.
addEventListener("pageshow", (event) => event.persisted && location.reload());

localiseTimes();
setInterval(refreshTimes, REFRESH_MS);

const notice = status.querySelector("p[data-epoch][data-to]");
if (notice) {
  // A reload should not bring the notice back.
  history.replaceState(null, "", location.pathname);
  follow(notice.dataset, notice.dataset.is);
}
