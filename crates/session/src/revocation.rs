//! The revocation list: which sessions have ended before their tokens did.
//!
//! Revoked sessions are held by their dense index in one Roaring bitmap per expiry minute, so that
//! what no live token can name any more is dropped a minute at a time. A mass sign-out is one
//! number (`revoked_before`), the removal of a key one name less in `kids`.
//!
//! A list comes signed, whole or as the changes since a position. What does not fit on what is known
//! (older, a gap, another epoch) is refused and the last good list stays. How *old* the list is, is
//! counted from the service's read of its table ([`ListHeader::confirmed_at_ms`]), never from clocks
//! of two machines.
//!
//! Source: docs/protocol.md §3.

use crate::base64url;
use crate::claims::SessionClaims;
use crate::jws::{Kind, Unverified, Verified};
use crate::keyring::HS256_KID;
use crate::refusal::{Refusal, until_broken};
use crate::time::{Seconds, UnixSeconds};
use crate::wire::{ListClaims, Position};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow::{self, Break, Continue};

/// `typ` of a revocation list.
pub const TYP: &str = "revocations+jwt";
/// Longest list, in bytes: 16 MiB, about six million entries of two bytes in base64url.
pub const MAX_LIST_BYTES: usize = 16 << 20;
/// Oldest epochs kept beside the current one. An operator's `recover` begins one; tokens of more
/// than this many epochs ago cannot be live.
const MAX_OLDER_EPOCHS: usize = 4;

const KIND: Kind = Kind {
    typ: TYP,
    max_bytes: MAX_LIST_BYTES,
};

/// A list by its form only.
pub type UnverifiedList = Unverified<ListClaims>;

/// Why a list is not taken in; the last good one stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFault {
    /// Not a list by its form.
    Malformed,
    /// Of another issuer.
    OtherIssuer,
    /// Past its `exp`.
    Expired,
    /// Older than what is known.
    RolledBack,
    /// Changes that do not begin where the known list ends.
    Gap,
}

/// The list as this isolate knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RevocationList {
    position: Position,
    began: UnixSeconds,
    revoked_before: UnixSeconds,
    kids: Vec<String>,
    buckets: Buckets,
    older: Vec<OlderEpoch>,
}

type Buckets = BTreeMap<UnixSeconds, RoaringBitmap>;

/// Entries of an epoch that has been replaced: their indexes may be given out anew since.
#[derive(Clone, Debug, PartialEq)]
struct OlderEpoch {
    applies_before: UnixSeconds,
    buckets: Buckets,
}

/// One rule of [`RevocationList::judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListRule {
    /// The list names the token's key as trusted.
    KeyTrusted,
    /// The session is not among those revoked.
    NotRevoked,
    /// It is not among those revoked in an older epoch, if the token is that old.
    NotRevokedBefore,
    /// The token was made since everybody was last signed out.
    AfterWatermark,
}

impl ListRule {
    /// Every rule, in the order of judgement.
    pub const ALL: [Self; 4] = [
        Self::KeyTrusted,
        Self::NotRevoked,
        Self::NotRevokedBefore,
        Self::AfterWatermark,
    ];

    /// What breaking it is called in public.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::KeyTrusted => Refusal::TokenUntrusted,
            _ => Refusal::SessionRevoked,
        }
    }
}

/// Reads a list's form.
///
/// # Errors
///
/// `ListFault::Malformed`.
pub fn parse(text: &str) -> Result<UnverifiedList, ListFault> {
    let jws = Unverified::parse(text, KIND).map_err(|_| ListFault::Malformed)?;
    jws.map(|payload| serde_json::from_value(Value::Object(payload)))
        .map_err(|_| ListFault::Malformed)
}

impl RevocationList {
    /// Takes in a first, whole list at `now`.
    ///
    /// # Errors
    ///
    /// Any [`ListFault`]; a delta is a `Gap`.
    pub fn new(
        list: Verified<ListClaims>,
        issuer: &str,
        now: UnixSeconds,
    ) -> Result<Self, ListFault> {
        let list = list.into_content();
        check(&list, issuer, now)?;
        if list.from != 0 {
            return Err(ListFault::Gap);
        }
        Ok(Self {
            buckets: read_buckets(&list)?,
            position: Position {
                epoch: list.epoch,
                to: list.to,
            },
            began: UnixSeconds::new(list.began),
            revoked_before: UnixSeconds::new(list.revoked_before),
            kids: list.kids,
            older: Vec::new(),
        })
    }

    /// Takes in a further list at `now`: changes, the whole again, or the first of a new epoch.
    ///
    /// # Errors
    ///
    /// Any [`ListFault`]; the list is then as it was.
    pub fn apply(
        &mut self,
        list: Verified<ListClaims>,
        issuer: &str,
        now: UnixSeconds,
    ) -> Result<(), ListFault> {
        if list.content().epoch != self.position.epoch {
            return self.enter_epoch(list, issuer, now);
        }
        let list = list.into_content();
        check(&list, issuer, now)?;
        if list.to < self.position.to {
            return Err(ListFault::RolledBack);
        }
        if list.from > self.position.to {
            return Err(ListFault::Gap);
        }
        for (exp, indexes) in read_buckets(&list)? {
            *self.buckets.entry(exp).or_default() |= indexes;
        }
        self.position.to = list.to;
        self.revoked_before = self
            .revoked_before
            .max(UnixSeconds::new(list.revoked_before));
        self.kids = list.kids;
        Ok(())
    }

    fn enter_epoch(
        &mut self,
        list: Verified<ListClaims>,
        issuer: &str,
        now: UnixSeconds,
    ) -> Result<(), ListFault> {
        let mut next = Self::new(list, issuer, now)?;
        if next.began < self.began {
            return Err(ListFault::RolledBack);
        }
        next.revoked_before = next.revoked_before.max(self.revoked_before);
        next.older = std::mem::take(&mut self.older);
        next.older.insert(
            0,
            OlderEpoch {
                applies_before: next.began,
                buckets: std::mem::take(&mut self.buckets),
            },
        );
        next.older.truncate(MAX_OLDER_EPOCHS);
        *self = next;
        Ok(())
    }

    /// Drops what no token can name any more: buckets with `exp + longest_grace <= now`.
    pub fn forget_before(&mut self, longest_grace: Seconds, now: UnixSeconds) {
        let live = |exp: &UnixSeconds, _: &mut RoaringBitmap| exp.plus(longest_grace) > now;
        self.buckets.retain(live);
        for epoch in &mut self.older {
            epoch.buckets.retain(live);
        }
        self.older.retain(|epoch| !epoch.buckets.is_empty());
    }

    /// Judges a verified token's key and session.
    ///
    /// # Errors
    ///
    /// `TokenUntrusted` if its key is no longer trusted, `SessionRevoked` if its session has ended.
    pub fn judge(&self, kid: &str, claims: &SessionClaims) -> Result<(), Refusal> {
        match self.visit_rules(kid, claims, until_broken) {
            Continue(()) => Ok(()),
            Break(rule) => Err(rule.refusal()),
        }
    }

    /// Tells `visit` of each rule whether it holds, in the order of [`ListRule::ALL`], until it has
    /// seen enough.
    pub(crate) fn visit_rules<B>(
        &self,
        kid: &str,
        claims: &SessionClaims,
        mut visit: impl FnMut(ListRule, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let trusted = kid == HS256_KID || self.trusts(kid);
        visit(ListRule::KeyTrusted, trusted)?;
        visit(ListRule::NotRevoked, !holds(&self.buckets, claims.idx))?;
        let revoked_before = |epoch: &OlderEpoch| {
            claims.iat < epoch.applies_before && holds(&epoch.buckets, claims.idx)
        };
        let older = self.older.iter().any(revoked_before);
        visit(ListRule::NotRevokedBefore, !older)?;
        visit(ListRule::AfterWatermark, claims.iat >= self.revoked_before)
    }

    /// Whether the list names this session key as trusted.
    #[must_use]
    pub fn trusts(&self, kid: &str) -> bool {
        self.kids.iter().any(|known| known == kid)
    }

    /// How far this list goes.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// Tokens made before this are revoked.
    #[must_use]
    pub const fn revoked_before(&self) -> UnixSeconds {
        self.revoked_before
    }

    /// How many entries it holds.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let older = self.older.iter().flat_map(|epoch| epoch.buckets.values());
        self.buckets
            .values()
            .chain(older)
            .map(RoaringBitmap::len)
            .fold(0, u64::saturating_add)
    }
}

/// The `Hallpass-List` header of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListHeader {
    /// The position that the answer proves.
    pub position: Position,
    /// Milliseconds from the service's receipt of the request to the start of the read that proved
    /// it; negative when the read is older than the request.
    pub confirmed_ms: i64,
}

impl ListHeader {
    /// Reads `epoch="E", to=N, confirmed_ms=C`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.strip_prefix("epoch=\"")?.split_once("\", to=")?;
        let (to, confirmed_ms) = rest.split_once(", confirmed_ms=")?;
        let epoch = Some(epoch).filter(|epoch| !epoch.is_empty() && !epoch.contains('"'))?;
        let position = Position {
            epoch: epoch.to_owned(),
            to: to.parse().ok()?,
        };
        Some(Self {
            position,
            confirmed_ms: confirmed_ms.parse().ok()?,
        })
    }

    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self {
            position: Position { epoch, to },
            confirmed_ms,
        } = self;
        format!("epoch=\"{epoch}\", to={to}, confirmed_ms={confirmed_ms}")
    }

    /// When the list was proven to be the newest, on the edge's own clock; `None` if the service
    /// claims a read later than its answer.
    #[must_use]
    pub fn confirmed_at_ms(&self, started_ms: i64, now_ms: i64) -> Option<i64> {
        let at = started_ms.checked_add(self.confirmed_ms)?;
        (at <= now_ms).then_some(at)
    }
}

fn check(list: &ListClaims, issuer: &str, now: UnixSeconds) -> Result<(), ListFault> {
    if list.iss != issuer {
        Err(ListFault::OtherIssuer)
    } else if now >= UnixSeconds::new(list.exp) {
        Err(ListFault::Expired)
    } else {
        Ok(())
    }
}

fn read_buckets(list: &ListClaims) -> Result<Buckets, ListFault> {
    let mut buckets = Buckets::new();
    for bucket in &list.sessions {
        let indexes = read_bitmap(&bucket.idx).ok_or(ListFault::Malformed)?;
        *buckets.entry(UnixSeconds::new(bucket.exp)).or_default() |= indexes;
    }
    Ok(buckets)
}

fn read_bitmap(text: &str) -> Option<RoaringBitmap> {
    let bytes = base64url::decode(text)?;
    let mut rest = bytes.as_slice();
    let bitmap = RoaringBitmap::deserialize_from(&mut rest).ok()?;
    rest.is_empty().then_some(bitmap)
}

/// Writes a bitmap as the list carries it.
#[must_use]
pub fn encode_bitmap(bitmap: &RoaringBitmap) -> String {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    // Writing to a Vec cannot fail.
    let _ = bitmap.serialize_into(&mut bytes);
    base64url::encode(&bytes)
}

fn holds(buckets: &Buckets, idx: u32) -> bool {
    buckets.values().any(|indexes| indexes.contains(idx))
}
