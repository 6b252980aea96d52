// Sessions as `GET /v1/edge/me/sessions` shows them (docs/protocol.md §3), with a string of choice in
// one field.

import { newSid } from "./mint.mjs";
import { now } from "./wait.mjs";

/** Each field that a stranger's words may stand in, and how they get there. */
export const SESSION_FIELDS = {
  label: (session, text) => (session.device.label = text),
  kind: (session, text) => (session.device.kind = text),
  browser: (session, text) => (session.device.browser = text),
  os: (session, text) => (session.device.os = text),
  ip: (session, text) => (session.ip = text),
  "ip without place": (session, text) => Object.assign(session, { ip: text, place: {} }),
  country: (session, text) => (session.place.country = text),
  region: (session, text) => (session.place = { region: text }),
  city: (session, text) => (session.place.city = text),
  amr: (session, text) => (session.amr = [text]),
  sid: (session, text) => (session.sid = text),
  reason: (session, text) => session.ended && (session.ended.reason = text),
};

/** A session, live or ended. */
export function session({ current = false, ended = null } = {}) {
  const at = now();
  return {
    sid: newSid(),
    created_at: at - 3600,
    auth_time: at - 3600,
    last_seen_at: at - 60,
    ends_at: at + 86_400,
    idle_ends_at: at + 43_200,
    device: { label: "Firefox on Linux", kind: "desktop", browser: "Firefox", os: "Linux" },
    ip: "203.0.113.7",
    place: { country: "NL", region: "North Holland", city: "Amsterdam" },
    amr: ["pwd"],
    ended,
    current,
  };
}

/**
 * This device, others and ended ones; each has one of the strings in the field.
 *
 * @param {keyof typeof SESSION_FIELDS} field
 * @param {string[]} strings
 */
export function sessionsWith(field, strings) {
  const write = (one, text) => {
    SESSION_FIELDS[field](one, text);
    return one;
  };
  const ended = { at: now() - 30, by: "user", reason: "ended_by_user" };
  return {
    sessions: [session({ current: true }), ...strings.map((text) => write(session(), text))],
    ended: [...strings, ...strings.slice(0, 1)].map((text) => write(session({ ended: { ...ended } }), text)),
  };
}
