// The live parts of the demo page: asks, listens and sends through the edge, as a page of any app
// would. It knows nothing of Hallpass but the problem documents that the edge answers with.
// All text goes in by textContent; nothing received is ever read as HTML.

const WATCH_INTERVAL_MS = 2000;
const LINES_MAX = 40;
// The edge closes a socket with this code when its session has ended.
const SESSION_ENDED_CODE = 4401;

const clock = () => new Date().toLocaleTimeString();

/** Adds a line to a card's output, newest first. */
function report(output, line, { wrong = false } = {}) {
  const lines = output.textContent.split("\n").filter(Boolean);
  output.textContent = [line, ...lines].slice(0, LINES_MAX).join("\n");
  output.classList.toggle("wrong", wrong);
}

/** What a refused answer says about itself, as one line. */
async function describeRefusal(response) {
  const isProblem = response.headers.get("content-type")?.startsWith("application/problem+json");
  const problem = isProblem ? await response.json() : {};
  return [response.status, problem.code ?? response.statusText].join(" ");
}

/** A button that starts something, and ends it when pressed again. `start` returns how to stop. */
function bindToggle(card, { active, start }) {
  const button = card.querySelector("button");
  const output = card.querySelector("output");
  const idle = button.textContent;
  let stop = null;

  const end = () => {
    stop?.();
    stop = null;
    button.textContent = idle;
    button.setAttribute("aria-pressed", "false");
  };
  button.addEventListener("click", () => {
    if (stop) {
      end();
      return;
    }
    output.textContent = "";
    button.textContent = active;
    button.setAttribute("aria-pressed", "true");
    stop = start(output, end);
  });
  button.closest(".actions").hidden = false;
}

function watchSession(output, end) {
  let timer;
  let stopped = false;

  const ask = async () => {
    const began = performance.now();
    try {
      const response = await fetch("/whoami", { headers: { accept: "application/json" } });
      if (stopped) return;
      if (!response.ok) {
        report(output, `${clock()}  ${await describeRefusal(response)}`, { wrong: true });
        if (response.status === 401) return end();
      } else {
        const { subject } = await response.json();
        const took = Math.round(performance.now() - began);
        report(output, `${clock()}  ${subject ?? "anonymous"}, ${took} ms`);
      }
    } catch {
      report(output, `${clock()}  no answer`, { wrong: true });
    }
    if (!stopped) timer = setTimeout(ask, WATCH_INTERVAL_MS);
  };
  ask();

  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

function listen(output) {
  const source = new EventSource("/events");
  source.addEventListener("tick", ({ data }) => report(output, `${clock()}  event ${JSON.parse(data).count}`));
  source.addEventListener("error", () => {
    const closed = source.readyState === EventSource.CLOSED;
    report(output, `${clock()}  ${closed ? "refused" : "cut off, trying again"}`, { wrong: true });
  });
  return () => source.close();
}

function bindSocket(card) {
  const form = card.querySelector("form");
  const output = card.querySelector("output");
  let socket = null;

  const open = () =>
    new Promise((resolve, reject) => {
      const opening = new WebSocket(new URL("/ws", location.href.replace(/^http/, "ws")));
      opening.addEventListener("open", () => resolve(opening));
      opening.addEventListener("message", ({ data }) => report(output, `${clock()}  ← ${data}`));
      opening.addEventListener("close", ({ code, reason }) => {
        socket = null;
        const why = code === SESSION_ENDED_CODE ? "the session has ended" : reason;
        report(output, `${clock()}  closed ${[code, why].filter(Boolean).join(": ")}`, { wrong: true });
        reject(new Error("closed"));
      });
    });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const message = form.elements.message.value;
    try {
      socket ??= open();
      (await socket).send(message);
      report(output, `${clock()}  → ${message}`);
    } catch {
      // The close event has said so already.
    }
  });
  form.hidden = false;
}

function bindEcho(card) {
  const form = card.querySelector("form");
  const output = card.querySelector("output");

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const response = await fetch("/echo", {
        method: "POST",
        headers: { "content-type": "text/plain;charset=utf-8", accept: "text/plain" },
        body: form.elements.message.value,
      });
      if (!response.ok) {
        report(output, `${clock()}  ${await describeRefusal(response)}`, { wrong: true });
        return;
      }
      const method = response.headers.get("x-method");
      report(output, `${clock()}  ${response.status} ${method}: ${await response.text()}`);
    } catch {
      report(output, `${clock()}  no answer`, { wrong: true });
    }
  });
}

const card = (id) => document.getElementById(id);
bindToggle(card("watch"), { active: "Stop watching", start: watchSession });
bindToggle(card("events"), { active: "Stop listening", start: listen });
bindSocket(card("socket"));
bindEcho(card("echo"));
