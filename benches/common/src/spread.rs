//! Numbers over several rounds.

use serde::Serialize;

/// A number over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle, or between the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Spread { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

/// One contender's numbers divided by another's of the same round: the median of that. What disturbs one round
/// disturbs all contenders in it more or less alike, so they are compared round by round.
pub fn median_ratio<R>(own: &[R], base: &[R], number: impl Fn(&R) -> f64) -> f64 {
    Spread::of(own.iter().zip(base).map(|(own, base)| number(own) / number(base))).median
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_is_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]).median, 2.5);
    }

    #[test]
    fn a_ratio_compares_numbers_of_the_same_round() {
        assert_eq!(median_ratio(&[2.0, 20.0, 30.0], &[1.0, 10.0, 10.0], |number| *number), 2.0);
    }
}
