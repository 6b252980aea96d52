//! The demo app from outside: a real listener, requests signed as the edge signs them, and a
//! session service that says what the test tells it to.

mod edge;
mod service;

use edge::{Demo, Signed};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use service::{Answer, Service};
use tokio_tungstenite::tungstenite::Message;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn every_route_refuses_a_request_without_assertion() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    for path in [
        "/",
        "/whoami",
        "/sign-in",
        "/public/",
        "/public/demo.css",
        "/echo",
        "/ws",
        "/events",
        "/none",
    ] {
        let answer = demo.bare(Method::GET, path).send().await.expect("answers");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let problem: Value = answer.json().await.expect("a document");
        assert_eq!(problem["code"], "assertion_missing");
        assert_eq!(problem["status"], 403);
    }
    let page = demo
        .bare(Method::GET, "/")
        .header("accept", "text/html")
        .send()
        .await
        .expect("answers");
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert!(
        page.text()
            .await
            .expect("text")
            .contains("<h1>Not through the edge</h1>")
    );
}

#[tokio::test]
async fn headers_beyond_the_bound_are_refused() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let mut request = demo.request(Method::GET, "/whoami", &Signed::anonymous());
    for number in 0..9 {
        request = request.header(format!("x-{number}"), "a".repeat(8_000));
    }
    let answer = request.send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn whoami_tells_subject_session_and_headers() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let answer = demo.get("/whoami?a=b", &Signed::for_subject("alice")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let who: Value = answer.json().await.expect("JSON");
    assert_eq!(who["subject"], "alice");
    assert_eq!(who["session"], edge::SESSION);
    assert_eq!(who["headers"]["hallpass-subject"], "alice");
    assert_eq!(who["headers"]["hallpass-session"], edge::SESSION);
    assert_eq!(who["headers"]["hallpass-request"], edge::REQUEST);
    assert!(
        who["headers"]["hallpass-assertion"]
            .as_str()
            .is_some_and(|text| text.len() > 100)
    );
    assert!(who["headers"].get("user-agent").is_none());
}

#[tokio::test]
async fn whoami_tells_null_when_anonymous() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let who: Value = demo
        .get("/whoami", &Signed::anonymous())
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(who["subject"], Value::Null);
    assert_eq!(who["session"], Value::Null);
}

#[tokio::test]
async fn page_shows_the_caller_and_escapes_everything() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let hostile = "<script>alert(1)</script>&'<img/src=x>";
    let signed = Signed::for_subject(hostile)
        .claim("ext", json!({ "<b>": "<i>\"'&", "n": 1 }))
        .claim("jti", json!("<u>"))
        .claim("amr", json!(["<s>"]));
    let answer = demo
        .request(Method::GET, "/?%3Cx%3E", &signed)
        .header("hallpass-degraded", "1")
        .header("hallpass-q", "<q>\"")
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        policy.contains("script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = answer.text().await.expect("text");
    assert!(
        page.contains("Signed in as <span class=\"subject\">&lt;script&gt;alert(1)"),
        "{page}"
    );
    assert!(page.contains("Degraded"), "{page}");
    for raw in [
        "<script>", "<img/", "<b>", "<i>", "<u>", "<s>", "<q>", "<x>",
    ] {
        assert!(!page.contains(raw), "{raw} in {page}");
    }
}

#[tokio::test]
async fn sign_in_hands_the_session_to_the_edge() {
    let service = Service::start(Answer::created("signed-value")).await;
    let demo = Demo::start(&service.url).await;
    let answer = demo
        .request(Method::POST, "/sign-in", &Signed::anonymous())
        .header("content-type", FORM)
        .header("user-agent", "A browser")
        .header("sec-ch-ua-platform", "\"Linux\"")
        .header("x-forwarded-for", "203.0.113.9")
        .body("user=alice&password=demo&return_to=%2Fwhoami%3Fa%3Db")
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"], "/whoami?a=b");
    assert_eq!(answer.headers()["hallpass-set-session"], "signed-value");
    assert!(answer.headers().get("set-cookie").is_none());

    let received = service.received();
    assert_eq!(received.len(), 1);
    assert_eq!(
        received[0].authorization,
        format!("Bearer {}", edge::CREDENTIAL)
    );
    assert_eq!(received[0].idempotency_key, edge::REQUEST);
    assert_eq!(
        received[0].body,
        json!({
            "subject": "alice", "amr": ["pwd"], "ext": { "role": "demo" }, "request": edge::REQUEST,
            "client": {
                "ip": "203.0.113.9", "user_agent": "A browser",
                "hints": { "sec-ch-ua-platform": "\"Linux\"" },
            },
        })
    );
}

#[tokio::test]
async fn sign_in_returns_to_this_origin_only() {
    let service = Service::start(Answer::created("v")).await;
    let demo = Demo::start(&service.url).await;
    for (return_to, location) in [
        ("%2Fa%3Fb", "/a?b"),
        ("", "/"),
        ("%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2F%09%2Fevil.example", "/"),
        ("%2Fa%0D%0ASet-Cookie%3A+b", "/"),
    ] {
        let answer = demo
            .post_form(
                "/sign-in",
                &format!("user=a&password=demo&return_to={return_to}"),
            )
            .await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(answer.headers()["location"], location, "{return_to}");
    }
    let form = demo
        .get(
            "/sign-in?return_to=%2F%2Fevil.example",
            &Signed::anonymous(),
        )
        .await;
    assert!(!form.text().await.expect("text").contains("evil"));
}

#[tokio::test]
async fn sign_in_asks_again_and_never_calls_the_service() {
    let service = Service::start(Answer::created("v")).await;
    let demo = Demo::start(&service.url).await;
    for (form, status, words) in [
        (
            "user=alice&password=wrong&return_to=%2Fa",
            StatusCode::UNAUTHORIZED,
            "That password is wrong",
        ),
        (
            "user=alice",
            StatusCode::UNAUTHORIZED,
            "That password is wrong",
        ),
        ("", StatusCode::UNAUTHORIZED, "Please enter a user name"),
        (
            "user=a+b&password=demo",
            StatusCode::UNPROCESSABLE_ENTITY,
            "A user name has letters",
        ),
        (
            "user=%3Cb%3E%22&password=demo",
            StatusCode::UNPROCESSABLE_ENTITY,
            "value=\"&lt;b&gt;&quot;\"",
        ),
    ] {
        let answer = demo.post_form("/sign-in", form).await;
        assert_eq!(answer.status(), status, "{form}");
        assert!(answer.headers().get("hallpass-set-session").is_none());
        assert!(answer.text().await.expect("text").contains(words), "{form}");
    }
    assert!(service.received().is_empty());
}

#[tokio::test]
async fn sign_in_refuses_forms_that_are_none() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let twice = demo
        .post_form("/sign-in", "user=a&user=b&password=demo")
        .await;
    assert_eq!(twice.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let large = demo
        .post_form("/sign-in", &format!("user={}", "a".repeat(20_000)))
        .await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let json = demo
        .request(Method::POST, "/sign-in", &Signed::anonymous())
        .json(&json!({ "user": "a" }))
        .send()
        .await
        .expect("answers");
    assert_eq!(json.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn sign_in_says_so_when_the_service_is_down() {
    let demo = Demo::start(&service::url_of_nobody().await).await;
    let answer = demo.post_form("/sign-in", "user=alice&password=demo").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert!(answer.headers().get("hallpass-set-session").is_none());
    assert!(
        answer
            .text()
            .await
            .expect("text")
            .contains("Nobody can sign in just now")
    );
}

#[tokio::test]
async fn sign_in_fails_closed_whatever_the_service_answers() {
    for (answer, status, retry_after) in [
        (
            Answer::status(503).header("retry-after", "9"),
            503,
            Some("9"),
        ),
        (Answer::status(429), 503, Some("5")),
        (Answer::status(500), 503, Some("5")),
        (Answer::status(401), 502, None),
        (Answer::status(422), 502, None),
        (
            Answer::status(302).header("location", "http://127.0.0.1:9/"),
            502,
            None,
        ),
        (Answer::status(201), 502, None),
        (Answer::status(201).body("<html>"), 502, None),
        (Answer::status(201).body(&" ".repeat(70_000)), 502, None),
    ] {
        let service = Service::start(answer).await;
        let demo = Demo::start(&service.url).await;
        let answer = demo.post_form("/sign-in", "user=alice&password=demo").await;
        assert_eq!(answer.status().as_u16(), status);
        let sent = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().expect("text"));
        assert_eq!(sent, retry_after);
        assert!(answer.headers().get("hallpass-set-session").is_none());
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    }
}

#[tokio::test]
async fn sign_out_clears_the_session_and_leads_to_a_public_page() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let answer = demo
        .request(Method::POST, "/sign-out", &Signed::for_subject("alice"))
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["hallpass-clear-session"], "1");
    assert_eq!(answer.headers()["location"], "/public/signed-out");
    let page = demo.get("/public/signed-out", &Signed::anonymous()).await;
    assert!(
        page.text()
            .await
            .expect("text")
            .contains("You are signed out")
    );
    let got = demo.get("/sign-out", &Signed::for_subject("alice")).await;
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn public_paths_answer_with_pages_and_assets() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    for (path, content_type) in [
        ("/public/", "text/html; charset=utf-8"),
        ("/public/any/thing", "text/html; charset=utf-8"),
        ("/public/demo.css", "text/css; charset=utf-8"),
        ("/public/live.js", "text/javascript; charset=utf-8"),
        ("/public/icon.svg", "image/svg+xml"),
    ] {
        let answer = demo.get(path, &Signed::anonymous()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], content_type);
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    let none = demo.get("/nothing", &Signed::anonymous()).await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn echo_answers_method_body_and_content_type() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let body: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = demo
            .request(method.clone(), "/echo?a=b", &Signed::anonymous())
            .header("content-type", "application/x-odd; a=b")
            .body(body.clone())
            .send()
            .await
            .expect("answers");
        assert_eq!(answer.headers()["x-method"], method.as_str());
        assert_eq!(answer.headers()["content-type"], "application/x-odd; a=b");
        assert_eq!(
            answer.headers()["content-security-policy"],
            "default-src 'none'; sandbox"
        );
        assert!(answer.bytes().await.expect("a body") == body);
    }
    let empty = demo.get("/echo", &Signed::anonymous()).await;
    assert_eq!(empty.headers()["x-method"], "GET");
    assert!(empty.bytes().await.expect("a body").is_empty());
}

#[tokio::test]
async fn socket_echoes_text_and_binary_and_says_goodbye() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let mut socket = demo.open_socket("/ws", &Signed::for_subject("alice")).await;
    for message in [Message::text("héllo"), Message::binary(vec![0, 255, 1])] {
        socket.send(message.clone()).await.expect("sends");
        assert_eq!(
            socket.next().await.expect("a message").expect("readable"),
            message
        );
    }
    let stopped = tokio::spawn(demo.stop());
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("no goodbye");
    };
    assert_eq!(u16::from(frame.code), 1001);
    drop(socket);
    stopped.await.expect("ends").expect("without error");
}

#[tokio::test]
async fn events_count_and_end_when_the_app_stops() {
    let demo = Demo::start("http://127.0.0.1:9").await;
    let mut answer = demo.get("/events", &Signed::for_subject("alice")).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let first = answer.chunk().await.expect("readable").expect("an event");
    let first = String::from_utf8(first.to_vec()).expect("text");
    assert!(
        first.contains("event: tick") && first.contains("\"count\":1"),
        "{first}"
    );
    let stopped = tokio::spawn(demo.stop());
    while answer.chunk().await.expect("a clean end").is_some() {}
    stopped.await.expect("ends").expect("without error");
}
