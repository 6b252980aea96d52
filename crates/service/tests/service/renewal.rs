//! Renewal: parallel tabs, lost answers, thieves, ends.

use crate::database::{Database, on_each_database};
use crate::running::{FIREFOX, Running, START};
use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::renewal::RenewalToken;
use reqwest::StatusCode;
use sqlx::Row;

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

async fn confirmed(service: &Running) -> (i64, Vec<u8>) {
    let mut sql = service.sql().await;
    let row = sqlx::query("SELECT generation, branch FROM renewals")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    (row.get("generation"), row.get("branch"))
}

/// Of two tokens given out for one, the first is confirmed: the second.
async fn sibling_of_the_confirmed(service: &Running) -> String {
    let first = service.create("ada").await.renewal_token;
    let (one, two) = (service.renewed(&first).await, service.renewed(&first).await);
    service.renewed(&one.renewal_token).await;
    two.renewal_token
}

/// What a session token says.
pub(crate) fn claims(token: &str) -> SessionClaims {
    let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
    SessionClaims::parse(serde_json::from_slice(&payload).unwrap()).unwrap()
}

async fn confirmed_token_is_answered_again_whenever_it_comes(database: Database) {
    let service = Running::start(database).await;
    let first = service.create("ada").await.renewal_token;
    service.renewed(&first).await;
    let state = confirmed(&service).await;

    for wait in [0, 1, 300, 100_000] {
        service.advance(wait);
        service.renewed(&first).await;
    }

    assert_eq!(
        confirmed(&service).await,
        state,
        "lost answers write nothing"
    );
}

async fn sibling_is_tolerated_within_the_grace_only(database: Database) {
    for (late, verdict) in [
        (9, None),
        (10, Some("renewal_reused")),
        (11, Some("renewal_reused")),
    ] {
        let service = Running::start(database).await;
        let sibling = sibling_of_the_confirmed(&service).await;
        service.advance(late);

        let answer = service.renew(&sibling).await;

        match verdict {
            None => assert_eq!(answer.status, StatusCode::OK),
            Some(code) => answer.refused(401, code),
        }
    }
}

async fn sibling_of_another_browser_is_not_tolerated(database: Database) {
    let service = Running::start(database).await;
    let sibling = sibling_of_the_confirmed(&service).await;

    service
        .renew_as(&sibling, CHROME)
        .await
        .refused(401, "renewal_reused");
}

async fn replay_ends_the_session_and_is_shown_to_the_user(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let elsewhere = service.create("ada").await;
    let (user, thief) = (
        service.renewed(&created.renewal_token).await,
        service.renewed(&created.renewal_token).await,
    );
    service.renewed(&thief.renewal_token).await;
    service.advance(280);
    let before = service.poll("after=0").await.list_header().position;

    service
        .renew(&user.renewal_token)
        .await
        .refused(401, "renewal_reused");

    service
        .renew(&thief.renewal_token)
        .await
        .refused(401, "session_revoked");
    let shown = service.my_sessions(&elsewhere.session_token).await;
    let ended = shown.ended[0].ended.as_ref().unwrap();
    assert_eq!(
        (ended.reason.as_str(), ended.at),
        ("renewal_reused", service.now())
    );
    let list = service.poll("after=0").await.list_header().position;
    assert_eq!(list.to, before.to + 1, "the list has it");
}

async fn renewal_ends_at_the_idle_second(database: Database) {
    let service = Running::start_with(database, "session_idle_secs = 1000").await;
    let created = service.create("ada").await;
    service.advance(999);
    let renewed = service.renewed(&created.renewal_token).await;
    service.advance(1000);

    service
        .renew(&renewed.renewal_token)
        .await
        .refused(401, "session_expired");
}

async fn token_answered_again_ends_with_the_idle_session(database: Database) {
    let service = Running::start_with(database, "session_idle_secs = 1000").await;
    let first = service.create("ada").await.renewal_token;
    service.renewed(&first).await;

    // Presented again it confirms nothing, so the session idles on from its confirmation.
    service.advance(900);
    let again = service.renewed(&first).await;

    assert_eq!(claims(&again.session_token).exp.get(), START + 1000);
}

async fn renewal_ends_at_the_absolute_second_and_no_token_outlives_it(database: Database) {
    let service = Running::start_with(database, "session_absolute_secs = 1000").await;
    let created = service.create("ada").await;
    service.advance(999);
    let renewed = service.renewed(&created.renewal_token).await;
    assert_eq!(claims(&renewed.session_token).exp.get(), START + 1000);
    service.advance(1);

    service
        .renew(&renewed.renewal_token)
        .await
        .refused(401, "session_expired");
}

async fn session_token_says_what_the_row_says(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    service.advance(250);
    let renewed = service.renewed(&created.renewal_token).await;

    let claims = claims(&renewed.session_token);

    assert_eq!(
        (claims.iss.as_str(), claims.aud.as_str()),
        ("http://127.0.0.1:8788", "hallpass-demo")
    );
    assert_eq!(
        (claims.sub.as_str(), &claims.sid),
        ("ada", &created.session.sid)
    );
    assert_eq!(
        (claims.iat.get(), claims.auth_time.get()),
        (START + 250, START)
    );
    assert!(
        (285..=300).contains(&claims.lifetime().get()),
        "{}",
        claims.lifetime().get()
    );
    assert_eq!(claims.amr, ["pwd"]);
    assert_eq!(claims.ext.unwrap()["role"], "editor");
}

async fn renewal_token_that_was_changed_is_malformed(database: Database) {
    let service = Running::start(database).await;
    let text = service.create("ada").await.renewal_token;
    let token = RenewalToken::parse(&text).unwrap();
    let mut forged = Vec::new();
    for index in 0..32 {
        let mut other = token.clone();
        other.mac[index] ^= 1;
        forged.push(other);
    }
    let mut other = token.clone();
    other.branch.generation = 0;
    forged.push(other);
    let mut other = token.clone();
    other.sid[0] ^= 1;
    forged.push(other);

    for token in &forged {
        service
            .renew(&token.encode())
            .await
            .refused(401, "renewal_malformed");
    }
    for text in [
        "",
        "hp1.",
        "hp2.AAAA",
        &text[..text.len() - 1],
        &"x".repeat(9000),
    ] {
        service.renew(text).await.refused(401, "renewal_malformed");
    }
    service.renewed(&text).await;
}

async fn renewal_key_never_issued_is_an_outage(database: Database) {
    let service = Running::start(database).await;
    let mut token = RenewalToken::parse(&service.create("ada").await.renewal_token).unwrap();
    token.key_id = 9;

    let answer = service.renew(&token.encode()).await;

    answer.refused(503, "renewal_key_unknown");
    assert_eq!(answer.header("retry-after"), "1");
}

async fn removed_renewal_key_ends_its_sessions(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let remove = "UPDATE keyring SET removed_at = 1 WHERE kind = 'renewal'";
    service.execute(remove).await;

    let service = service.restart().await;

    service
        .renew(&created.renewal_token)
        .await
        .refused(401, "session_revoked");
}

async fn renewal_of_a_session_that_does_not_exist_is_unknown(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    service.execute("DELETE FROM sessions").await;

    service
        .renew(&created.renewal_token)
        .await
        .refused(401, "renewal_unknown");
}

async fn table_that_lost_history_is_an_outage_not_a_sign_out(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let stopped = service.stop().await;
    let backup = stopped.back_up();
    let service = stopped.start().await;
    let one = service.renewed(&created.renewal_token).await;
    let two = service.renewed(&one.renewal_token).await;
    let stopped = service.stop().await;
    stopped.restore(&backup);
    let service = stopped.start().await;

    service
        .renew(&two.renewal_token)
        .await
        .refused(503, "table_rolled_back");

    assert_eq!(confirmed(&service).await.0, 0, "nothing is written");
    let live = service
        .get(
            &format!("/v1/sessions/{}", created.session.sid),
            &service.app,
        )
        .await;
    assert!(live.body.contains("\"ended\":null"));
}

async fn renewal_remembers_where_the_session_was_last_seen(database: Database) {
    let service = Running::start(database).await;
    let created = service.create("ada").await;
    let body = serde_json::json!({
        "renewal_token": created.renewal_token,
        "client": {"user_agent": FIREFOX, "ip": "198.51.100.9", "country": "FR", "city": "Paris"},
    });
    service.advance(100);
    service.post("/v1/edge/renew", &service.edge, &body).await;

    let seen = &service.my_sessions(&created.session_token).await.sessions[0];

    assert_eq!(seen.ip.as_deref(), Some("198.51.100.9"));
    assert_eq!(seen.place.city.as_deref(), Some("Paris"));
    assert_eq!(seen.last_seen_at, START + 100);
}

on_each_database![
    confirmed_token_is_answered_again_whenever_it_comes,
    sibling_is_tolerated_within_the_grace_only,
    sibling_of_another_browser_is_not_tolerated,
    replay_ends_the_session_and_is_shown_to_the_user,
    renewal_ends_at_the_idle_second,
    token_answered_again_ends_with_the_idle_session,
    renewal_ends_at_the_absolute_second_and_no_token_outlives_it,
    session_token_says_what_the_row_says,
    renewal_token_that_was_changed_is_malformed,
    renewal_key_never_issued_is_an_outage,
    removed_renewal_key_ends_its_sessions,
    renewal_of_a_session_that_does_not_exist_is_unknown,
    table_that_lost_history_is_an_outage_not_a_sign_out,
    renewal_remembers_where_the_session_was_last_seen,
];
