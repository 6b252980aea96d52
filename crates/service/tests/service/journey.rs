//! One session's life, as app, edge and user see it.

use crate::database::{Database, on_each_database};
use crate::running::Running;
use hallpass_session::base64url;
use hallpass_session::wire::{Liveness, Revoked, Session, Sessions, SetSession};
use reqwest::StatusCode;

async fn session_lives_from_sign_in_to_sign_out(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let sid = created.session.sid.clone();

    let handed: SetSession =
        serde_json::from_slice(&base64url::decode(&created.headers.set_session).unwrap()).unwrap();
    assert_eq!(handed.session_token, created.session_token);
    assert_eq!(handed.request, "AAAAAAAAAAAAAAAAAAAAAA");
    assert!(handed.persistent);
    assert_eq!(created.session.device.label, "Firefox on Linux");
    assert_eq!(created.session.ip.as_deref(), Some("203.0.113.7"));

    service.advance(280);
    let renewed = service.renewed(&created.renewal_token).await;
    assert_eq!(renewed.session_ends_at, created.session_ends_at);

    let mine = service.my_sessions(&renewed.session_token).await;
    assert_eq!(mine.sessions.len(), 1);
    assert!(mine.sessions[0].current);
    assert_eq!(mine.sessions[0].last_seen_at, service.now());

    let revoked: Revoked = service.revoke_mine(&renewed.session_token, &sid).await;
    assert_eq!(revoked.revoked, 1);
    let live: Liveness = service
        .get(&format!("/v1/edge/sessions/{sid}"), &service.edge)
        .await
        .json(StatusCode::OK);
    assert!(!live.live);
    service
        .renew(&renewed.renewal_token)
        .await
        .refused(401, "session_revoked");
    let shown: Session = service
        .get(&format!("/v1/sessions/{sid}"), &service.app)
        .await
        .json(StatusCode::OK);
    assert_eq!(shown.ended.unwrap().reason, "signed_out");
}

async fn app_lists_and_ends_a_subjects_sessions(database: Database) {
    let service = Running::start(database).await;
    let kept = service.create("ada").await.session.sid;
    service.create("ada").await;
    service.create("grace").await;
    let path = format!("/v1/subjects/{}/sessions", base64url::encode(b"ada"));

    let listed: Sessions = service.get(&path, &service.app).await.json(StatusCode::OK);
    assert_eq!(listed.sessions.len(), 2);

    let but_one = format!("{path}?except={kept}");
    let revoked: Revoked = service
        .delete(&but_one, &service.app)
        .await
        .json(StatusCode::OK);
    assert_eq!(revoked.revoked, 1);
    let listed: Sessions = service.get(&path, &service.app).await.json(StatusCode::OK);
    assert_eq!(listed.sessions[0].sid, kept);
    assert_eq!(listed.ended.len(), 1);

    let again: Revoked = service
        .delete(&but_one, &service.app)
        .await
        .json(StatusCode::OK);
    assert_eq!((again.revoked, again.list), (0, revoked.list));
}

async fn admin_ends_every_session_there_is(database: Database) {
    let service = Running::start(database).await;
    let before = service.create("ada").await;
    service.create("grace").await;

    let answer = service
        .post("/v1/revoked-before", &service.admin, &serde_json::json!({}))
        .await;
    let revoked: Revoked = answer.json(StatusCode::OK);
    assert_eq!(revoked.revoked, 2);
    service
        .renew(&before.renewal_token)
        .await
        .refused(401, "session_revoked");

    // In the very same second: created and issued at the watermark, so it lives.
    let after = service.create("ada").await;
    assert_eq!(after.session.created_at, service.now() + 1);
    service.renewed(&after.renewal_token).await;
}

async fn restart_on_the_same_file_loses_nobody(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let confirmed = service.renewed(&created.renewal_token).await;

    let service = service.restart().await;

    service.renewed(&confirmed.renewal_token).await;
    assert_eq!(
        service
            .my_sessions(&confirmed.session_token)
            .await
            .sessions
            .len(),
        1
    );
    assert_eq!(service.get("/readyz", "").await.body, "ready\n");
}

on_each_database![
    session_lives_from_sign_in_to_sign_out,
    app_lists_and_ends_a_subjects_sessions,
    admin_ends_every_session_there_is,
    restart_on_the_same_file_loses_nobody,
];
