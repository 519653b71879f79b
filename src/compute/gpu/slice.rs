//! A slice is the work of one submission, short enough that the screen stays responsive.
//!
//! A slice is a list of parts. A part is some rows of one dispatch, and a row is the workgroups with the same y. The
//! cost of a row is measured for each shape of dispatch, so the first slice with an unknown shape is one row.

use std::ops::Range;

/// The largest number of workgroups of one launch along a dimension (WebGPU's `maxComputeWorkgroupsPerDimension`).
pub(super) const MAX_GROUPS: u32 = 65_535;
/// The largest number of parts of a slice. Each part uses one block of the parameter buffer, see [`super::executor`].
pub(super) const MAX_PARTS: usize = 512;
/// The largest factor by which one measurement lowers the cost of a row. A higher cost is adopted immediately.
const FASTER: f64 = 8.0;

/// The rows of a dispatch that are to run.
pub(super) struct DispatchRows {
    /// Index of the shape, which dispatches of one kernel with equal parameters share.
    pub(super) shape: usize,
    /// The workgroups along y that are to run.
    pub(super) rows: Range<u32>,
}

/// Rows `first..first + rows` of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlicePart {
    pub(super) dispatch: usize,
    pub(super) first: u32,
    pub(super) rows: u32,
}

/// Divides dispatches into slices by what their rows are expected to cost.
pub(super) struct SlicePlanner {
    /// Milliseconds that a slice may take; 0 makes every slice one row.
    budget_ms: f64,
    /// Time, in milliseconds, by which the report of completed work may be late.
    delay_ms: f64,
    /// Cost of a row in milliseconds, for each shape; `None` until it is measured.
    row_ms: Vec<Option<f64>>,
}

impl SlicePlanner {
    pub(super) fn new(budget_ms: f64, delay_ms: f64, shapes: usize) -> Self {
        Self { budget_ms, delay_ms, row_ms: vec![None; shapes] }
    }

    /// Returns the milliseconds of work that should be submitted ahead: enough to keep the GPU busy until the
    /// completion of a slice is reported and the next slice arrives.
    pub(super) fn ahead_ms(&self) -> f64 {
        self.budget_ms + 2.0 * self.delay_ms
    }

    /// Returns the milliseconds that these parts are expected to take; infinity if the cost of one of them is unknown.
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

    /// Returns the next slice of `dispatches[at.dispatch..end]`, from row `at.first` on, and moves `at` past it. The
    /// slice is empty if no rows are left.
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

    /// Updates the costs of rows after a report that these parts were complete `reported_ms` after their start. At most
    /// the last part has an unknown shape. Returns the milliseconds that the parts probably took: the expected time,
    /// within the limits that the delay of reports allows.
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

    /// Simulates a run on a GPU whose rows of shape `s` take `true_ms[s]`, and that reports completed work every
    /// `tick_ms`. Returns the milliseconds of each slice and the number of ticks.
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
                    assert!(before.into_iter().all(|(work, done)| work.rows.end == *done), "out of order");
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
            assert!((reported - tick_ms..=reported).contains(&estimated), "{estimated} of {reported}");
            ticks += 1;
        }
        assert!(work.iter().zip(&done).all(|(work, done)| work.rows.end == *done), "rows left");
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
        assert!((ticks as f64) < 2.5 * total / 100.0, "{ticks} ticks for {total} ms");
        // The costs of the first slices are estimates, which are at most `FASTER` times what the reports leave open.
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
        assert!(times.len() < 16_000, "{}", times.len());
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
