//! Random lives of a session, as in the model of docs/protocol.md §4, replayed on each database.
//!
//! One holder: parallel tabs, lost, late and out-of-order answers never end the session. Two
//! holders: once both have been answered, the second to renew is found out. Every single verdict is
//! compared with the model's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::database::{Database, on_each_database};
use crate::running::{FIREFOX, Running};
use fastrand::Rng;
use hallpass_service::failure::{Failure, Refusal};
use hallpass_session::wire::{Client, RenewRequest};
use sqlx::Row;

/// Lives of each kind; the model itself was run with many more.
const LIVES: u64 = 150;
/// Milliseconds from a token's issue to its end.
const LIFE_MS: u64 = 300_000;
/// How long before its end it is renewed.
const BEFORE_MS: u64 = 30_000;
/// After which time an answer's cookie comes too late to be set.
const LATE_MS: u64 = 20_000;
/// The service's grace, in its whole seconds.
const GRACE_SECS: u64 = 10;

/// Generation and branch, as the model counts them.
type ModelToken = (u64, u64);

/// The model of a session: what the table would confirm.
#[derive(Default)]
struct Model {
    confirmed: ModelToken,
    at_secs: u64,
    fresh: u64,
    ended: bool,
    writes: u64,
}

impl Model {
    fn child(&mut self) -> ModelToken {
        self.fresh += 1;
        (self.confirmed.0 + 1, self.fresh)
    }

    fn renew(&mut self, token: ModelToken, now_secs: u64) -> Option<ModelToken> {
        let known = self.confirmed.0;
        if self.ended {
            return None;
        }
        if token.0 == known + 1 {
            (self.confirmed, self.at_secs) = (token, now_secs);
            self.writes += 1;
        } else if token != self.confirmed {
            let near = token.0 == known || token.0 + 1 == known;
            if !near || now_secs >= self.at_secs + GRACE_SECS {
                self.ended = true;
                return None;
            }
        }
        Some(self.child())
    }
}

/// A token as the model and as the service know it.
#[derive(Clone)]
struct Token {
    model: ModelToken,
    text: String,
}

/// A browser's cookie jar.
#[derive(Clone)]
struct Jar {
    renewal: Token,
    expires_ms: u64,
    renewals: u64,
}

/// What happens next; `jar` is 0 for the user and 1 for the thief.
enum Event {
    Burst {
        jar: usize,
    },
    Steal,
    Request {
        jar: usize,
    },
    Serve {
        jar: usize,
        sent: Token,
        began_ms: u64,
    },
    Cookie {
        jar: usize,
        answer: Token,
        expires_ms: u64,
    },
}

/// One life: its events in order of time.
struct Life<'a> {
    service: &'a Running,
    rng: Rng,
    model: Model,
    jars: Vec<Jar>,
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    events: Vec<Option<Event>>,
    started_ms: u64,
}

impl Life<'_> {
    fn at(&mut self, ms: u64, event: Event) {
        self.queue.push(Reverse((ms, self.events.len())));
        self.events.push(Some(event));
    }

    fn random_ms(&mut self, up_to: u64) -> u64 {
        self.rng.u64(0..up_to)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.usize(0..choices.len())]
    }

    /// Runs until the session or the time is over.
    async fn run(&mut self, end_ms: u64) {
        while let Some(Reverse((ms, index))) = self.queue.pop() {
            if ms > end_ms || self.model.ended {
                break;
            }
            let event = self.events[index].take().unwrap();
            self.step(ms, event).await;
        }
    }

    async fn step(&mut self, ms: u64, event: Event) {
        match event {
            Event::Burst { jar } => self.burst(ms, jar),
            Event::Steal => {
                let stolen = Jar {
                    renewals: 0,
                    ..self.jars[0].clone()
                };
                self.jars.push(stolen);
                let pause = self.pick(&[1_000, 30_000, 600_000]);
                self.at(ms + pause, Event::Burst { jar: 1 });
            }
            Event::Request { jar } => {
                let Jar {
                    renewal,
                    expires_ms,
                    ..
                } = self.jars[jar].clone();
                if ms + BEFORE_MS >= expires_ms {
                    let arrives = ms + self.random_ms(3_000);
                    self.at(
                        arrives,
                        Event::Serve {
                            jar,
                            sent: renewal,
                            began_ms: ms,
                        },
                    );
                }
            }
            Event::Serve {
                jar,
                sent,
                began_ms,
            } => self.serve(ms, jar, sent, began_ms).await,
            Event::Cookie {
                jar,
                answer,
                expires_ms,
            } => {
                // The last one processed wins, whatever the order.
                let jar = &mut self.jars[jar];
                (jar.renewal, jar.expires_ms) = (answer, expires_ms);
            }
        }
    }

    /// A page: several requests at once, again after a think time.
    fn burst(&mut self, ms: u64, jar: usize) {
        for _ in 0..self.pick(&[1, 1, 2, 5, 20]) {
            let at = ms + self.random_ms(2_000);
            self.at(at, Event::Request { jar });
        }
        let mean_ms = self.pick(&[5_000.0, 60_000.0, 400_000.0]);
        let think = -(1.0 - self.rng.f64()).ln() * mean_ms;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some ms"
        )]
        self.at(ms + think as u64, Event::Burst { jar });
    }

    async fn serve(&mut self, ms: u64, jar: usize, sent: Token, began_ms: u64) {
        let now_ms = hallpass_service::clock::Clock::unix_ms(&*self.service.clock);
        self.service
            .clock
            .advance_ms((self.started_ms + ms).saturating_sub(now_ms));
        let expected = self.model.renew(sent.model, self.service.now());
        let answer = self.ask(&sent.text).await;
        assert_eq!(
            answer.is_some(),
            expected.is_some(),
            "the service and the model disagree"
        );
        if self.jars.len() > 1 {
            self.jars[jar].renewals += 1;
        }
        let (Some(text), Some(model)) = (answer, expected) else {
            return;
        };
        if self.rng.f64() < 0.15 {
            return; // The answer is lost.
        }
        let delay = self.pick(&[50, 1_000, 8_000, 15_000]);
        if ms + delay < began_ms + LATE_MS {
            let answer = Token { model, text };
            self.at(
                ms + delay,
                Event::Cookie {
                    jar,
                    answer,
                    expires_ms: ms + LIFE_MS,
                },
            );
        }
    }

    async fn ask(&self, token: &str) -> Option<String> {
        let user_agent = Some(FIREFOX.to_owned());
        let request = RenewRequest {
            renewal_token: token.to_owned(),
            client: Client {
                user_agent,
                ..Client::default()
            },
            request_id: String::new(),
        };
        match self.service.service.renew(&request).await {
            Ok(renewed) => Some(renewed.renewal_token),
            Err(Failure::Refusal(Refusal::RenewalReused | Refusal::SessionRevoked)) => None,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Lives one life; returns the model's end state and how often each party renewed after the theft.
async fn live(service: &Running, seed: u64, thief: bool) -> (Model, Vec<u64>, u64) {
    let created = service.create(&format!("user-{seed}")).await;
    let mut model = Model::default();
    let renewal = Token {
        model: model.child(),
        text: created.renewal_token,
    };
    let mut life = Life {
        service,
        rng: Rng::with_seed(seed),
        model,
        jars: vec![Jar {
            renewal,
            expires_ms: LIFE_MS,
            renewals: 0,
        }],
        queue: BinaryHeap::new(),
        events: Vec::new(),
        started_ms: service.now() * 1000,
    };
    let end_ms = life.rng.u64(2_000_000..9_000_000);
    life.at(1_000, Event::Burst { jar: 0 });
    if thief {
        let steal_ms = life.rng.u64(100_000..1_500_000);
        life.at(steal_ms, Event::Steal);
    }
    life.run(end_ms).await;
    let generation = stored_generation(service, &created.session.sid).await;
    (
        life.model,
        life.jars.iter().map(|jar| jar.renewals).collect(),
        generation,
    )
}

async fn stored_generation(service: &Running, sid: &str) -> u64 {
    let sid = hallpass_service::record::parse_sid(sid).unwrap();
    let mut sql = service.sql().await;
    let rows = sqlx::query("SELECT sid, generation FROM renewals")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    let row = rows.iter().find(|row| row.get::<Vec<u8>, _>("sid") == sid);
    u64::try_from(row.unwrap().get::<i64, _>("generation")).unwrap()
}

async fn lives_of_one_holder_are_never_ended(database: Database) {
    let service = Running::start(database).await;
    for seed in 0..LIVES {
        let (model, _, generation) = live(&service, seed, false).await;

        assert!(!model.ended, "seed {seed}");
        assert_eq!(generation, model.confirmed.0, "seed {seed}");
        assert_eq!(
            generation, model.writes,
            "one write per confirmation, seed {seed}"
        );
    }
}

async fn lives_with_a_thief_end_once_both_have_renewed(database: Database) {
    let service = Running::start(database).await;
    let (mut both, mut found) = (0, 0);
    for seed in 1_000..1_000 + LIVES {
        let (model, renewals, _) = live(&service, seed, true).await;
        if renewals.len() == 2 && !renewals.contains(&0) {
            both += 1;
            found += u64::from(model.ended);
        }
    }

    assert!(both > LIVES / 2, "too few lives tell anything: {both}");
    // A life may end before the second party's renewal falls outside the grace.
    assert!(found * 100 >= both * 95, "{found} of {both} found out");
}

on_each_database![
    lives_of_one_holder_are_never_ended,
    lives_with_a_thief_end_once_both_have_renewed,
];
