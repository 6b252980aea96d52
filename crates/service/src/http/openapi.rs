//! The service's routes as `OpenAPI` 3.1, for people, clients and testing tools.
//!
//! Written by hand as one table of operations and one of schemas, which costs the wire types of
//! `hallpass_session` no dependency. What ties it to the program: statuses come from `problem`,
//! tests compare every schema with the example message in `tests/vectors/wire/` and every path with
//! the routes, and `cargo xtask test service` lets schemathesis compare answers with it.
//!
//! Source: docs/protocol.md §3, §5. Committed as docs/openapi.json by `cargo xtask generate`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::problem::status;
use crate::credential::Scope;
use crate::failure::{Failure, Fault, Refusal};

/// What answers a request that went well.
#[derive(Clone, Copy)]
enum Success {
    /// JSON of this schema.
    Json(u16, &'static str),
    /// Text of this type.
    Text(&'static str),
    /// The revocation list, or that it is unchanged.
    List,
}

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    scope: Option<Scope>,
    parameters: &'static [&'static str],
    body: Option<&'static str>,
    success: Success,
    refusals: Vec<Refusal>,
    /// Codes of 503 besides those that every route has.
    outages: &'static [&'static str],
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    let mut responses = Map::new();
    for operation in operations() {
        for (status, codes) in operation.codes() {
            responses.insert(codes.join("."), problem(status, &codes));
        }
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.describe();
    }
    let credential = |scope: Scope| {
        let description = format!("Credential of scope {}: hpc_{0}_…", scope.name());
        json!({"type": "http", "scheme": "bearer", "description": description})
    };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hallpass session service",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What edges, apps and operators ask of the session service. \
                Rules and reasons: docs/protocol.md.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "edge": credential(Scope::Edge),
                "app": credential(Scope::App),
                "admin": credential(Scope::Admin),
            },
            "parameters": parameters(),
            "headers": headers(),
            "responses": responses,
            "schemas": schemas(),
        },
    })
}

impl Operation {
    fn describe(&self) -> Value {
        let parameters = self.parameters.iter();
        let parameters: Vec<_> = parameters
            .map(|name| json!({"$ref": format!("#/components/parameters/{name}")}))
            .collect();
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "security": self.security(),
            "responses": self.responses(),
        });
        if !parameters.is_empty() {
            described["parameters"] = Value::Array(parameters);
        }
        if let Some(schema) = self.body {
            let content = json!({"application/json": {"schema": reference(schema)}});
            described["requestBody"] = json!({"required": true, "content": content});
        }
        described
    }

    fn security(&self) -> Value {
        match self.scope {
            None => json!([]),
            Some(Scope::App) => json!([{"app": []}, {"admin": []}]),
            Some(scope) => json!([{scope.name(): []}]),
        }
    }

    fn responses(&self) -> Map<String, Value> {
        let mut responses = self.success.describe();
        for (status, codes) in self.codes() {
            let response = format!("#/components/responses/{}", codes.join("."));
            responses.insert(status.to_string(), json!({"$ref": response}));
        }
        if self.path == "/readyz" {
            responses.insert("503".to_owned(), text("Not ready", "text/plain"));
        }
        responses
    }

    /// Every code that this operation answers, by status.
    fn codes(&self) -> BTreeMap<u16, Vec<&'static str>> {
        let mut codes: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
        let mut add = |status: u16, code| codes.entry(status).or_default().push(code);
        let mut refusals = vec![Refusal::RequestHeadTooLarge];
        if self.scope.is_some() {
            refusals.extend([
                Refusal::CredentialInvalid,
                Refusal::ScopeInsufficient,
                Refusal::AttemptsLimited {
                    retry_after_secs: 1,
                },
            ]);
        }
        if self.body.is_some() {
            refusals.extend([Refusal::RequestTooLarge, Refusal::BodyTimedOut]);
        }
        for refusal in refusals.into_iter().chain(self.refusals.iter().cloned()) {
            add(status(&refusal.clone().into()).as_u16(), refusal.code());
        }
        let fault = Failure::from(Fault::Answer);
        add(status(&fault).as_u16(), fault.code());
        add(503, "service_unavailable");
        add(503, "request_timed_out");
        self.outages.iter().for_each(|code| add(503, code));
        for codes in codes.values_mut() {
            codes.sort_unstable();
            codes.dedup();
        }
        codes
    }
}

impl Success {
    fn describe(self) -> Map<String, Value> {
        let mut responses = Map::new();
        match self {
            Self::Json(status, schema) => {
                let content = json!({"application/json": {"schema": reference(schema)}});
                let done = json!({
                    "description": schema,
                    "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
                    "content": content,
                });
                responses.insert(status.to_string(), done);
            }
            Self::Text(kind) => {
                responses.insert("200".to_owned(), text("Done", kind));
            }
            Self::List => {
                let mut list = text(
                    "The list, or what changed: a compact JWS",
                    "application/jose",
                );
                let position = json!({
                    "description": "epoch=\"E\", to=N, confirmed_ms=C",
                    "required": true,
                    "schema": {"type": "string", "pattern": "^epoch=\"[^\"]+\", to=[0-9]+, confirmed_ms=-?[0-9]+$"},
                });
                list["headers"]["Hallpass-List"] = position.clone();
                let mut unchanged = json!({"description": "Nothing new", "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}});
                unchanged["headers"]["Hallpass-List"] = position;
                responses.insert("200".to_owned(), list);
                responses.insert("204".to_owned(), unchanged);
            }
        }
        responses
    }
}

#[expect(clippy::too_many_lines, reason = "a table, one entry per route")]
fn operations() -> Vec<Operation> {
    let me = || {
        use hallpass_session::refusal::Refusal as Token;
        [
            Token::SessionMissing,
            Token::TokenMalformed,
            Token::TokenUntrusted,
            Token::TokenInvalid,
            Token::TokenExpired,
            Token::SessionRevoked,
            Token::SessionExpired,
        ]
        .map(Refusal::Token)
    };
    let malformed = || Refusal::RequestMalformed("");
    let terminal = [
        Refusal::RenewalMalformed,
        Refusal::RenewalUnknown,
        Refusal::RenewalReused,
        Refusal::SessionRevoked,
        Refusal::SessionExpired,
    ];
    let plain = |method, path, id, summary, scope, success| Operation {
        method,
        path,
        id,
        summary,
        scope,
        success,
        parameters: &[],
        body: None,
        refusals: Vec::new(),
        outages: &[],
    };
    let edge = Some(Scope::Edge);
    let app = Some(Scope::App);
    let admin = Some(Scope::Admin);
    let ok = |schema| Success::Json(200, schema);
    vec![
        plain(
            "get",
            "/v1/edge/keys",
            "edgeKeys",
            "Public keys of session tokens and lists",
            edge,
            ok("EdgeKeys"),
        ),
        Operation {
            parameters: &["epoch", "after", "wait", "edge", "bound", "shared"],
            refusals: vec![malformed()],
            outages: &["table_rolled_back"],
            ..plain(
                "get",
                "/v1/edge/revocations",
                "pollRevocations",
                "The revocation list, at once or when it changes",
                edge,
                Success::List,
            )
        },
        Operation {
            body: Some("RenewRequest"),
            refusals: [malformed()].into_iter().chain(terminal.clone()).collect(),
            outages: &["renewal_key_unknown", "table_rolled_back"],
            ..plain(
                "post",
                "/v1/edge/renew",
                "renew",
                "Renew a session",
                edge,
                ok("Renewed"),
            )
        },
        Operation {
            parameters: &["sid"],
            refusals: vec![Refusal::SessionUnknown, malformed()],
            ..plain(
                "get",
                "/v1/edge/sessions/{sid}",
                "liveness",
                "Whether a session is live",
                edge,
                ok("Liveness"),
            )
        },
        Operation {
            parameters: &["token"],
            refusals: [malformed()].into_iter().chain(me()).collect(),
            ..plain(
                "get",
                "/v1/edge/me/sessions",
                "mySessions",
                "The user's own sessions",
                edge,
                ok("Sessions"),
            )
        },
        Operation {
            parameters: &["optional_token"],
            body: Some("RevokeMine"),
            refusals: [
                malformed(),
                Refusal::SessionUnknown,
                Refusal::RenewalMalformed,
            ]
            .into_iter()
            .chain(me())
            .collect(),
            outages: &["renewal_key_unknown"],
            ..plain(
                "post",
                "/v1/edge/me/revoke",
                "revokeMine",
                "End one of the user's sessions, or all others",
                edge,
                ok("Revoked"),
            )
        },
        Operation {
            parameters: &["token", "in_force_epoch", "in_force_to"],
            refusals: [malformed()].into_iter().chain(me()).collect(),
            ..plain(
                "get",
                "/v1/edge/me/in-force",
                "inForce",
                "Whether a revocation is in force at every edge",
                edge,
                ok("InForce"),
            )
        },
        Operation {
            parameters: &["idempotency_key"],
            body: Some("CreateSession"),
            refusals: vec![
                malformed(),
                Refusal::IdempotencyKeyReused,
                Refusal::IdempotentSessionEnded,
            ],
            ..plain(
                "post",
                "/v1/sessions",
                "createSession",
                "Create a session",
                app,
                Success::Json(201, "Created"),
            )
        },
        Operation {
            parameters: &["sid"],
            refusals: vec![Refusal::SessionUnknown, malformed()],
            ..plain(
                "get",
                "/v1/sessions/{sid}",
                "showSession",
                "One session",
                app,
                ok("Session"),
            )
        },
        Operation {
            parameters: &["sid"],
            refusals: vec![Refusal::SessionUnknown, malformed()],
            ..plain(
                "delete",
                "/v1/sessions/{sid}",
                "revokeSession",
                "End one session",
                app,
                ok("Revoked"),
            )
        },
        Operation {
            parameters: &["b64sub"],
            refusals: vec![malformed()],
            ..plain(
                "get",
                "/v1/subjects/{b64sub}/sessions",
                "sessionsOfSubject",
                "A subject's sessions",
                app,
                ok("Sessions"),
            )
        },
        Operation {
            parameters: &["b64sub", "except"],
            refusals: vec![malformed()],
            ..plain(
                "delete",
                "/v1/subjects/{b64sub}/sessions",
                "revokeSubject",
                "End a subject's sessions",
                app,
                ok("Revoked"),
            )
        },
        Operation {
            body: Some("RevokedBefore"),
            refusals: vec![malformed()],
            ..plain(
                "post",
                "/v1/revoked-before",
                "revokeEverything",
                "End every session there is",
                admin,
                ok("Revoked"),
            )
        },
        Operation {
            parameters: &["in_force_epoch", "in_force_to"],
            refusals: vec![malformed()],
            ..plain(
                "get",
                "/v1/in-force",
                "isInForce",
                "Whether a revocation is in force at every edge",
                app,
                ok("InForce"),
            )
        },
        Operation {
            parameters: &["events_after", "limit", "wait"],
            refusals: vec![malformed()],
            ..plain(
                "get",
                "/v1/events",
                "events",
                "What happened to sessions, in commit order",
                app,
                ok("Events"),
            )
        },
        plain(
            "get",
            "/metrics",
            "metrics",
            "Counters",
            admin,
            Success::Text("application/openmetrics-text"),
        ),
        plain(
            "get",
            "/.well-known/jwks.json",
            "publicKeys",
            "Public keys of session tokens",
            None,
            ok("JwkSet"),
        ),
        plain(
            "get",
            "/openapi.json",
            "openapi",
            "This document",
            None,
            ok("Anything"),
        ),
        plain(
            "get",
            "/healthz",
            "health",
            "Whether the process answers",
            None,
            Success::Text("text/plain"),
        ),
        plain(
            "get",
            "/readyz",
            "readiness",
            "Whether it will serve",
            None,
            Success::Text("text/plain"),
        ),
    ]
}

/// A problem document with one of these codes.
fn problem(status: u16, codes: &[&str]) -> Value {
    let code_and_status =
        json!({"properties": {"code": {"enum": codes}, "status": {"const": status}}});
    let schema = json!({"allOf": [reference("Problem"), code_and_status]});
    let mut response = json!({
        "description": codes.join(", "),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"application/problem+json": {"schema": schema}},
    });
    if matches!(status, 429 | 503) {
        let header = json!({"description": "In seconds", "schema": {"type": "string"}});
        response["headers"]["Retry-After"] = header;
    }
    response
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn text(description: &str, kind: &str) -> Value {
    json!({
        "description": description,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {kind: {"schema": {"type": "string"}}},
    })
}

fn headers() -> Value {
    json!({"RequestId": {
        "description": "Id of the request in the service's log",
        "required": true,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"},
    }})
}

fn parameters() -> Value {
    let query = |name: &str, required: bool, description: &str, schema: Value| json!({"name": name, "in": "query", "required": required, "description": description, "schema": schema});
    let token = |required: bool| {
        json!({
            "name": "Hallpass-Session-Token",
            "in": "header",
            "required": required,
            "description": "The user's own session token, from which subject and session are taken",
            "schema": {"type": "string", "maxLength": 4096},
        })
    };
    let segment = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema});
    let epoch = json!({"type": "string", "maxLength": 64});
    json!({
        "epoch": query("epoch", false, "The epoch that the edge holds", epoch.clone()),
        "after": query("after", false, "The number that it holds; needs its epoch", number()),
        "events_after": query("after", false, "Number of the last event known", number()),
        "limit": query("limit", false, "At most so many", json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})),
        "wait": query("wait", false, "Seconds to wait for news", json!({"type": "integer", "minimum": 0, "maximum": 5})),
        "edge": query("edge", false, "Random id of the isolate", json!({"type": "string", "maxLength": 64})),
        "bound": query("bound", false, "Its largest list_max_age_secs", json!({"type": "integer", "minimum": 1, "maximum": 86400})),
        "shared": query("shared", false, "1 if it may start from a shared copy", json!({"type": "integer", "enum": [0, 1]})),
        "in_force_epoch": query("epoch", true, "Epoch of the revocation", json!({"type": "string"})),
        "in_force_to": query("to", true, "Number of the revocation", number()),
        "except": query("except", false, "A session that stays", sid()),
        "token": token(true),
        "optional_token": token(false),
        "idempotency_key": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "Makes a repetition answer for the same session, for a day",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
        "sid": segment("sid", "Id of the session", sid()),
        "b64sub": segment("b64sub", "base64url of the subject", json!({
            "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 2, "maxLength": 340,
        })),
    })
}

fn sid() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{21}[AQgw]$"})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})
}

fn seconds(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

fn string(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn nullable(kind: &str) -> Value {
    json!({"type": [kind, "null"]})
}

/// An object whose members are all required, save those whose names end in `?`.
fn object(is_strict: bool, members: Value) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Value::Object(members) = members {
        for (name, schema) in members {
            let name = if let Some(optional) = name.strip_suffix('?') {
                optional.to_owned()
            } else {
                required.push(name.clone());
                name
            };
            properties.insert(name, schema);
        }
    }
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if is_strict {
        object["additionalProperties"] = json!(false);
    }
    object
}

/// Requests refuse what they do not know; answers may grow.
fn asked(members: Value) -> Value {
    object(true, members)
}

fn told(members: Value) -> Value {
    object(false, members)
}

#[expect(clippy::too_many_lines, reason = "a table, one entry per message")]
fn schemas() -> Value {
    let amr = json!({"type": "array", "maxItems": 8, "items": {"type": "string"}});
    let sessions = json!({"type": "array", "items": reference("Session")});
    json!({
        "Anything": {"type": "object"},
        "JwkSet": told(json!({"keys": {"type": "array", "items": {"type": "object"}}})),
        "EdgeKeys": told(json!({"session": reference("JwkSet"), "list": reference("JwkSet")})),
        "Client": asked(json!({
            "ip?": {"type": ["string", "null"]},
            "user_agent?": nullable("string"),
            "hints?": {"type": "object", "description": "Client hints by lower-case header name"},
            "country?": nullable("string"),
            "region?": nullable("string"),
            "city?": nullable("string"),
            "asn?": {"type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX},
        })),
        "RenewRequest": asked(json!({
            "renewal_token": string("As the cookie had it"),
            "client?": reference("Client"),
            "request_id?": string("The edge's id of the request"),
        })),
        "Renewed": told(json!({
            "session_token": string("The new session token"),
            "renewal_token": string("The child of the confirmed renewal token"),
            "session_ends_at": seconds("When the session itself ends"),
            "persistent": {"type": "boolean"},
        })),
        "CreateSession": asked(json!({
            "subject": {"type": "string", "minLength": 1, "maxLength": 255,
                "pattern": "^[!#-+\\-.-:<-\\[\\]-~]+$", "description": "Who signed in"},
            "auth_time?": {"type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX,
                "description": "When the user proved who they are; at most 5 s ahead"},
            "amr?": {"type": "array", "maxItems": 8, "items":
                {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[ -~]+$"}},
            "ext?": {"type": ["object", "null"], "description": "The app's own claims, at most 1024 bytes"},
            "persistent?": {"type": "boolean", "default": true},
            "request": {"type": "string", "minLength": 1, "maxLength": 64,
                "description": "The Hallpass-Request of the sign-in request"},
            "client?": reference("Client"),
        })),
        "Created": told(json!({
            "session": reference("Session"),
            "session_token": string("The first session token"),
            "renewal_token": string("The first renewal token"),
            "session_ends_at": seconds("When the session itself ends"),
            "headers": told(json!({
                "Hallpass-Set-Session": string("Copy it onto the answer to the sign-in request"),
            })),
        })),
        "Session": told(json!({
            "sid": sid(),
            "created_at": seconds("When it was created"),
            "auth_time": seconds("When the user last proved who they are"),
            "last_seen_at": seconds("Creation or the last confirmed renewal"),
            "ends_at": seconds("Its absolute end"),
            "idle_ends_at": seconds("When it ends if it is not renewed before"),
            "device": reference("Device"),
            "ip": nullable("string"),
            "place": reference("Place"),
            "amr": amr,
            "ended": {"anyOf": [reference("Ended"), {"type": "null"}]},
            "current": {"type": "boolean", "description": "Whether it is the session that asks"},
        })),
        "Device": told(json!({
            "label": string("Such as Firefox on Linux"),
            "kind": {"type": "string", "enum": ["desktop", "phone", "tablet", "unknown"]},
            "browser": nullable("string"),
            "os": nullable("string"),
        })),
        "Place": told(json!({
            "country": nullable("string"),
            "region": nullable("string"),
            "city": nullable("string"),
        })),
        "Ended": told(json!({
            "at": seconds("When"),
            "by": {"type": "string", "enum": ["user", "admin", "app", "system"]},
            "reason": string("A word for why"),
        })),
        "Sessions": told(json!({"sessions": sessions, "ended": sessions})),
        "Event": told(json!({
            "id": {"type": "integer", "minimum": 1, "description": "In commit order"},
            "at": seconds("When"),
            "kind": {"type": "string", "enum": ["replay", "ended", "all_ended", "new_device"]},
            "sid": nullable("string"),
            "subject": nullable("string"),
            "detail": {"type": "object"},
        })),
        "Events": told(json!({
            "events": {"type": "array", "items": reference("Event")},
            "next": {"type": "integer", "minimum": 0, "description": "What to ask for as after"},
        })),
        "RevokeMine": asked(json!({
            "sid?": nullable("string"),
            "others?": nullable("boolean"),
            "renewal_token?": nullable("string"),
        })),
        "RevokedBefore": asked(json!({})),
        "Position": told(json!({"epoch": {"type": "string"}, "to": number()})),
        "Revoked": told(json!({
            "revoked": {"type": "integer", "minimum": 0, "description": "Live sessions that it ended"},
            "list": reference("Position"),
            "committed_at_ms": {"type": "integer", "minimum": 0},
        })),
        "InForce": told(json!({
            "everywhere": {"type": "boolean"},
            "no_later_than_ms": {"type": "integer", "minimum": 0},
        })),
        "Liveness": told(json!({"live": {"type": "boolean"}, "ends_at": seconds("0 if there is none")})),
        "Problem": told(json!({
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": string("Stable"),
            "request_id": {"type": "string"},
            "detail?": string("What to do about it"),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::{document, operations};
    use serde_json::Value;

    /// Example messages, and the schema of each.
    const EXAMPLES: [(&str, &str); 13] = [
        ("create_session", "CreateSession"),
        ("created", "Created"),
        ("edge_keys", "EdgeKeys"),
        ("in_force", "InForce"),
        ("liveness", "Liveness"),
        ("problem", "Problem"),
        ("renew_request", "RenewRequest"),
        ("renewed", "Renewed"),
        ("revoke_by_renewal_token", "RevokeMine"),
        ("revoke_one", "RevokeMine"),
        ("revoke_others", "RevokeMine"),
        ("revoked", "Revoked"),
        ("sessions", "Sessions"),
    ];

    fn example(name: &str) -> Value {
        let root = env!("CARGO_MANIFEST_DIR");
        let file = format!("{root}/../../tests/vectors/wire/{name}.json");
        let vector: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        vector["message"].clone()
    }

    /// Says where `value` is not as `schema` has it, down to the last member.
    fn compare(document: &Value, schema: &Value, value: &Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            let schema = document.pointer(reference.strip_prefix('#').unwrap());
            return compare(document, schema.unwrap(), value, at);
        }
        if let Some(alternatives) = schema["anyOf"].as_array() {
            let first = alternatives.first().unwrap();
            if !value.is_null() {
                compare(document, first, value, at);
            }
            return;
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            return values
                .iter()
                .for_each(|value| compare(document, items, value, at));
        }
        let (Some(properties), Some(members)) =
            (schema["properties"].as_object(), value.as_object())
        else {
            return;
        };
        for (name, value) in members {
            let schema = properties.get(name);
            let schema = schema.unwrap_or_else(|| panic!("{at}.{name} is not documented"));
            compare(document, schema, value, &format!("{at}.{name}"));
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for name in required {
            assert!(
                members.contains_key(name.as_str().unwrap()),
                "{at}: {name} is not always there"
            );
        }
    }

    #[test]
    fn schemas_are_those_of_the_example_messages() {
        let document = document();
        for (name, schema) in EXAMPLES {
            let schema = &document["components"]["schemas"][schema];
            assert!(schema.is_object(), "{name}");
            compare(&document, schema, &example(name), name);
        }
    }

    #[test]
    fn references_lead_somewhere_and_ids_are_unique() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let reference = reference.split('"').next().unwrap();
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        let mut ids: Vec<_> = operations().iter().map(|operation| operation.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), operations().len());
    }
}
