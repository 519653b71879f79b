//! Tests of the program in unusual environments: with proxies, full disks, closed outputs, containers, and unusual
//! values of flags and environment variables.

use crate::{
    node_process::NodeProcess,
    work_dir::{WorkDir, accepted},
};
use std::{
    fs::{self, File},
    io::Write,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until a process ends, and returns its exit code. Panics if it takes longer than a minute.
fn exit_code(process: &mut Child) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().unwrap();
    panic!("the process does not end");
}

#[test]
fn a_proxy_in_the_environment_is_not_used_for_this_machine() {
    let work_dir = WorkDir::new("proxy");
    let mut command = work_dir.mine("1");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let output = command.output().unwrap();
    assert_eq!(accepted(&output.stdout).len(), 1, "{}", stderr(&output));
}

#[test]
fn an_empty_environment_variable_counts_as_unset() {
    let work_dir = WorkDir::new("empty-variables");
    let mut command = work_dir.mine("1");
    for name in
        ["BACKEND", "DEVICE", "THREADS", "LISTEN", "PAGE", "MIN_FEE", "NODE", "ADDRESS", "GRANTER", "LOG", "IPFS"]
    {
        command.env(format!("R3MES_{name}"), "");
    }
    let output = command.output().unwrap();
    assert_eq!(accepted(&output.stdout).len(), 1, "{}", stderr(&output));
}

#[test]
fn the_text_can_come_from_stdin() {
    let work_dir = WorkDir::new("stdin");
    let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
    command.args(["mine", "--json", "--backend", "cpu", "--rank", "4", "--max-tasks", "1", "--text", "-", "--model"]);
    command.arg(work_dir.model()).arg("--data-dir").arg(work_dir.data());
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = pipes.spawn().unwrap();
    process.stdin.take().unwrap().write_all(&fs::read(work_dir.text()).unwrap()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(accepted(&output.stdout).len(), 1, "{}", stderr(&output));
}

#[test]
fn a_node_listens_on_a_host_name_and_answers_under_it() {
    let work_dir = WorkDir::new("listen");
    let mut command = work_dir.command("node");
    command.args(["--json", "--backend", "cpu", "--rank", "4", "--listen", "localhost:0"]);
    let node = NodeProcess::run(&mut command);
    let port = node.url.rsplit_once(':').unwrap().1;
    for host in [format!("LocalHost:{port}"), "127.0.0.1".to_owned()] {
        let response = node.agent.get(format!("{}/health", node.url)).header("host", &host).call().unwrap();
        assert_eq!(response.status().as_u16(), 200, "{host}");
    }
    let output = work_dir.command("node").args(["--listen", "nowhere"]).output().unwrap();
    assert!(stderr(&output).contains("such as 127.0.0.1:7717"), "{}", stderr(&output));
}

#[test]
#[cfg(unix)]
fn a_node_ends_when_the_system_asks_it_to() {
    let work_dir = WorkDir::new("terminate");
    let mut process = work_dir.node("0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line).unwrap();
    signal(&process, "TERM");
    assert_eq!(exit_code(&mut process), Some(130));
}

/// Sends a signal to a process.
#[cfg(unix)]
fn signal(process: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.id())]).status().unwrap();
    assert!(status.success());
}

/// Checks that Ctrl-C stops a miner that waits for an attestation. The attestation never comes, because the only
/// verifier of the network does not run.
#[test]
#[cfg(unix)]
fn the_first_ctrl_c_ends_the_wait_for_a_verdict() {
    let work_dir = WorkDir::new("verdict");
    let genesis = work_dir.data().with_extension("json");
    let printed = work_dir.command("genesis").args(["--rank", "4", "--rules", "network"]).output().unwrap();
    let mut terms: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    // no program runs with the key of this validator, so the network waits for its attestation until the deadline
    let silent = r3mes_wgpu::tx::SessionKey::new(&[77; 32]).unwrap();
    terms["nodes"] = serde_json::json!([[silent.address(), 100_000_000_000u64, [3, 4]]]);
    terms["params"]["attestation_blocks"] = 100_000.into();
    fs::write(&genesis, terms.to_string()).unwrap();
    let mut command = work_dir.command("node");
    command.args(["--json", "--backend", "cpu", "--listen", "127.0.0.1:0", "--genesis"]).arg(&genesis);
    let node = NodeProcess::run(&mut command);
    let miner = WorkDir::new("verdict-miner");
    let mut process = miner.mine_for(&node.url, "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while node.bytes("/remes/remes/v1/stored_gradient/1").0 != 200 {
        assert!(Instant::now() < end && process.try_wait().unwrap().is_none(), "the miner submits nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&process, "INT");
    assert_eq!(exit_code(&mut process), Some(130));
}

#[test]
#[cfg(target_os = "linux")]
fn mining_goes_on_if_nobody_can_read_the_messages() {
    let work_dir = WorkDir::new("full-stderr");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = work_dir.mine("1").stderr(full).output().unwrap();
    assert_eq!((output.status.code(), accepted(&output.stdout).len()), (Some(0), 1));
    // a pipe whose reading end is closed
    let mut process = work_dir.mine("2").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stderr.take());
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), accepted(&output.stdout).len()), (Some(0), 2));
}

/// Checks that a node whose disk is full reports the error, and works again when the disk has space. A limit on the
/// size of the files that the node may write simulates the full disk.
#[test]
#[cfg(target_os = "linux")]
fn a_node_recovers_when_its_full_disk_has_space_again() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let work_dir = WorkDir::new("full-disk");
    let command = work_dir.node("0");
    // the process ignores the signal that the system sends at the limit, so that the write fails as on a full disk
    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    let node = NodeProcess::run(&mut ignoring);
    let process = Pid::from_raw(node.process_id() as i32);
    let unlimited = prlimit(process, Resource::Fsize, Rlimit { current: Some(0), maximum: None }).unwrap();
    let mut miner = crate::scripted_miner::ScriptedMiner::new(&node.url, &work_dir, 7);
    let (id, chunk) = (miner.address().to_owned(), node.next_chunk());
    let claim = crate::node_process::claim(&miner.key, chunk);
    let tx = miner.key.sign(crate::node_process::CHAIN, 0, &Default::default(), &[claim]).unwrap();
    let body = serde_json::json!({
        "tx_bytes": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &tx),
        "mode": "BROADCAST_MODE_SYNC",
    });
    let url = format!("{}/cosmos/tx/v1beta1/txs", node.url);
    node.agent.post(url).header("content-type", "application/json").send(body.to_string()).unwrap();
    let health = || {
        let (status, body) = node.bytes("/health");
        (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    };
    miner.wait(|| (health().0 == 503).then_some(()));
    let (_, failing) = health();
    assert!(failing["error"].as_str().is_some_and(|error| !error.is_empty()), "{failing}");
    assert_eq!(node.get(&format!("/r3mes/wgpu/v1/tasks/{id}"))["held"], serde_json::Value::Null);
    prlimit(process, Resource::Fsize, unlimited).unwrap();
    miner.wait(|| (health().0 == 200).then_some(()));
    miner.wait(|| (node.get(&format!("/r3mes/wgpu/v1/tasks/{id}"))["held"] != serde_json::Value::Null).then_some(()));
    let (task, held) = miner.held();
    let artifact = miner.compute(&task);
    assert!(["accepted", "settled"].contains(&&*miner.submit(&task, &held, &artifact).status));
}

#[test]
#[cfg(target_os = "linux")]
fn without_threads_the_program_ends_with_a_reason() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let work_dir = WorkDir::new("threads");
    fs::create_dir_all(work_dir.data()).unwrap();
    fs::set_permissions(work_dir.data(), fs::Permissions::from_mode(0o777)).unwrap();
    let mine = work_dir.mine("1");
    let mut limited = Command::new("prlimit");
    limited.arg("--nproc=2").arg(mine.get_program()).args(mine.get_args());
    if rustix::process::getuid().is_root() {
        // the limit does not apply to root
        limited.uid(65_534);
    }
    let output = limited.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another thread") || said.contains("starting a thread"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
