//! Lets the page control a miner that is computing: pause, resume, finish or stop it, or change its intensity. A change
//! takes effect when the worker next handles messages, which it does between slices of work.

use super::{
    event_sink::EventSink,
    events::MinerEvent,
    host::{YIELD_MS, now, sleep},
};
use js_sys::Math;
use r3mes_wgpu::{agents::driver::Runtime, compute::Slice};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
};

/// The time between two checks of whether a pause or a wait has ended, in milliseconds.
const CHECK_MS: u32 = 200;
/// The longest pause that the miner makes between two slices of work to keep to its intensity (the share of the time
/// during which it computes), in milliseconds.
const MAX_PACING_MS: f64 = 10_000.0;
/// The minimum time between two progress events, in milliseconds.
const PROGRESS_MS: f64 = 250.0;

/// The state through which the page controls a miner. It is shared between the miner and the yield hook, the function
/// that runs after each slice of work.
#[derive(Clone)]
pub(crate) struct Control(Rc<State>);

struct State {
    paused: Cell<bool>,
    finishing: Cell<bool>,
    stopped: Rc<Cell<bool>>,
    /// The share of the time during which the miner computes: above 0, at most 1.
    intensity: Cell<f64>,
    /// How long the worker has computed since it last handled messages, in milliseconds.
    worked_ms: Cell<f64>,
    /// The number of completed runs of the current task, and the number of all its runs. Each run computes a batch of
    /// sequences.
    runs: Cell<[usize; 2]>,
    /// The time of the last progress event, in milliseconds since the worker started.
    reported_ms: Cell<f64>,
    events: EventSink,
}

thread_local! {
    /// The state through which the page controls the only miner in this worker. It is global because the yield hook,
    /// the function that runs after each slice of work, is a plain function and cannot capture variables.
    static CONTROL: RefCell<Option<Control>> = const { RefCell::new(None) };
}

impl Control {
    /// Creates the state through which the page controls a new miner. From then on, [`yield_to_page`], the function
    /// that runs after each slice of work, uses this state.
    pub(crate) fn new(events: EventSink) -> Self {
        let control = Self(Rc::new(State {
            paused: Cell::default(),
            finishing: Cell::default(),
            stopped: Rc::default(),
            intensity: Cell::new(1.0),
            worked_ms: Cell::default(),
            runs: Cell::new([0, 1]),
            reported_ms: Cell::default(),
            events,
        }));
        CONTROL.set(Some(control.clone()));
        control
    }

    pub(crate) fn events(&self) -> &EventSink {
        &self.0.events
    }

    /// Returns the flag that says whether the miner is stopped. While it is true, requests must not be sent.
    pub(crate) fn stop_flag(&self) -> Rc<Cell<bool>> {
        self.0.stopped.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.get()
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

    pub(crate) fn set_intensity(&self, share: f64) {
        self.0.intensity.set(share);
    }

    /// Resets the progress to zero, for a new task that consists of `runs` runs. Each run computes a batch of
    /// sequences.
    pub(crate) fn begin_task(&self, runs: usize) {
        self.0.runs.set([0, runs]);
    }

    /// Records that `done` of the `all` dispatches (kernel launches) in the current run of the task are completed.
    /// Sends a progress event, but at most one every 250 ms.
    fn progress(&self, [done, all]: [usize; 2]) {
        let [mut runs, all_runs] = self.0.runs.get();
        if now() - self.0.reported_ms.get() >= PROGRESS_MS {
            self.0.reported_ms.set(now());
            let share = (runs as f64 + done as f64 / all as f64) / all_runs as f64;
            self.0.events.send(&MinerEvent::Progress { share: share.min(1.0) });
        }
        runs += usize::from(done == all);
        self.0.runs.set([runs, all_runs]);
    }
}

impl Runtime for Control {
    fn should_stop(&self) -> bool {
        self.0.stopped.get() || self.0.finishing.get()
    }

    async fn wait(&self, milliseconds: u32) {
        let end = now() + f64::from(milliseconds);
        while now() < end && !self.should_stop() {
            sleep(CHECK_MS).await;
        }
    }

    async fn wait_while_paused(&self) {
        while self.0.paused.get() && !self.is_stopped() {
            sleep(CHECK_MS).await;
        }
    }

    fn random(&self) -> u32 {
        (Math::random() * f64::from(u32::MAX)) as u32
    }

    fn now_ms(&self) -> f64 {
        now()
    }
}

/// The function that runs after each slice of work. It lets the worker handle messages from time to time, waits as long
/// as the intensity requires, and waits while the page has paused the miner. Returns false if the miner must stop.
pub(crate) fn yield_to_page(slice: Slice) -> Pin<Box<dyn Future<Output = bool>>> {
    let control = CONTROL.with_borrow(Clone::clone);
    Box::pin(async move {
        let Some(control) = control else { return true };
        control.progress([slice.dispatches_done, slice.dispatches]);
        let worked_ms = control.0.worked_ms.get() + slice.worked_ms;
        control.0.worked_ms.set(worked_ms);
        if worked_ms >= YIELD_MS || control.0.paused.get() || control.is_stopped() {
            control.0.worked_ms.set(0.0);
            sleep((worked_ms * (1.0 / control.0.intensity.get() - 1.0)).min(MAX_PACING_MS) as u32).await;
            control.wait_while_paused().await;
        }
        !control.is_stopped()
    })
}
