//! What a user's own token lets them see and do.

use crate::database::{Database, on_each_database};
use crate::running::{Answer, Running, answer};
use hallpass_session::wire::{InForce, Position, Revoked, Sessions};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

impl Running {
    /// `GET me/sessions` with the user's token.
    pub(crate) async fn my_sessions(&self, token: &str) -> Sessions {
        self.mine("me/sessions", token).await.json(StatusCode::OK)
    }

    /// Ends one session with the user's token.
    pub(crate) async fn revoke_mine(&self, token: &str, sid: &str) -> Revoked {
        self.post_mine(token, &json!({"sid": sid}))
            .await
            .json(StatusCode::OK)
    }

    /// Whether the entry is in force everywhere, asked with the user's token.
    pub(crate) async fn in_force(&self, token: &str, entry: &Position) -> InForce {
        let path = format!("me/in-force?epoch={}&to={}", entry.epoch, entry.to);
        self.mine(&path, token).await.json(StatusCode::OK)
    }

    async fn mine(&self, path: &str, token: &str) -> Answer {
        let request = self.request(Method::GET, &format!("/v1/edge/{path}"), &self.edge);
        answer(request.header("Hallpass-Session-Token", token)).await
    }

    async fn post_mine(&self, token: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, "/v1/edge/me/revoke", &self.edge);
        answer(request.header("Hallpass-Session-Token", token).json(body)).await
    }
}

async fn user_ends_one_of_their_other_sessions(database: Database) {
    let service = Running::start(database).await;
    let here = service.create("ada").await;
    let there = service.create("ada").await;

    service
        .revoke_mine(&here.session_token, &there.session.sid)
        .await;

    let mine = service.my_sessions(&here.session_token).await;
    assert_eq!(mine.sessions.len(), 1);
    assert_eq!(mine.ended[0].sid, there.session.sid);
    assert_eq!(
        mine.ended[0].ended.as_ref().unwrap().reason,
        "ended_by_user"
    );
    service
        .mine("me/sessions", &there.session_token)
        .await
        .refused(401, "session_revoked");
}

async fn user_ends_all_others_and_stays(database: Database) {
    let service = Running::start(database).await;
    let here = service.create("ada").await;
    service.create("ada").await;
    service.create("ada").await;
    let stranger = service.create("grace").await;

    let answer = service
        .post_mine(&here.session_token, &json!({"others": true}))
        .await;

    assert_eq!(answer.json::<Revoked>(StatusCode::OK).revoked, 2);
    assert_eq!(
        service
            .my_sessions(&here.session_token)
            .await
            .sessions
            .len(),
        1
    );
    assert_eq!(
        service
            .my_sessions(&stranger.session_token)
            .await
            .sessions
            .len(),
        1
    );
}

async fn session_of_somebody_else_answers_as_one_that_does_not_exist(database: Database) {
    let service = Running::start(database).await;
    let ada = service.create("ada").await;
    let grace = service.create("grace").await;

    let theirs = service
        .post_mine(&ada.session_token, &json!({"sid": grace.session.sid}))
        .await;
    let nobodys = service
        .post_mine(
            &ada.session_token,
            &json!({"sid": "AAAAAAAAAAAAAAAAAAAAAA"}),
        )
        .await;

    theirs.refused(404, "session_unknown");
    nobodys.refused(404, "session_unknown");
    let without_id = |answer: &Answer| {
        let mut body: Value = serde_json::from_str(&answer.body).unwrap();
        body["request_id"].take();
        body
    };
    assert_eq!(without_id(&theirs), without_id(&nobodys));
    assert_eq!(
        service
            .my_sessions(&grace.session_token)
            .await
            .sessions
            .len(),
        1
    );
}

async fn expired_token_ends_its_own_session_and_no_other(database: Database) {
    let service = Running::start(database).await;
    let here = service.create("ada").await;
    let there = service.create("ada").await;
    service.advance(301);

    let other = service
        .post_mine(&here.session_token, &json!({"sid": there.session.sid}))
        .await;
    other.refused(401, "token_expired");
    let others = service
        .post_mine(&here.session_token, &json!({"others": true}))
        .await;
    others.refused(401, "token_expired");
    service
        .mine("me/sessions", &here.session_token)
        .await
        .refused(401, "token_expired");

    assert_eq!(
        service
            .revoke_mine(&here.session_token, &here.session.sid)
            .await
            .revoked,
        1
    );
}

async fn renewal_token_ends_its_own_session_and_no_other(database: Database) {
    let service = Running::start(database).await;
    let here = service.create("ada").await;
    let there = service.create("ada").await;
    let end = async |body: Value| {
        service
            .post("/v1/edge/me/revoke", &service.edge, &body)
            .await
    };

    end(json!({"renewal_token": here.renewal_token, "sid": there.session.sid}))
        .await
        .refused(400, "request_malformed");
    end(json!({"renewal_token": here.renewal_token, "others": true}))
        .await
        .refused(400, "request_malformed");
    end(json!({"renewal_token": "hp1.AAAA", "sid": here.session.sid}))
        .await
        .refused(401, "renewal_malformed");
    let ended = end(json!({"renewal_token": here.renewal_token, "sid": here.session.sid})).await;

    assert_eq!(ended.json::<Revoked>(StatusCode::OK).revoked, 1);
}

async fn token_that_is_none_of_ours_is_refused(database: Database) {
    let service = Running::start(database).await;
    let stranger = Running::start(database).await.create("ada").await;
    let own = service.create("ada").await;
    let cut = &own.session_token[..own.session_token.len() - 1];

    service
        .mine("me/sessions", &stranger.session_token)
        .await
        .refused(401, "token_untrusted");
    service
        .mine("me/sessions", "a.b.c")
        .await
        .refused(401, "token_malformed");
    service
        .mine("me/sessions", cut)
        .await
        .refused(401, "token_malformed");
    service
        .get("/v1/edge/me/sessions", &service.edge)
        .await
        .refused(401, "session_missing");
    let twice = service
        .request(Method::GET, "/v1/edge/me/sessions", &service.edge)
        .header("Hallpass-Session-Token", &own.session_token)
        .header("Hallpass-Session-Token", &own.session_token);
    answer(twice).await.refused(400, "request_malformed");
}

async fn revoke_refuses_impossible_combinations(database: Database) {
    let service = Running::start(database).await;
    let token = service.create("ada").await.session_token;
    for body in [
        json!({}),
        json!({"others": false}),
        json!({"sid": "AAAAAAAAAAAAAAAAAAAAAA", "others": true}),
        json!({"sid": "short"}),
        json!({"others": true, "renewal_token": "hp1.AAAA"}),
        json!({"everything": true}),
    ] {
        service
            .post_mine(&token, &body)
            .await
            .refused(400, "request_malformed");
    }
}

async fn in_force_is_told_once_the_edge_has_polled_past_it(database: Database) {
    let service = Running::start(database).await;
    service.advance(60);
    let here = service.create("ada").await;
    let there = service.create("ada").await;
    let epoch = service.poll("").await.list_header().position.epoch;
    let poll = async |after: u64| {
        service
            .poll(&format!("epoch={epoch}&after={after}&edge=a&bound=10"))
            .await;
    };
    poll(1).await;

    let revoked = service
        .revoke_mine(&here.session_token, &there.session.sid)
        .await;
    let in_force = async || service.in_force(&here.session_token, &revoked.list).await;

    let early = in_force().await;
    assert!(!early.everywhere);
    assert_eq!(early.no_later_than_ms, revoked.committed_at_ms + 10_000);
    poll(1).await;
    assert!(
        !in_force().await.everywhere,
        "what it was given it may not have got"
    );
    poll(revoked.list.to).await;
    assert!(in_force().await.everywhere);
}

async fn in_force_is_told_after_the_bound_whatever_edges_do(database: Database) {
    let service = Running::start(database).await;
    service.advance(60);
    let here = service.create("ada").await;
    let there = service.create("ada").await;
    service.poll("edge=slow&bound=30").await;
    let revoked = service
        .revoke_mine(&here.session_token, &there.session.sid)
        .await;
    let in_force = async || service.in_force(&here.session_token, &revoked.list).await;

    service.advance(29);
    assert!(!in_force().await.everywhere);
    service.advance(1);
    assert!(in_force().await.everywhere);
}

on_each_database![
    user_ends_one_of_their_other_sessions,
    user_ends_all_others_and_stays,
    session_of_somebody_else_answers_as_one_that_does_not_exist,
    expired_token_ends_its_own_session_and_no_other,
    renewal_token_ends_its_own_session_and_no_other,
    token_that_is_none_of_ours_is_refused,
    revoke_refuses_impossible_combinations,
    in_force_is_told_once_the_edge_has_polled_past_it,
    in_force_is_told_after_the_bound_whatever_edges_do,
];
