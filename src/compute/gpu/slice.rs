//! A slice is the work of one GPU submission, short enough that the screen stays responsive.
//!
//! A slice is a list of parts. A part is a range of rows of one dispatch (launch of a kernel). Here a row consists of
//! all workgroups of the dispatch with the same y index. The duration of a row is measured separately for each shape,
//! which is a kernel together with its parameters. As long as the duration for a shape is unknown, a row of that shape
//! is submitted as a slice of its own.

use std::ops::Range;

/// The largest number of workgroups of one launch along x, y or z (WebGPU's `maxComputeWorkgroupsPerDimension`).
pub(super) const MAX_GROUPS: u32 = 65_535;
/// The largest number of parts in a slice. A part is a range of workgroup rows of one dispatch, and uses one block of
/// the parameter buffer; see [`super::executor`].
pub(super) const MAX_PARTS: usize = 512;
/// The largest factor by which one measurement can reduce the estimated duration of a row of workgroups. The factor by
/// which a measurement increases the estimate is not limited.
const FASTER: f64 = 8.0;

/// One dispatch (launch of a kernel), and the range of its rows that a run executes. A row consists of all workgroups
/// of the dispatch with the same y index.
pub(super) struct DispatchRows {
    /// Index of the dispatch's shape. Dispatches of the same kernel with the same parameters have the same shape, so
    /// their rows are expected to take equally long.
    pub(super) shape: usize,
    /// The y indexes of the workgroups that the run executes.
    pub(super) rows: Range<u32>,
}

/// A range of workgroup rows of one dispatch (launch of a kernel): `rows` rows, starting with the row of index `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlicePart {
    pub(super) dispatch: usize,
    pub(super) first: u32,
    pub(super) rows: u32,
}

/// Divides dispatches into slices (GPU submissions) by the expected duration of their rows.
pub(super) struct SlicePlanner {
    /// The time that a slice (GPU submission) may take, in milliseconds. If it is 0, every slice is one row of
    /// workgroups.
    budget_ms: f64,
    /// The longest delay, in milliseconds, between the completion of work on the GPU and the report of the completion.
    delay_ms: f64,
    /// The estimated duration of one row of workgroups in milliseconds, indexed by shape (a kernel with its
    /// parameters); `None` until the shape has been measured.
    row_ms: Vec<Option<f64>>,
}

impl SlicePlanner {
    pub(super) fn new(budget_ms: f64, delay_ms: f64, shapes: usize) -> Self {
        Self { budget_ms, delay_ms, row_ms: vec![None; shapes] }
    }

    /// Returns how many milliseconds of work should be in flight, that is, submitted but not yet reported as complete.
    /// This is enough to keep the GPU busy until the completion of a slice is reported and the next slice arrives.
    pub(super) fn ahead_ms(&self) -> f64 {
        self.budget_ms + 2.0 * self.delay_ms
    }

    /// Returns the time that the parts of a slice (ranges of workgroup rows) are expected to take, in milliseconds. The
    /// result is infinity if the shape (kernel and parameters) of any part has not been measured.
    pub(super) fn expected_ms<'a>(
        &self,
        dispatches: &[DispatchRows],
        parts: impl IntoIterator<Item = &'a SlicePart>,
    ) -> f64 {
        parts.into_iter().map(|part| self.cost_ms(dispatches, part).unwrap_or(f64::INFINITY)).sum()
    }

    fn cost_ms(&self, dispatches: &[DispatchRows], part: &SlicePart) -> Option<f64> {
        Some(self.row_ms[dispatches[part.dispatch].shape]? * f64::from(part.rows))
    }

    /// Returns the parts (ranges of workgroup rows) of the next slice (GPU submission), and moves `at` to the end of
    /// the slice. The slice starts at row `at.first` of the dispatch with index `at.dispatch`, and contains only
    /// dispatches with indexes below `end`. It is empty if no rows are left.
    pub(super) fn slice(&self, dispatches: &[DispatchRows], at: &mut SlicePart, end: usize) -> Vec<SlicePart> {
        let (mut parts, mut left_ms) = (Vec::new(), self.budget_ms);
        while at.dispatch < end && parts.len() < MAX_PARTS {
            let DispatchRows { shape, rows } = &dispatches[at.dispatch];
            let (shape, first) = (*shape, at.first.max(rows.start));
            let left = rows.end.saturating_sub(first);
            if left == 0 {
                *at = SlicePart { dispatch: at.dispatch + 1, first: 0, rows: 0 };
                continue;
            }
            let affordable = match self.row_ms[shape] {
                Some(row_ms) => (left_ms / row_ms.max(1e-9)).min(f64::from(MAX_GROUPS)) as u32,
                None => 0,
            };
            if affordable == 0 && !parts.is_empty() {
                break;
            }
            let part = SlicePart { dispatch: at.dispatch, first, rows: left.min(affordable.max(1)) };
            parts.push(part);
            at.first = first + part.rows;
            match self.row_ms[shape] {
                Some(row_ms) => left_ms -= row_ms * f64::from(part.rows),
                None => break,
            }
        }
        parts
    }

    /// Updates the estimated durations of rows of workgroups after a slice (GPU submission). `parts` are the parts of
    /// the slice, and `reported_ms` is the time from the start of the slice to the report of its completion. All parts
    /// except the last must have a shape (a kernel with its parameters) that has been measured. Returns an estimate of
    /// the time that the slice took, in milliseconds. This is the expected time, but at most `reported_ms`, and at
    /// least `reported_ms` minus the longest delay of a report.
    pub(super) fn learn(&mut self, dispatches: &[DispatchRows], parts: &[SlicePart], reported_ms: f64) -> f64 {
        let least_ms = (reported_ms - self.delay_ms).max(0.0);
        let known_ms: f64 = parts.iter().filter_map(|part| self.cost_ms(dispatches, part)).sum();
        if let Some(part) = parts.iter().find(|part| self.row_ms[dispatches[part.dispatch].shape].is_none()) {
            let least_unknown_ms = reported_ms.max(self.delay_ms).min(self.budget_ms / FASTER);
            let took_ms = (least_ms - known_ms).max(least_unknown_ms);
            self.row_ms[dispatches[part.dispatch].shape] = Some(took_ms / f64::from(part.rows));
            return (known_ms + took_ms).clamp(least_ms, reported_ms);
        }
        let took_ms = known_ms.clamp(least_ms, reported_ms);
        let correction = (took_ms / known_ms.max(1e-9)).max(1.0 / FASTER);
        let mut shapes: Vec<_> = parts.iter().map(|part| dispatches[part.dispatch].shape).collect();
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

    /// Simulates a run on a GPU. A row of workgroups takes `true_ms[s]` milliseconds, where `s` is the index of its
    /// shape (a kernel with its parameters). The GPU reports completed work only at multiples of `tick_ms`
    /// milliseconds. Returns the milliseconds that each slice took, and the number of reports.
    fn run_reported(
        planner: &mut SlicePlanner,
        work: &[DispatchRows],
        true_ms: &[f64],
        tick_ms: f64,
    ) -> (Vec<f64>, usize) {
        let mut at = SlicePart { dispatch: 0, first: 0, rows: 0 };
        let (mut times, mut done, mut ticks) = (Vec::new(), vec![0; work.len()], 0);
        loop {
            let mut submitted = Vec::new();
            let mut took = 0.0;
            while submitted.is_empty() || planner.expected_ms(work, &submitted) < planner.ahead_ms() {
                let parts = planner.slice(work, &mut at, work.len());
                if parts.is_empty() {
                    break;
                }
                assert!(parts.len() <= MAX_PARTS);
                for part in &parts {
                    assert!(part.first == done[part.dispatch] && (1..=MAX_GROUPS).contains(&part.rows), "{part:?}");
                    let before = work[..part.dispatch].iter().zip(&done);
                    assert!(before.into_iter().all(|(work, done)| work.rows.end == *done), "dispatches out of order");
                    done[part.dispatch] += part.rows;
                }
                times.push(parts.iter().map(|part| true_ms[work[part.dispatch].shape] * f64::from(part.rows)).sum());
                took += times[times.len() - 1];
                submitted.extend(parts);
                if tick_ms == 0.0 {
                    break;
                }
            }
            if submitted.is_empty() {
                break;
            }
            let reported = if tick_ms == 0.0 { took } else { (took / tick_ms).ceil() * tick_ms };
            let estimated = planner.learn(work, &submitted, reported);
            assert!((reported - tick_ms..=reported).contains(&estimated), "estimate {estimated}, report {reported} ms");
            ticks += 1;
        }
        assert!(work.iter().zip(&done).all(|(work, done)| work.rows.end == *done), "not all rows were run");
        (times, ticks)
    }

    fn run(planner: &mut SlicePlanner, work: &[DispatchRows], true_ms: &[f64]) -> Vec<f64> {
        run_reported(planner, work, true_ms, 0.0).0
    }

    #[test]
    fn a_gpu_that_reports_late_is_kept_busy() {
        let work: Vec<_> = (0..6000).map(|i| DispatchRows { shape: i % 2, rows: 0..40 }).collect();
        let mut planner = SlicePlanner::new(16.0, 100.0, 2);
        let (times, ticks) = run_reported(&mut planner, &work, &[0.1, 0.02], 100.0);
        let total: f64 = times.iter().sum();
        assert!((ticks as f64) < 2.5 * total / 100.0, "{ticks} reports for {total} ms of work");
        // The estimates for the first slices are rough, so these slices may exceed the budget of 16 ms.
        assert!(times.iter().all(|time| *time < 100.0), "{times:?}");
        let (times, _) = run_reported(&mut planner, &work, &[2.0, 4.0], 100.0);
        assert!(times[50..].iter().all(|time| *time < 32.0), "{times:?}");
    }

    #[test]
    fn slices_cover_everything_in_order_within_the_budget() {
        let work: Vec<_> =
            (0..3000).map(|i| DispatchRows { shape: i % 3, rows: 0..[1, 700, 200_000][i % 3] }).collect();
        let mut planner = SlicePlanner::new(50.0, 0.0, 3);
        let times = run(&mut planner, &work, &[0.01, 0.3, 0.0001]);
        assert!(times.iter().all(|time| *time < 51.0), "{times:?}");
        assert!(times.len() < 16_000, "{} slices", times.len());
    }

    #[test]
    fn without_a_budget_each_slice_is_one_row() {
        let work = [
            DispatchRows { shape: 0, rows: 0..5 },
            DispatchRows { shape: 1, rows: 0..0 },
            DispatchRows { shape: 0, rows: 0..2 },
        ];
        assert_eq!(run(&mut SlicePlanner::new(0.0, 0.0, 2), &work, &[1.0, 1.0]).len(), 7);
    }

    #[test]
    fn a_slower_gpu_gets_shorter_slices() {
        let work: Vec<_> = (0..4000).map(|i| DispatchRows { shape: i % 2, rows: 0..3 }).collect();
        let mut planner = SlicePlanner::new(16.0, 0.0, 2);
        run(&mut planner, &work, &[0.01, 0.02]);
        let slower = run(&mut planner, &work, &[1.0, 2.0]);
        assert!(slower.len() > 2 && slower[1..].iter().all(|time| *time < 17.0), "{slower:?}");
        let faster = run(&mut planner, &work, &[0.01, 0.02]);
        assert!(faster.len() < 20 && faster.iter().all(|time| *time < 17.0), "{faster:?}");
    }
}
