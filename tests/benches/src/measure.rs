//! Running two things in turn.

use crate::figure::Round;
use anyhow::Result;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Runs `ours` and `baseline` in turn, `rounds` times, and swaps who goes first each time: what a machine does meanwhile
/// hits both. The first pair warms up and does not count.
pub async fn in_turn<O, B>(
    rounds: usize,
    mut ours: impl FnMut() -> O,
    mut baseline: impl FnMut() -> B,
) -> Result<Vec<Round>>
where
    O: Future<Output = Result<f64>>,
    B: Future<Output = Result<f64>>,
{
    let mut counted = Vec::with_capacity(rounds);
    for number in 0..=rounds {
        let (o, b);
        if number % 2 == 0 {
            b = baseline().await?;
            o = ours().await?;
        } else {
            o = ours().await?;
            b = baseline().await?;
        }
        if number > 0 {
            counted.push(Round { ours: o, baseline: Some(b) });
        }
    }
    Ok(counted)
}

/// Calls at a rate, in calls a second, each at its time whether the one before is answered or not. How long each took,
/// from when it was due.
pub async fn at_rate<F: Future<Output = Result<()>>>(
    rate: f64,
    numbers: Range<usize>,
    call: impl Fn(usize) -> F,
) -> Result<Vec<Duration>> {
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut calls, mut taken) = (FuturesUnordered::new(), Vec::with_capacity(numbers.len()));
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() || !calls.is_empty() {
        tokio::select! {
            due = pace.tick(), if numbers.peek().is_some() => {
                let Some(number) = numbers.next() else { continue };
                let answer = call(number);
                calls.push(async move { answer.await.map(|()| due.elapsed()) });
            }
            Some(call) = calls.next(), if !calls.is_empty() => taken.push(call?),
        }
    }
    Ok(taken)
}

/// How many of `count` things went by in a second.
pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

/// What an action answers, and how long it took.
pub async fn timed<T>(action: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let answer = action.await;
    (answer, began.elapsed())
}

/// The value below which `share` (0 to 1) of the values lie, by nearest rank; zero of no values.
pub fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn both_run_equally_often_and_the_first_pair_does_not_count() {
        let order = RefCell::new(String::new());
        let say = |who: char, value: f64| {
            order.borrow_mut().push(who);
            async move { Ok(value) }
        };
        let rounds = in_turn(3, || say('o', 1.0), || say('b', 2.0)).await.expect("both answer");
        assert_eq!(rounds, vec![Round { ours: 1.0, baseline: Some(2.0) }; 3]);
        assert_eq!(order.into_inner(), "boobboob");
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&mut times, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&mut times, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(&mut [], 0.5), Duration::ZERO);
    }
}
