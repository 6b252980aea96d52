//! The portal page: its words, its forms, and that nothing a stranger wrote is more than text.

use super::{Notice, PortalPage, PortalSettings, Sessions, UnixSeconds};
use hallpass_session::wire::{Device, Ended, EndedBy, Place, Position, Session};

const NOW: u64 = 1_795_239_827;
const SIDS: [&str; 3] = [
    "AAAAAAAAAAAAAAAAAAAAAA",
    "BBBBBBBBBBBBBBBBBBBBBB",
    "CCCCCCCCCCCCCCCCCCCCCC",
];

fn session(sid: &str, label: &str, current: bool) -> Session {
    Session {
        sid: sid.to_owned(),
        created_at: NOW - 7_200,
        auth_time: NOW - 7_200,
        last_seen_at: NOW - 240,
        ends_at: NOW + 86_400,
        idle_ends_at: NOW + 3_600,
        device: Device {
            label: label.to_owned(),
            kind: "desktop".to_owned(),
            ..Device::default()
        },
        ip: Some("203.0.113.7".to_owned()),
        place: Place::default(),
        amr: Vec::new(),
        ended: None,
        current,
    }
}

fn ended(sid: &str, label: &str, by: EndedBy, reason: &str) -> Session {
    let ended = Ended {
        at: NOW - 90,
        by,
        reason: reason.to_owned(),
    };
    Session {
        ended: Some(ended),
        ..session(sid, label, false)
    }
}

fn with_others(labels: &[&str]) -> Sessions {
    let others = labels
        .iter()
        .zip(&SIDS[1..])
        .map(|(label, sid)| session(sid, label, false));
    let this = session(SIDS[0], "Chrome on macOS", true);
    Sessions {
        sessions: [this].into_iter().chain(others).collect(),
        ended: Vec::new(),
    }
}

fn render(sessions: &Sessions) -> String {
    render_with(sessions, &PortalSettings::default(), None)
}

fn render_with(sessions: &Sessions, settings: &PortalSettings, query: Option<&str>) -> String {
    let notice = query.and_then(Notice::parse_query);
    let now = UnixSeconds::new(NOW);
    let sign_in_path = "/sign-in?return_to=%2F.session%2F";
    let notice = notice.as_ref();
    PortalPage {
        settings,
        sessions,
        notice,
        sign_in_path,
        bound_secs: 10,
        now,
    }
    .render()
}

/// The page as it is read out: without tags, white space folded.
fn text(html: &str) -> String {
    let pieces = html
        .split('<')
        .map(|piece| piece.split_once('>').map_or(piece, |(_, t)| t));
    pieces
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn page_gives_the_current_session_no_form_to_end_it() {
    let html = render(&with_others(&["Firefox on Linux"]));
    assert!(
        !html.contains(SIDS[0]),
        "the current sid is nowhere on the page"
    );
    assert_eq!(html.matches(r#"name="sid""#).count(), 1);
    assert_eq!(html.matches(r#"action="/.session/sign-out""#).count(), 1);
    let order = [
        "This device</h2>",
        "Chrome on macOS",
        "Other devices",
        "Firefox on Linux",
    ];
    let found: Vec<_> = order.iter().map(|words| html.find(words)).collect();
    assert!(found.is_sorted() && !found.contains(&None), "{html}");
}

#[test]
fn page_names_each_button_apart() {
    let one = text(&render(&with_others(&[
        "Firefox on Linux",
        "Safari on iOS",
    ])));
    assert!(one.contains("Sign out Firefox on Linux") && one.contains("Sign out Safari on iOS"));
    let alike = text(&render(&with_others(&[
        "Firefox on Linux",
        "Firefox on Linux",
    ])));
    assert!(
        alike.contains("Sign out Firefox on Linux 1 of 2"),
        "{alike}"
    );
    assert!(
        alike.contains("Sign out Firefox on Linux 2 of 2"),
        "{alike}"
    );
}

#[test]
fn page_counts_the_others() {
    let none = text(&render(&with_others(&[])));
    assert!(none.contains("This is your only session."));
    assert!(!none.contains("Sign out all other devices"));
    let two = text(&render(&with_others(&["a", "b"])));
    assert!(two.contains("Sign out all other devices (2)"), "{two}");
}

#[test]
fn page_asks_for_a_new_sign_in_before_ending_others_when_the_last_is_old() {
    let settings = r#"{"end_others_max_auth_age_secs": 600}"#;
    let settings: PortalSettings = serde_json::from_str(settings).expect("settings");
    let html = render_with(&with_others(&["a"]), &settings, None);
    assert!(!html.contains(r#"name="others""#));
    assert!(html.contains(r#"href="/sign-in?return_to=%2F.session%2F">sign in again"#));
}

#[test]
fn page_shows_times_relative_and_exact() {
    let html = render(&with_others(&["a"]));
    assert!(html.contains(
        r#"<time class="ago" datetime="2026-11-21T05:39:47Z" title="21 November 2026, 05:39 UTC">4 minutes ago</time>"#
    ));
}

#[test]
fn page_shows_notice_only_when_the_sessions_bear_it_out() {
    let mut sessions = with_others(&["Safari on iOS"]);
    let query = format!("ended={}&epoch=e1&to=7", SIDS[2]);
    let settings = PortalSettings::default();
    assert!(!render_with(&sessions, &settings, Some(&query)).contains("data-epoch"));
    assert!(!render_with(&sessions, &settings, Some("ended=others")).contains("signed out."));

    sessions.ended.push(ended(
        SIDS[2],
        "Firefox on Linux",
        EndedBy::User,
        "ended_by_user",
    ));
    let html = render_with(&sessions, &settings, Some(&query));
    assert!(html.contains(r#"data-epoch="e1" data-to="7""#));
    let words = "Firefox on Linux is signed out. It takes effect everywhere within 10 seconds.";
    assert!(text(&html).contains(words), "{}", text(&html));
    assert!(html.contains("<title>Firefox on Linux is signed out. Your devices</title>"));

    sessions.sessions.truncate(1);
    let location = Notice::others(Position {
        epoch: "e1".to_owned(),
        to: 8,
    })
    .location();
    let html = render_with(&sessions, &settings, location.strip_prefix("/.session/?"));
    assert!(text(&html).contains("All other devices are signed out."));
}

#[test]
fn page_explains_replay_and_points_to_help() {
    let mut sessions = with_others(&[]);
    sessions
        .ended
        .push(ended(SIDS[1], "Firefox", EndedBy::System, "renewal_reused"));
    let settings = r#"{"replay_help_url": "https://help.example/stolen"}"#;
    let settings: PortalSettings = serde_json::from_str(settings).expect("settings");
    let html = render_with(&sessions, &settings, None);
    assert!(html.contains("Somebody else may have been signed in as you"));
    assert!(html.contains(r#"href="https://help.example/stolen""#));

    let old = Ended {
        at: NOW - 7 * 86_400,
        by: EndedBy::System,
        reason: "renewal_reused".to_owned(),
    };
    sessions.ended = vec![Session {
        ended: Some(old),
        ..session(SIDS[1], "Firefox", false)
    }];
    let later = render(&sessions);
    assert!(
        !later.contains("Somebody else may have been"),
        "a week later only in the list"
    );
    assert!(text(&later).contains("used from two places"));
}

#[test]
fn page_folds_long_histories_and_bounds_them() {
    let mut sessions = with_others(&[]);
    sessions.ended = vec![ended(SIDS[1], "Firefox", EndedBy::Admin, "revoked"); 200];
    let html = render(&sessions);
    assert!(text(&html).contains("Show 45 more"));
    assert_eq!(
        html.matches("Signed out by the people who run this site.")
            .count(),
        50
    );
}

#[test]
fn page_keeps_hostile_text_inert_in_every_field() {
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onclick='alert(1)",
        "</title></bdi></li><style>*{display:none}</style>",
        "<!--",
        "&lt;script&gt;",
        "\u{202e}gnp.exe\u{0}\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "{{7*7}}${7*7}",
    ] {
        let mut row = session(hostile, hostile, false);
        row.device.kind = hostile.to_owned();
        row.ip = Some(hostile.to_owned());
        row.place.city = Some(hostile.to_owned());
        row.place.country = Some(hostile.to_owned());
        let this = Session {
            current: true,
            ..row.clone()
        };
        let end = Ended {
            at: u64::MAX,
            by: EndedBy::System,
            reason: hostile.to_owned(),
        };
        let gone = Session {
            ended: Some(end),
            ..row.clone()
        };
        let tame = Sessions {
            sessions: vec![session(SIDS[0], "a", true), session(SIDS[1], "b", false)],
            ended: vec![ended(SIDS[2], "c", EndedBy::System, "")],
        };
        let html = render(&Sessions {
            sessions: vec![this, row],
            ended: vec![gone],
        });

        let tags = |html: &str| html.matches('<').count();
        // The tame page's rows have the same elements, so any other tag came from the text.
        assert_eq!(tags(&html), tags(&render(&tame)), "{hostile:?} {html}");
    }
}

#[test]
fn page_leaves_out_marks_that_turn_or_break_a_line() {
    let mut row = session(SIDS[1], "\u{202e}gnp.exe\u{0}\r\nFirefox", false);
    row.ip = Some("\u{2066}203.0.113.7\n".to_owned());
    row.place.city = Some("Ber\u{200f}gen".to_owned());
    let html = render(&Sessions {
        sessions: vec![row],
        ended: Vec::new(),
    });
    assert!(
        html.contains("gnp.exe  Firefox") && html.contains("about Bergen"),
        "{html}"
    );
    assert!(!html.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{0}', '\r', '\n']));
}

#[test]
fn page_quotes_every_attribute_that_holds_text() {
    let html = render(&with_others(&["' onclick='x", "\" onclick=\"x"]));
    let attributes = html
        .split('<')
        .filter_map(|tag| tag.split_once('>'))
        .map(|(tag, _)| tag);
    for tag in attributes {
        assert!(
            !tag.split('"')
                .step_by(2)
                .any(|outside| outside.contains("onclick")),
            "{tag}"
        );
    }
}

#[test]
fn page_has_no_inline_script_style_or_handler() {
    let mut sessions = with_others(&["a"]);
    sessions
        .ended
        .push(ended(SIDS[2], "c", EndedBy::System, "renewal_reused"));
    let html = render(&sessions);
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains(r#"<script type="module" src="/.session/assets/portal.js"></script>"#));
    for inline in ["<style", " style=", " onclick", " onload", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
}
