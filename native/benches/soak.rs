//! A soak test: one node serves light miners for a long time, while its surroundings fail again and again. It checks
//! that no accepted gradient is lost, and reports whether the node's memory grows.
//!
//! `cargo bench -p r3mes-wgpu --bench soak -- [--minutes 60] [--miners 200] [--pause 30]`
//!
//! Every miner is the agent that the program `mine` runs. It computes gradients of a small model on one thread, and
//! waits `--pause` seconds after each accepted one. Every 20 seconds, one of these faults occurs:
//!
//! - the node is killed and started again;
//! - the node cannot write files for 5 seconds, as on a full disk (on Linux);
//! - 300 clients send half of a request and wait;
//! - the node is started again with environment variables that name a proxy that does not exist.

#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../tests/node_process.rs"]
mod node_process;
#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../tests/scripted_miner.rs"]
mod scripted_miner;
#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../tests/work_dir.rs"]
mod work_dir;

use node_process::NodeProcess;
use pollster::block_on;
use r3mes_wgpu::{
    agents::{
        driver::Runtime,
        miner::{Miner, MiningEvent, mine},
    },
    client::Client,
    tx::SessionKey,
};
use scripted_miner::{HttpHost, TestNetwork};
use std::{
    fs,
    io::Write,
    net::TcpStream,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use work_dir::WorkDir;

/// The time between two faults.
const FAULT_PAUSE: Duration = Duration::from_secs(20);
/// The time for which the node cannot write files.
const FULL_TIME: Duration = Duration::from_secs(5);
/// The number of clients that send half of a request.
const SLOW_CLIENTS: usize = 300;
/// If the round has no chunk left, a miner waits this many milliseconds before it asks again.
const IDLE_MS: u32 = 2000;
/// Stack size of a miner's thread in bytes.
const STACK: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let flag_or = |flag: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(default, |at| arguments[at + 1].parse().expect("a number"))
    };
    let (minutes, miners, pause) = (flag_or("--minutes", 60), flag_or("--miners", 200), flag_or("--pause", 30));
    let work_dir = WorkDir::new("soak");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/data/moby-dick.txt"), work_dir.text()).expect("a long text");
    let network = TestNetwork::at(work_dir, &["--rules", "embedded", "--quota", "64"], |_| ());
    let TestNetwork { work_dir, genesis, node, .. } = network;
    let url = node.url.clone();
    drop(node);
    let port = url.rsplit_once(':').expect("a port").1;
    let mut command = work_dir.command("node");
    command.args(["--json", "--backend", "cpu", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg("--genesis").arg(&genesis);
    let node = start(&command, &[]);

    let (stop, counted) = (AtomicBool::new(false), AtomicU64::new(0));
    let own: Vec<AtomicU64> = (0..miners).map(|_| AtomicU64::new(0)).collect();
    let node = thread::scope(|scope| {
        for (number, accepted) in own.iter().enumerate() {
            let (url, work_dir, stop, counted) = (&url, &work_dir, &stop, &counted);
            let run = move || {
                let worker = scripted_miner::worker(work_dir, 1, 1);
                let key = key(number as u64);
                let (payout, client) = (key.address().to_owned(), Client::new(HttpHost::new(url), key));
                let mut miner = Miner::new(client, worker, payout, "soak".to_owned());
                let runtime = ThreadRuntime { stop, start: Instant::now() };
                let on_event = |event: MiningEvent<'_>| {
                    if let MiningEvent::Accepted { .. } = event {
                        accepted.fetch_add(1, Ordering::Relaxed);
                        counted.fetch_add(1, Ordering::Relaxed);
                        runtime.sleep(Duration::from_secs(pause));
                    }
                };
                block_on(mine(&mut miner, &runtime, IDLE_MS, on_event))
                    .unwrap_or_else(|error| panic!("miner {number}: {error}"));
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
        }
        let node = disturb(node, &command, Duration::from_secs(60 * minutes), &counted);
        stop.store(true, Ordering::Relaxed);
        node
    });
    let mut lost = 0;
    for (number, accepted) in own.iter().enumerate() {
        let score = node.get(&format!("/remes/remes/v1/miner_score/{}", key(number as u64).address()));
        let known: u64 = score["miner_score"]["accepted"].as_str().expect("a number").parse().expect("a number");
        let rejected = &score["miner_score"]["rejected"];
        assert_eq!(rejected, "0", "miner {number}");
        lost += accepted.load(Ordering::Relaxed).saturating_sub(known);
    }
    println!("{} gradients accepted, {lost} of them lost", counted.load(Ordering::Relaxed));
    assert_eq!(lost, 0);
}

/// Disturbs the node for `time`, and prints its memory once a minute. Returns the node, which then runs undisturbed.
fn disturb(mut node: NodeProcess, command: &Command, time: Duration, counted: &AtomicU64) -> NodeProcess {
    let start = Instant::now();
    println!("minute   accepted   memory, MiB   faults");
    for fault in 1.. {
        if start.elapsed() >= time {
            break;
        }
        thread::sleep(FAULT_PAUSE);
        match fault % 4 {
            0 => {
                drop(node);
                node = self::start(command, &[]);
            }
            1 => {
                fill_disk(&node, true);
                thread::sleep(FULL_TIME);
                fill_disk(&node, false);
            }
            2 => {
                let address = node.url.trim_start_matches("http://");
                let clients: Vec<TcpStream> =
                    (0..SLOW_CLIENTS).filter_map(|_| TcpStream::connect(address).ok()).collect();
                for mut client in &clients {
                    let _ = client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n");
                }
                thread::sleep(FULL_TIME);
            }
            _ => {
                drop(node);
                node =
                    self::start(command, &[("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")]);
            }
        }
        if fault % 3 == 0 {
            let minute = start.elapsed().as_secs() / 60;
            println!("{minute:>6} {:>10} {:>13} {fault:>8}", counted.load(Ordering::Relaxed), memory_mib(&node));
        }
    }
    node
}

/// Starts the node. Tries again while its port or its files are still in use.
fn start(command: &Command, variables: &[(&str, &str)]) -> NodeProcess {
    let mut shell = Command::new("sh");
    // without the signal that the system sends by default, a write beyond the limit fails as on a full disk
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    shell.envs(variables.iter().copied());
    NodeProcess::run(&mut shell)
}

/// Makes the node unable to write files, or able again.
#[cfg(target_os = "linux")]
fn fill_disk(node: &NodeProcess, is_full: bool) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let current = is_full.then_some(0);
    prlimit(Pid::from_raw(node.process_id() as i32), Resource::Fsize, Rlimit { current, maximum: None })
        .expect("the limit of a child process");
}

#[cfg(not(target_os = "linux"))]
fn fill_disk(_node: &NodeProcess, _is_full: bool) {}

/// Returns the resident memory of the process `node` in MiB, or 0 on systems without `/proc`.
fn memory_mib(node: &NodeProcess) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process_id())).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    resident.unwrap_or(0u64) >> 10
}

/// Returns the session key of the miner with index `number`.
fn key(number: u64) -> SessionKey {
    let mut secret = [0x6b; 32];
    secret[..8].copy_from_slice(&(number + 1).to_le_bytes());
    SessionKey::new(&secret).expect("a small number is a key")
}

/// The runtime of a miner that has a thread of its own.
struct ThreadRuntime<'a> {
    stop: &'a AtomicBool,
    start: Instant,
}

impl ThreadRuntime<'_> {
    /// Waits, but stops as soon as the test ends.
    fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.should_stop() && Instant::now() < end {
            thread::sleep(Duration::from_millis(100).min(time));
        }
    }
}

impl Runtime for ThreadRuntime<'_> {
    fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn wait(&self, milliseconds: u32) {
        self.sleep(Duration::from_millis(milliseconds.into()));
    }

    fn random(&self) -> u32 {
        getrandom::u32().unwrap_or(0)
    }

    fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1000.0
    }
}
