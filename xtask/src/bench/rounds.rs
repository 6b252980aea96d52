//! Rounds of measuring: every case once per round, and again until the machine was quiet enough.
//!
//! The same thing measured twice, the control, says how much of a difference is noise. When its two
//! medians differ by more than [`CONTROL_LIMIT`], rounds are added up to a cap; after that the part
//! is inconclusive. Every sample is kept, and no round is chosen. A sample that was lost counts as
//! worse than every other.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Result;

/// How far the control's two medians may lie apart.
pub(crate) const CONTROL_LIMIT: f64 = 0.05;
/// Rounds are added up to this many times those asked for.
pub(crate) const CAP: usize = 3;

/// One sample; `None` was lost.
pub(crate) type Sample = Option<f64>;
/// The samples of one round by case.
pub(crate) type Round = BTreeMap<String, Sample>;

/// Something whose cases can be measured round by round.
pub(crate) trait Subject {
    /// The two cases that are one thing.
    fn control(&self) -> [&str; 2];
    /// Measures every case once. Odd rounds go through the cases backwards, so that none always
    /// follows the same other.
    ///
    /// # Errors
    /// When measuring cannot go on.
    fn round(&mut self, number: usize) -> Result<Round>;
}

/// All samples of a part, by case, in the order of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<Sample>>);

/// Measures for `rounds` rounds, and longer while the control says so.
///
/// # Errors
/// When a round cannot be measured.
pub(crate) fn measure(subject: &mut dyn Subject, rounds: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for number in 0..rounds * CAP {
        if number >= rounds && samples.is_conclusive(subject.control()) {
            break;
        }
        eprintln!("… round {}", number + 1);
        for (case, sample) in subject.round(number)? {
            samples.0.entry(case).or_default().push(sample);
        }
    }
    Ok(samples)
}

impl Samples {
    /// The samples of a case.
    pub(crate) fn of(&self, case: &str) -> &[Sample] {
        self.0.get(case).map_or(&[], Vec::as_slice)
    }

    /// How many rounds there were.
    pub(crate) fn rounds(&self) -> usize {
        self.0.values().map(Vec::len).max().unwrap_or(0)
    }

    /// One median of the control by the other; `None` if one was lost.
    pub(crate) fn control_ratio(&self, [one, other]: [&str; 2]) -> Sample {
        Some(median(self.of(one))? / median(self.of(other))?)
    }

    /// Whether the control's medians are near enough to each other.
    pub(crate) fn is_conclusive(&self, control: [&str; 2]) -> bool {
        self.control_ratio(control)
            .is_some_and(|ratio| (ratio - 1.0).abs() <= CONTROL_LIMIT)
    }

    /// `case` by the sum of the cases `to`, round by round.
    pub(crate) fn ratios(&self, case: &str, to: &[&str]) -> Vec<Sample> {
        let of_round = |(round, sample): (usize, &Sample)| {
            let base = to
                .iter()
                .map(|base| self.of(base).get(round).copied().flatten())
                .sum::<Sample>();
            Some((*sample)? / base?)
        };
        self.of(case).iter().enumerate().map(of_round).collect()
    }
}

/// The middle sample, or the mean of the two in the middle; `None` without samples, or when as many
/// were lost that a lost one is in the middle.
pub(crate) fn median(samples: &[Sample]) -> Sample {
    let sorted = sorted(samples);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return upper;
    }
    Some(f64::midpoint(sorted[middle - 1]?, upper?))
}

/// The least and the greatest sample, a lost one being the greatest.
pub(crate) fn spread(samples: &[Sample]) -> [Sample; 2] {
    let sorted = sorted(samples);
    [
        sorted.first().copied().flatten(),
        sorted.last().copied().flatten(),
    ]
}

fn sorted(samples: &[Sample]) -> Vec<Sample> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|one, other| match (one, other) {
        (Some(one), Some(other)) => one.total_cmp(other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    });
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control whose second half differs by `noise[round]`.
    struct Noisy(Vec<f64>);

    impl Subject for Noisy {
        fn control(&self) -> [&str; 2] {
            ["a", "again"]
        }

        fn round(&mut self, number: usize) -> Result<Round> {
            let noise = self.0.get(number).copied().unwrap_or(1.0);
            Ok([
                ("a".to_owned(), Some(100.0)),
                ("again".to_owned(), Some(100.0 * noise)),
            ]
            .into())
        }
    }

    #[test]
    fn measure_stops_after_the_rounds_asked_for_when_it_was_quiet() -> Result<()> {
        let samples = measure(&mut Noisy(vec![1.0, 1.04, 1.0]), 3)?;
        assert_eq!(samples.rounds(), 3);
        assert!(samples.is_conclusive(["a", "again"]));
        Ok(())
    }

    #[test]
    fn measure_adds_rounds_until_the_medians_meet() -> Result<()> {
        let samples = measure(&mut Noisy(vec![1.1, 1.1, 1.1]), 3)?;
        assert_eq!(samples.rounds(), 6); // from here on half of the samples are quiet
        assert!(samples.is_conclusive(["a", "again"]));
        Ok(())
    }

    #[test]
    fn measure_gives_up_at_the_cap_and_keeps_every_sample() -> Result<()> {
        let samples = measure(&mut Noisy(vec![1.2; 9]), 3)?;
        assert_eq!((samples.rounds(), samples.of("again").len()), (9, 9));
        assert!(!samples.is_conclusive(["a", "again"]));
        Ok(())
    }

    #[test]
    fn median_counts_a_lost_sample_as_the_worst() {
        assert_eq!(median(&[Some(3.0), None, Some(1.0)]), Some(3.0));
        assert_eq!(median(&[Some(3.0), Some(1.0)]), Some(2.0));
        assert_eq!(median(&[None, None, Some(1.0)]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(spread(&[Some(3.0), None, Some(1.0)]), [Some(1.0), None]);
    }

    #[test]
    fn ratios_divide_by_the_sum_within_one_round() {
        let samples = Samples(
            [
                ("x".to_owned(), vec![Some(6.0), Some(8.0), None]),
                ("y".to_owned(), vec![Some(1.0), Some(1.0), Some(1.0)]),
                ("z".to_owned(), vec![Some(1.0), None, Some(1.0)]),
            ]
            .into(),
        );
        assert_eq!(samples.ratios("x", &["y", "z"]), [Some(3.0), None, None]);
    }
}
