//! `/sign-in` and `/sign-out`: where an app begins and ends a session.
//!
//! Finding out who somebody is stays the app's own work; here it is a form that takes every user
//! name with one password. Once it knows, it asks the session service for a session and copies one
//! header onto its answer; the edge makes cookies of it. To end a session it sends another header.
//! Forged posts from other sites are refused by the edge, which checks every unsafe request to the
//! sign-in path.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{ConnectInfo, Extension, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, json};

use crate::assertion::{VerifiedAssertion, is_subject};
use crate::page::{self, SignInForm};
use crate::refusal::{Refusal, RefusalCode, Representation};
use crate::return_path::ReturnPath;
use crate::server::App;
use crate::session_client::{ClientDetails, NewSession, SessionError};

/// The password of everybody.
const PASSWORD: &str = "demo";
/// The edge's name for a request; 128 random bits need 22 characters.
const REQUEST_HEADER: &str = "hallpass-request";
const MAX_REQUEST_ID_BYTES: usize = 64;
const CLEAR_SESSION_HEADER: HeaderName = HeaderName::from_static("hallpass-clear-session");
/// Longest `User-Agent` and client hint that is handed on, in bytes.
const MAX_DETAIL_BYTES: usize = 512;
/// What browsers tell about themselves, in place of a long `User-Agent`.
const CLIENT_HINTS: [&str; 5] = [
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-model",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
];

/// The query of `GET /sign-in`.
#[derive(Default, Deserialize)]
pub(crate) struct ReturnTo {
    #[serde(default)]
    return_to: String,
}

/// The form of `POST /sign-in`. There is no `Debug`: it holds a password.
#[derive(Deserialize)]
pub(crate) struct Submission {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    return_to: String,
}

/// The form.
pub(crate) async fn show(
    Extension(assertion): Extension<VerifiedAssertion>,
    query: Result<Query<ReturnTo>, QueryRejection>,
) -> Response {
    let Query(query) = query.unwrap_or_default();
    let form = SignInForm {
        user: "",
        return_path: &ReturnPath::parse(&query.return_to),
        error: None,
    };
    page::sign_in(&form, assertion.caller()).into_response()
}

/// Checks user and password, creates the session and sends the browser back where it came from.
pub(crate) async fn submit(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    submission: Result<Form<Submission>, FormRejection>,
) -> Response {
    let submission = match submission {
        Ok(Form(submission)) => submission,
        Err(rejection) => return refuse_form(rejection.status(), &headers),
    };
    let return_path = ReturnPath::parse(&submission.return_to);
    let user = submission.user.trim();
    if let Err(complaint) = check(user, &submission.password) {
        return ask_again(user, &return_path, &complaint);
    }
    let Some(request_id) = request_id(&headers) else {
        return refuse_without_request_id(&headers);
    };
    let session = NewSession {
        subject: user.to_owned(),
        amr: vec!["pwd"],
        ext: Map::from_iter([("role".to_owned(), json!("demo"))]),
        request: request_id.to_owned(),
        client: client_details(&headers, peer),
    };
    match app.sessions.create(&session).await {
        Ok(hand_off) => {
            let mut response = see_other(return_path.to_location());
            hand_off.copy_onto(response.headers_mut());
            response
        }
        Err(error) => refuse_session(error).into_response(Representation::Page),
    }
}

/// Tells the edge to end this session and to clear its cookies.
pub(crate) async fn sign_out() -> Response {
    let mut response = see_other(HeaderValue::from_static("/public/signed-out"));
    response
        .headers_mut()
        .insert(CLEAR_SESSION_HEADER, HeaderValue::from_static("1"));
    response
}

/// Why the form is shown again.
struct Complaint {
    status: StatusCode,
    code: &'static str,
    text: &'static str,
}

fn check(user: &str, password: &str) -> Result<(), Complaint> {
    if user.is_empty() {
        return Err(Complaint {
            status: StatusCode::UNAUTHORIZED,
            code: "user_missing",
            text: "Please enter a user name.",
        });
    }
    if password != PASSWORD {
        return Err(Complaint {
            status: StatusCode::UNAUTHORIZED,
            code: "password_wrong",
            text: "That password is wrong. In this demo it is “demo” for every user.",
        });
    }
    if !is_subject(user) {
        return Err(Complaint {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "user_unusable",
            text: "A user name has letters, digits and signs such as . - @ but no spaces, quotes, \
                   commas or accents.",
        });
    }
    Ok(())
}

fn ask_again(user: &str, return_path: &ReturnPath, complaint: &Complaint) -> Response {
    let form = SignInForm {
        user,
        return_path,
        error: Some(complaint.text),
    };
    let mut response = (complaint.status, page::sign_in(&form, None)).into_response();
    response
        .extensions_mut()
        .insert(RefusalCode(complaint.code));
    response
}

fn refuse_form(status: StatusCode, headers: &HeaderMap) -> Response {
    Refusal::new(
        status,
        "form_unreadable",
        "That form could not be read",
        "It must be an ordinary form of at most 16 KiB with the fields user, password and \
         return_to, each once.",
    )
    .into_response(Representation::wanted_by(headers))
}

fn refuse_without_request_id(headers: &HeaderMap) -> Response {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "request_id_missing",
        "Not through the edge",
        "This request has no usable Hallpass-Request, so the edge could not take the answer.",
    )
    .into_response(Representation::wanted_by(headers))
}

fn refuse_session(error: SessionError) -> Refusal {
    match error {
        SessionError::Unavailable { retry_after_secs } => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "Nobody can sign in just now",
            "The session service does not answer. Who is signed in stays signed in; please try \
             again in a moment.",
        )
        .retry_after(retry_after_secs),
        SessionError::CredentialRefused => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "credential_refused",
            "This app may not sign anybody in",
            "The session service does not accept APP_CREDENTIAL. It must be a credential of scope \
             app: hallpass credentials create --scope app.",
        ),
        SessionError::Refused(_) => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "session_refused",
            "That did not work",
            "The session service would not create this session. Its log says why.",
        ),
        SessionError::Unreadable => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "service_unreadable",
            "That did not work",
            "The session service answered something this app does not understand. Are both of the \
             same version?",
        ),
    }
}

fn see_other(location: HeaderValue) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_HEADER)?.to_str().ok()?;
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()).then_some(id)
}

fn client_details(headers: &HeaderMap, peer: SocketAddr) -> ClientDetails {
    let hints: BTreeMap<_, _> = CLIENT_HINTS
        .into_iter()
        .filter_map(|name| Some((name, detail(headers, name)?)))
        .collect();
    ClientDetails {
        ip: client_address(headers, peer).to_string(),
        user_agent: detail(headers, header::USER_AGENT.as_str()),
        hints,
    }
}

/// The browser's address. The edge drops the client's own `X-Forwarded-For` and writes a new one,
/// so its first entry can be believed; nobody but the edge gets here.
fn client_address(headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
    headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(',').next())
        .and_then(|first| first.trim().parse().ok())
        .unwrap_or(peer.ip())
}

fn detail(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    // `to_str` answers ASCII only, so every byte is a character.
    Some(text.chars().take(MAX_DETAIL_BYTES).collect())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::HeaderMap;

    use super::{MAX_DETAIL_BYTES, client_details};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = axum::http::HeaderName::from_static(name);
                (name, value.parse().expect("a value"))
            })
            .collect()
    }

    #[test]
    fn client_details_believe_the_edge_before_the_peer() {
        let peer = SocketAddr::from(([10, 0, 0, 1], 4321));
        for (forwarded, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            (" 2001:db8::7 , 10.0.0.2", "2001:db8::7"),
            ("unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            let details = client_details(&headers(&[("x-forwarded-for", forwarded)]), peer);
            assert_eq!(details.ip, expected, "{forwarded}");
        }
        assert_eq!(client_details(&HeaderMap::new(), peer).ip, "10.0.0.1");
    }

    #[test]
    fn client_details_bound_what_they_hand_on() {
        let peer = SocketAddr::from(([10, 0, 0, 1], 4321));
        let details = client_details(
            &headers(&[
                ("user-agent", &"a".repeat(4096)),
                ("sec-ch-ua-platform", "\"Linux\""),
                ("sec-fetch-site", "same-origin"),
            ]),
            peer,
        );
        assert_eq!(
            details.user_agent.map(|text| text.len()),
            Some(MAX_DETAIL_BYTES)
        );
        assert_eq!(details.hints.len(), 1);
        assert_eq!(details.hints["sec-ch-ua-platform"], "\"Linux\"");
    }
}
