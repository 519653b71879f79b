//! Control: what the page may change while the engine computes, looked at after each slice.

use super::{
    events::MinerEvent,
    host::{LOOK_MS, now, sleep},
    tell::Tell,
};
use r3mes_wgpu::compute::Slice;
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
};

/// Between two looks at whether a pause is over.
pub(crate) const IDLE_MS: u32 = 200;
/// Longest rest after a look.
const MAX_REST_MS: f64 = 10_000.0;
/// Between two words of progress.
const PROGRESS_MS: f64 = 250.0;

/// Shared by the miner and the executors' rests.
#[derive(Clone)]
pub(crate) struct Control(Rc<State>);

struct State {
    paused: Cell<bool>,
    finishing: Cell<bool>,
    stopped: Rc<Cell<bool>>,
    /// The part of the time that is worked, above 0 and at most 1.
    duty: Cell<f64>,
    /// Milliseconds worked since the messages were looked at.
    worked: Cell<f64>,
    /// Plays of the task at hand that are done, and of every task.
    plays: Cell<[usize; 2]>,
    told: Cell<f64>,
    tell: Tell,
}

thread_local! {
    /// Of the one miner of this worker: executors know functions, not closures.
    static CONTROL: RefCell<Option<Control>> = const { RefCell::new(None) };
}

impl Control {
    /// From now on the one that [`rest`] heeds.
    pub(crate) fn new(tell: Tell) -> Self {
        let control = Self(Rc::new(State {
            paused: Cell::default(),
            finishing: Cell::default(),
            stopped: Rc::default(),
            duty: Cell::new(1.0),
            worked: Cell::default(),
            plays: Cell::new([0, 1]),
            told: Cell::default(),
            tell,
        }));
        CONTROL.set(Some(control.clone()));
        control
    }

    pub(crate) fn tell(&self) -> &Tell {
        &self.0.tell
    }

    /// For who must send nothing once it is set.
    pub(crate) fn stop_flag(&self) -> Rc<Cell<bool>> {
        self.0.stopped.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.get()
    }

    /// Whether another task may be begun.
    pub(crate) fn goes_on(&self) -> bool {
        !self.0.stopped.get() && !self.0.finishing.get()
    }

    pub(crate) fn begin(&self) {
        self.0.stopped.set(false);
        self.0.finishing.set(false);
    }

    pub(crate) fn pause(&self) {
        self.0.paused.set(true);
    }

    pub(crate) fn resume(&self) {
        self.0.paused.set(false);
    }

    pub(crate) fn finish(&self) {
        self.0.finishing.set(true);
        self.resume();
    }

    pub(crate) fn stop(&self) {
        self.0.stopped.set(true);
    }

    pub(crate) fn set_duty(&self, share: f64) {
        self.0.duty.set(share);
    }

    /// A task begins, of so many plays.
    pub(crate) fn expect(&self, plays: usize) {
        self.0.plays.set([0, plays]);
    }

    fn progress(&self, [done, dispatches]: [usize; 2]) {
        let [mut plays, all] = self.0.plays.get();
        if now() - self.0.told.get() >= PROGRESS_MS {
            self.0.told.set(now());
            let share = (plays as f64 + done as f64 / dispatches as f64) / all as f64;
            self.0.tell.say(&MinerEvent::Progress { share: share.min(1.0) });
        }
        plays += usize::from(done == dispatches);
        self.0.plays.set([plays, all]);
    }

    /// Waits while it is paused.
    pub(crate) async fn wait_while_paused(&self) {
        while self.0.paused.get() && !self.is_stopped() {
            sleep(IDLE_MS).await;
        }
    }
}

/// After each slice: rests as long as the intensity asks, and for as long as the pause lasts; false to stop.
pub(crate) fn rest(slice: Slice) -> Pin<Box<dyn Future<Output = bool>>> {
    let control = CONTROL.with_borrow(Clone::clone);
    Box::pin(async move {
        let Some(control) = control else { return true };
        control.progress([slice.dispatches_done, slice.dispatches]);
        let worked = control.0.worked.get() + slice.worked_ms;
        control.0.worked.set(worked);
        if worked >= LOOK_MS || control.0.paused.get() || control.is_stopped() {
            control.0.worked.set(0.0);
            sleep((worked * (1.0 / control.0.duty.get() - 1.0)).min(MAX_REST_MS) as u32).await;
            control.wait_while_paused().await;
        }
        !control.is_stopped()
    })
}
