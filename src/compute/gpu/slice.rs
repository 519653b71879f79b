//! A slice: the work of one submit, short enough that the screen keeps moving.
//!
//! It is a list of cuts; a cut is some rows of one dispatch, and a row is the workgroups that share
//! a y. What a row costs is measured, per shape of dispatch, so the first slice of an unknown shape
//! is one row.

use std::ops::Range;

/// Groups that one launch may have along a dimension (WebGPU's `maxComputeWorkgroupsPerDimension`).
pub(super) const GROUPS: u32 = 65_535;
/// Cuts in one slice: each takes a uniform block, see [`super::executor`].
pub(super) const CUTS: usize = 512;
/// A measurement may lower the cost of a row by this factor at most; it is believed at once that a GPU is slower.
const FASTER: f64 = 8.0;

/// One dispatch, as far as slicing is concerned.
pub(super) struct Work {
    /// Dispatches of one kernel with equal params share it.
    pub(super) shape: usize,
    /// Workgroups along y.
    pub(super) rows: Range<u32>,
}

/// Rows `first..first + rows` of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) dispatch: usize,
    pub(super) first: u32,
    pub(super) rows: u32,
}

/// What is known about time.
pub(super) struct Pace {
    /// What a slice may take; 0 makes every slice one row.
    budget_ms: f64,
    /// How long after the work its end may be heard of.
    delay_ms: f64,
    /// By shape.
    row_ms: Vec<Option<f64>>,
}

impl Pace {
    pub(super) fn new(budget_ms: f64, delay_ms: f64, shapes: usize) -> Self {
        Self { budget_ms, delay_ms, row_ms: vec![None; shapes] }
    }

    /// Work that the GPU should hold at least: enough to keep it busy until the end of a slice is heard of, and the next
    /// slice has come.
    pub(super) fn ahead_ms(&self) -> f64 {
        self.budget_ms + 2.0 * self.delay_ms
    }

    /// What these cuts should take; without end while it isn't known of one of them.
    pub(super) fn expected_ms<'a>(&self, work: &[Work], cuts: impl IntoIterator<Item = &'a Cut>) -> f64 {
        cuts.into_iter().map(|cut| self.cost_ms(work, cut).unwrap_or(f64::INFINITY)).sum()
    }

    fn cost_ms(&self, work: &[Work], cut: &Cut) -> Option<f64> {
        Some(self.row_ms[work[cut.dispatch].shape]? * f64::from(cut.rows))
    }

    /// The next slice of `work[at.dispatch..end]`, from row `at.first` on or from its first; moves `at` past it. Empty at
    /// the end.
    pub(super) fn slice(&self, work: &[Work], at: &mut Cut, end: usize) -> Vec<Cut> {
        let (mut cuts, mut left_ms) = (Vec::new(), self.budget_ms);
        while at.dispatch < end && cuts.len() < CUTS {
            let Work { shape, rows } = &work[at.dispatch];
            let (shape, first) = (*shape, at.first.max(rows.start));
            let left = rows.end.saturating_sub(first);
            if left == 0 {
                *at = Cut { dispatch: at.dispatch + 1, first: 0, rows: 0 };
                continue;
            }
            let affordable = match self.row_ms[shape] {
                Some(row_ms) => (left_ms / row_ms.max(1e-9)).min(f64::from(GROUPS)) as u32,
                None => 0,
            };
            if affordable == 0 && !cuts.is_empty() {
                break;
            }
            let cut = Cut { dispatch: at.dispatch, first, rows: left.min(affordable.max(1)) };
            cuts.push(cut);
            at.first = first + cut.rows;
            match self.row_ms[shape] {
                Some(row_ms) => left_ms -= row_ms * f64::from(cut.rows),
                None => break,
            }
        }
        cuts
    }

    /// The end of these cuts, at most the last of an unknown shape, was heard of this long after their start. Returns
    /// what they are believed to have taken: what was expected, as far as the delay allows it.
    pub(super) fn learn(&mut self, work: &[Work], cuts: &[Cut], heard_ms: f64) -> f64 {
        let least_ms = (heard_ms - self.delay_ms).max(0.0);
        let known_ms: f64 = cuts.iter().filter_map(|cut| self.cost_ms(work, cut)).sum();
        if let Some(cut) = cuts.iter().find(|cut| self.row_ms[work[cut.dispatch].shape].is_none()) {
            let unheard_ms = heard_ms.max(self.delay_ms).min(self.budget_ms / FASTER);
            let took_ms = (least_ms - known_ms).max(unheard_ms);
            self.row_ms[work[cut.dispatch].shape] = Some(took_ms / f64::from(cut.rows));
            return (known_ms + took_ms).clamp(least_ms, heard_ms);
        }
        let took_ms = known_ms.clamp(least_ms, heard_ms);
        let correction = (took_ms / known_ms.max(1e-9)).max(1.0 / FASTER);
        let mut shapes: Vec<_> = cuts.iter().map(|cut| work[cut.dispatch].shape).collect();
        shapes.sort_unstable();
        shapes.dedup();
        for shape in shapes {
            if let Some(row_ms) = &mut self.row_ms[shape] {
                *row_ms *= correction;
            }
        }
        took_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a list on a GPU whose rows of shape `s` take `true_ms[s]`, and that is asked every `tick_ms` what it has
    /// done; returns the slices' times, and the number of ticks.
    fn play_heard(pace: &mut Pace, work: &[Work], true_ms: &[f64], tick_ms: f64) -> (Vec<f64>, usize) {
        let mut at = Cut { dispatch: 0, first: 0, rows: 0 };
        let (mut times, mut done, mut ticks) = (Vec::new(), vec![0; work.len()], 0);
        loop {
            let mut held = Vec::new();
            let mut took = 0.0;
            while held.is_empty() || pace.expected_ms(work, &held) < pace.ahead_ms() {
                let cuts = pace.slice(work, &mut at, work.len());
                if cuts.is_empty() {
                    break;
                }
                assert!(cuts.len() <= CUTS);
                for cut in &cuts {
                    assert!(cut.first == done[cut.dispatch] && (1..=GROUPS).contains(&cut.rows), "{cut:?}");
                    let before = work[..cut.dispatch].iter().zip(&done);
                    assert!(before.into_iter().all(|(work, done)| work.rows.end == *done), "out of order");
                    done[cut.dispatch] += cut.rows;
                }
                times.push(cuts.iter().map(|cut| true_ms[work[cut.dispatch].shape] * f64::from(cut.rows)).sum());
                took += times[times.len() - 1];
                held.extend(cuts);
                if tick_ms == 0.0 {
                    break;
                }
            }
            if held.is_empty() {
                break;
            }
            let heard = if tick_ms == 0.0 { took } else { (took / tick_ms).ceil() * tick_ms };
            let believed = pace.learn(work, &held, heard);
            assert!((heard - tick_ms..=heard).contains(&believed), "{believed} of {heard}");
            ticks += 1;
        }
        assert!(work.iter().zip(&done).all(|(work, done)| work.rows.end == *done), "rows left");
        (times, ticks)
    }

    fn run(pace: &mut Pace, work: &[Work], true_ms: &[f64]) -> Vec<f64> {
        play_heard(pace, work, true_ms, 0.0).0
    }

    #[test]
    fn a_gpu_that_answers_late_is_kept_busy() {
        let work: Vec<_> = (0..6000).map(|i| Work { shape: i % 2, rows: 0..40 }).collect();
        let mut pace = Pace::new(16.0, 100.0, 2);
        let (times, ticks) = play_heard(&mut pace, &work, &[0.1, 0.02], 100.0);
        let total: f64 = times.iter().sum();
        assert!((ticks as f64) < 2.5 * total / 100.0, "{ticks} ticks for {total} ms");
        // the first slices are guesses, of at most FASTER times what could not be heard
        assert!(times.iter().all(|time| *time < 100.0), "{times:?}");
        let (times, _) = play_heard(&mut pace, &work, &[2.0, 4.0], 100.0);
        assert!(times[50..].iter().all(|time| *time < 32.0), "{times:?}");
    }

    #[test]
    fn slices_cover_everything_in_order_within_the_budget() {
        let work: Vec<_> = (0..3000).map(|i| Work { shape: i % 3, rows: 0..[1, 700, 200_000][i % 3] }).collect();
        let mut pace = Pace::new(50.0, 0.0, 3);
        let times = run(&mut pace, &work, &[0.01, 0.3, 0.0001]);
        assert!(times.iter().all(|time| *time < 51.0), "{times:?}");
        assert!(times.len() < 16_000, "{}", times.len());
    }

    #[test]
    fn no_budget_means_one_row_at_a_time() {
        let work = [Work { shape: 0, rows: 0..5 }, Work { shape: 1, rows: 0..0 }, Work { shape: 0, rows: 0..2 }];
        assert_eq!(run(&mut Pace::new(0.0, 0.0, 2), &work, &[1.0, 1.0]).len(), 7);
    }

    #[test]
    fn a_slower_gpu_gets_shorter_slices() {
        let work: Vec<_> = (0..4000).map(|i| Work { shape: i % 2, rows: 0..3 }).collect();
        let mut pace = Pace::new(16.0, 0.0, 2);
        run(&mut pace, &work, &[0.01, 0.02]);
        let slower = run(&mut pace, &work, &[1.0, 2.0]);
        assert!(slower.len() > 2 && slower[1..].iter().all(|time| *time < 17.0), "{slower:?}");
        let faster = run(&mut pace, &work, &[0.01, 0.02]);
        assert!(faster.len() < 20 && faster.iter().all(|time| *time < 17.0), "{faster:?}");
    }
}
