//! Points and lengths of time, in whole seconds.
//!
//! Nobody here reads a clock: `now` is handed in. Arithmetic saturates, so that no hostile claim can
//! wrap a time around. Intervals are half-open: live while `start <= now < end`.

use serde::{Deserialize, Serialize};

/// Seconds since 1970 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(u64);

/// A length of time in seconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(u64);

impl UnixSeconds {
    /// Wraps seconds since 1970 UTC.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The whole second in which `ms` milliseconds since 1970 UTC lie.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms / 1000)
    }

    /// Seconds since 1970 UTC.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This time and `length` later.
    #[must_use]
    pub const fn plus(self, length: Seconds) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// This time and `length` earlier, 1970 at the earliest.
    #[must_use]
    pub const fn minus(self, length: Seconds) -> Self {
        Self(self.0.saturating_sub(length.0))
    }

    /// How long ago `earlier` was; zero if it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0))
    }
}

impl Seconds {
    /// Wraps a number of seconds.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of milliseconds, saturating.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0.saturating_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::{Seconds, UnixSeconds};

    #[test]
    fn from_ms_takes_the_second_that_has_begun() {
        for (ms, second) in [
            (0, 0),
            (999, 0),
            (1000, 1),
            (1_795_224_155_999, 1_795_224_155),
        ] {
            assert_eq!(UnixSeconds::from_ms(ms), UnixSeconds::new(second), "{ms}");
        }
    }

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let (first, last) = (UnixSeconds::new(0), UnixSeconds::new(u64::MAX));
        let two = Seconds::new(2);

        assert_eq!(UnixSeconds::new(5).plus(two).get(), 7);
        assert_eq!(UnixSeconds::new(5).minus(two).get(), 3);
        assert_eq!(UnixSeconds::new(5).since(UnixSeconds::new(3)), two);
        assert_eq!((first.minus(two), last.plus(two)), (first, last));
        assert_eq!(first.since(last), Seconds::new(0));
        assert_eq!(two.as_ms(), 2000);
        assert_eq!(Seconds::new(u64::MAX).as_ms(), u64::MAX);
    }
}
