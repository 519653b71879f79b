//! A soak test: one node serves many miners for a long time, while the test causes one fault after another, such as a
//! full disk. The test checks that no accepted gradient is lost, and prints the node's memory, so that growth is seen.
//!
//! `cargo bench -p r3mes-wgpu --bench soak -- [--minutes 60] [--miners 200] [--pause 30] [--kill 20]`
//!
//! Every miner is the agent that the program `mine` runs. It computes gradients of a small model on one thread, and
//! waits `--pause` seconds after each accepted gradient. The test causes these faults in turn, 20 seconds apart:
//!
//! - the node cannot write files for 5 seconds, as on a full disk (on Linux);
//! - 300 clients send half of a request and wait 5 seconds;
//! - the node's clock is set one hour ahead, and back again after 5 seconds (on Linux, with a C compiler).
//!
//! Every `--kill` minutes, another fault occurs: the node is killed and started again. In half of the restarts, its
//! environment variables name a proxy that does not exist.

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
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use work_dir::WorkDir;

/// The time between two faults.
const FAULT_PAUSE: Duration = Duration::from_secs(20);
/// The time for which a fault lasts.
const FAULT_TIME: Duration = Duration::from_secs(5);
/// The number of slow clients, one of the faults. Each of them sends only half of a request.
const SLOW_CLIENTS: usize = 300;
/// If the round has no chunk left, a miner waits this many milliseconds before it asks for a chunk again.
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
    let life = Duration::from_secs(60 * flag_or("--kill", 20));
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
    let clock = Clock::new(&work_dir);
    clock.install(&mut command);
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
        let node = disturb(node, &command, &clock, [Duration::from_secs(60 * minutes), life], &counted);
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
    println!("{} gradients were accepted; {lost} of them are missing from the ledger", counted.load(Ordering::Relaxed));
    assert_eq!(lost, 0);
}

/// Causes faults of the node for the duration `time`, and prints the node's memory about once a minute. Kills the node
/// and starts it again when it has run for the duration `life`. Returns the node, which then runs without faults.
fn disturb(
    mut node: NodeProcess,
    command: &Command,
    clock: &Clock,
    [time, life]: [Duration; 2],
    counted: &AtomicU64,
) -> NodeProcess {
    let start = Instant::now();
    let (mut node_start, mut kills) = (start, 0);
    println!("minute   gradients accepted   memory of the node, MiB   faults injected   of these, kills of the node");
    for fault in 1u32.. {
        if start.elapsed() >= time {
            break;
        }
        thread::sleep(FAULT_PAUSE);
        if node_start.elapsed() >= life {
            (node_start, kills) = (Instant::now(), kills + 1);
            drop(node);
            let proxies = [("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")];
            node = self::start(command, if kills % 2 == 0 { &proxies } else { &[] });
            continue;
        }
        match fault % 3 {
            0 => {
                fill_disk(&node, true);
                thread::sleep(FAULT_TIME);
                fill_disk(&node, false);
            }
            1 => {
                let address = node.url.trim_start_matches("http://");
                let clients: Vec<TcpStream> =
                    (0..SLOW_CLIENTS).filter_map(|_| TcpStream::connect(address).ok()).collect();
                for mut client in &clients {
                    let _ = client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n");
                }
                thread::sleep(FAULT_TIME);
            }
            _ => {
                clock.set_ahead(true);
                thread::sleep(FAULT_TIME);
                clock.set_ahead(false);
                let minute = start.elapsed().as_secs() / 60;
                let (accepted, memory) = (counted.load(Ordering::Relaxed), memory_mib(&node));
                println!("{minute:>6} {accepted:>20} {memory:>25} {fault:>15} {kills:>29}");
            }
        }
    }
    node
}

/// A C library that replaces the function from which a program gets the time. The time is one hour ahead while the file
/// named by the environment variable `SOAK_CLOCK` exists.
const CLOCK_SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *file = getenv("SOAK_CLOCK");
    if (result == 0 && clock == CLOCK_REALTIME && file && access(file, F_OK) == 0) time->tv_sec += 3600;
    return result;
}
"#;

/// The clock of the node's process, which the test can set without changing the clock of the machine.
struct Clock {
    /// The file of the C library that is compiled from [`CLOCK_SOURCE`]. `None` if it could not be compiled.
    library: Option<PathBuf>,
    /// The path of a file that exists while the clock is one hour ahead.
    file: PathBuf,
}

impl Clock {
    /// Compiles the C library that replaces the node's clock. If this fails, prints that the clock will not be set.
    fn new(work_dir: &WorkDir) -> Self {
        let library = work_dir.text().with_file_name("clock.so");
        let source = library.with_extension("c");
        fs::write(&source, CLOCK_SOURCE).expect("a writable folder");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).stderr(Stdio::null());
        let compiled = cfg!(target_os = "linux") && compiler.status().is_ok_and(|status| status.success());
        if !compiled {
            println!("skipped: setting the node's clock needs Linux and a C compiler `cc`");
        }
        Self { library: compiled.then_some(library), file: source.with_file_name("clock-ahead") }
    }

    /// Sets environment variables of `command`, so that the node that it starts uses this clock.
    fn install(&self, command: &mut Command) {
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library).env("SOAK_CLOCK", &self.file);
        }
    }

    /// Sets the node's clock one hour ahead if `is_ahead` is true, or else to the right time.
    fn set_ahead(&self, is_ahead: bool) {
        let changed = if is_ahead { fs::write(&self.file, "") } else { fs::remove_file(&self.file) };
        changed.expect("the working directory can be written");
    }
}

/// Starts the node. Tries again while its port or its files are still in use.
fn start(command: &Command, variables: &[(&str, &str)]) -> NodeProcess {
    let mut shell = Command::new("sh");
    // without the signal that the system sends by default, a write beyond the limit fails as on a full disk
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.envs(set).envs(variables.iter().copied());
    NodeProcess::run(&mut shell)
}

/// Makes every write of the node to a file fail if `is_full` is true. Otherwise makes writes possible again.
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

/// What a miner's loop needs from its environment (waiting, a clock, random numbers), for a miner that has a thread of
/// its own.
struct ThreadRuntime<'a> {
    stop: &'a AtomicBool,
    start: Instant,
}

impl ThreadRuntime<'_> {
    /// Waits for the duration `time`, or until the test ends if that is earlier.
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
