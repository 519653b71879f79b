//! Tests of a running node that unknown clients attack: with slow requests, with responses that they never read, with
//! small uploads that need many resources, and with commands that only the node's owner may send. docs/NODE.md lists
//! the limits that protect the node.

use crate::{node_process::NodeProcess, scripted_miner::ScriptedMiner, work_dir::WorkDir};
use r3mes_wgpu::store::{Block, Codec, car_header, car_section};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// Returns the value of an entry in `/proc/PID/status` in KiB, such as the memory that is in use (`VmRSS`).
fn memory_kib(node: &NodeProcess, entry: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(entry)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn connect(node: &NodeProcess) -> TcpStream {
    let stream = TcpStream::connect(node.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Returns a command that first runs `shell`, a shell command, and then starts the program of `command` in the same
/// process.
fn after(shell: &str, command: &Command) -> Command {
    let mut wrapped = Command::new("sh");
    wrapped.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(command.get_program()).args(command.get_args());
    wrapped
}

#[test]
fn a_miner_is_served_while_a_thousand_clients_send_half_a_request() {
    let work_dir = WorkDir::new("slow");
    let node = NodeProcess::run(&mut after("ulimit -n 1024", &work_dir.node("0")));
    // this process opens the connections of all clients, so it needs as many open files as all of them together
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(4096), maximum: Some(4096) },
    )
    .or_else(|_| match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(..2048) => Err("this process may open too few files"),
        _ => Ok(()),
    })
    .unwrap();
    let mut slow: Vec<TcpStream> = (0..1100).map(|_| connect(&node)).collect();
    for stream in &mut slow {
        // the node may have closed the connection to make room for others
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    }
    let mut miner = ScriptedMiner::new(&node.url, &work_dir, 7);
    assert!(["accepted", "settled"].contains(&&*miner.mine().status));
    let kept = slow.iter().filter(|stream| stream.set_nonblocking(true).is_ok() && is_open(stream)).count();
    assert!(kept > 500, "the node keeps as many connections as it can: {kept}");
}

/// Returns whether the node has kept the connection open. The stream must be in the non-blocking mode.
fn is_open(mut stream: &TcpStream) -> bool {
    stream.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
#[cfg(target_os = "linux")]
fn clients_that_never_read_a_large_model_cost_little_memory() {
    const BYTES: u64 = 1 << 30;
    let work_dir = WorkDir::new("unread");
    let node = NodeProcess::start(&work_dir);
    // the node has already read its model, but it serves the file that has the model's name now
    let large = work_dir.model().join("large");
    File::create(&large).unwrap().set_len(BYTES).unwrap();
    fs::rename(large, work_dir.model().join("model.safetensors")).unwrap();
    let before = memory_kib(&node, "VmRSS");
    let request = b"GET /r3mes/wgpu/v1/model/model.safetensors HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut unread: Vec<TcpStream> = (0..20).map(|_| connect(&node)).collect();
    for stream in &mut unread {
        stream.write_all(request).unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    }
    std::thread::sleep(Duration::from_secs(1));
    let grown = memory_kib(&node, "VmHWM").saturating_sub(before);
    assert!(grown < 64 << 10, "20 unread responses of 1 GiB took {grown} KiB");
    // a part of the file can be requested, so that a download can be continued
    let url = format!("{}/r3mes/wgpu/v1/model/model.safetensors", node.url);
    let part = node.agent.get(url).header("range", format!("bytes={}-", BYTES - 10)).call().unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["content-length"].to_str().unwrap()), (206, "10"));
}

#[test]
#[cfg(target_os = "linux")]
fn uploads_of_countless_empty_blocks_are_refused_early() {
    let work_dir = WorkDir::new("empty");
    let node = NodeProcess::start(&work_dir);
    let empty = Block::new(Codec::Raw, Vec::new()).unwrap();
    let section = car_section(&empty).repeat(2 << 10);
    let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    let mut stream = connect(&node);
    let (before, began) = (memory_kib(&node, "VmRSS"), Instant::now());
    let path = "/api/v0/dag/import?pin-roots=false";
    let length = 240 << 20;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(head).and_then(|()| stream.write_all(&car_header(empty.cid()))).unwrap();
    let mut sent = 0;
    while sent < length && stream.write_all(&section).is_ok() {
        sent += section.len();
    }
    assert!(sent < 40 << 20, "the node has read {sent} bytes");
    let grown = memory_kib(&node, "VmHWM").saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB after {sent} bytes");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(node.get("/health")["status"], "ok");
}

#[test]
fn files_of_one_upload_are_stored_together_and_counted() {
    let work_dir = WorkDir::new("files");
    let node = NodeProcess::start(&work_dir);
    let add = |files: usize| {
        let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name\"\r\n\r\n\r\n";
        let body = part.repeat(files) + "--b--\r\n";
        let request = node.agent.post(format!("{}/api/v0/add?cid-version=1", node.url));
        let response = request.header("content-type", "multipart/form-data; boundary=b").send(&body);
        response.map(|response| response.status().as_u16())
    };
    let began = Instant::now();
    assert_eq!(add(4096).unwrap(), 200);
    // each transaction of the block store waits for the disk, so one transaction for each file would take longer
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // the node may close the connection before it has read everything
    assert!(add(5000).is_ok_and(|status| status == 400) || add(5000).is_err());
}

#[test]
fn only_the_owner_may_pin_wherever_requests_come_from() {
    let work_dir = WorkDir::new("owner");
    let node = NodeProcess::start(&work_dir);
    let command = |token: Option<&str>| {
        let request = node.agent.post(format!("{}/api/v0/repo/gc", node.url));
        let request = token
            .into_iter()
            .fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
        request.send_empty().unwrap().status().as_u16()
    };
    let file = work_dir.data().join("owner-token");
    let token = fs::read_to_string(&file).unwrap();
    assert_eq!([command(None), command(Some("guess")), command(Some(&token))], [403, 403, 200]);
    assert_private(&file);
}

#[cfg(unix)]
fn assert_private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[cfg(not(unix))]
fn assert_private(_file: &Path) {}

#[test]
fn a_page_of_another_website_cannot_make_the_node_work() {
    let work_dir = WorkDir::new("blind");
    let node = NodeProcess::start(&work_dir);
    let image = |path: &str, site: &str| {
        let request = node.agent.get(format!("{}{path}", node.url));
        let request = request.header("sec-fetch-mode", "no-cors").header("sec-fetch-site", site);
        request.call().unwrap().status().as_u16()
    };
    for path in ["/r3mes/wgpu/v1/model/model.safetensors", "/r3mes/wgpu/v1/disputes", "/health"] {
        assert_eq!([image(path, "cross-site"), image(path, "same-origin")], [403, 200], "{path}");
    }
}
