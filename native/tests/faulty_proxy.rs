//! An HTTP proxy on a real socket, between a client and a node. It can drop, cut short or replace the node's answers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What the proxy does with one request.
pub enum Reply {
    /// Forwards the request to the node and returns the node's answer.
    Forward,
    /// Forwards the request to the node, then closes the connection instead of returning the answer.
    DropAnswer,
    /// Forwards the request to the node, and returns only the first half of the answer's body.
    TruncateAnswer,
    /// Closes the connection without forwarding the request.
    Close,
    /// Returns this status code and this body without forwarding the request.
    Answer(u16, Vec<u8>),
    /// Returns bytes that are not an HTTP response, without forwarding the request.
    NotHttp,
}

/// A running proxy. Its threads run until the test process ends.
pub struct FaultyProxy {
    pub url: String,
    /// The method and the path of each request so far, such as `GET /health`.
    requests: Arc<Mutex<Vec<String>>>,
}

impl FaultyProxy {
    /// Starts a proxy in front of the node whose URL is `target`. For each request, the proxy calls `decide` with the
    /// request's method and path, such as `GET /health`, and with the methods and paths of all earlier requests.
    /// `decide` returns what to do with the request.
    pub fn start(target: &str, decide: impl Fn(&str, &[String]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (target, decide) = (target.to_owned(), Arc::new(decide));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let before = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (target, decide, before) = (target.clone(), decide.clone(), before.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some((line, kind, body)) = read(&stream) else { return };
                    let reply = {
                        let mut requests = before.lock().unwrap();
                        let reply = decide(&line, &requests);
                        requests.push(line.clone());
                        reply
                    };
                    serve(&mut stream, &target, reply, &line, &kind, &body);
                });
            }
        });
        Self { url, requests }
    }

    /// Returns the method and the path of each request so far, such as `GET /health`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the number of requests so far whose method and path begin with `start`, such as `POST /api`.
    pub fn count(&self, start: &str) -> usize {
        self.requests().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// Reads a request. Returns a string such as `GET /health` (method and path), the content type, and the body. Returns
/// `None` if the request is malformed.
fn read(stream: &TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut kind, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line).ok()?;
    let first = line.rsplit_once(' ')?.0.to_owned();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        let (name, value) = line.split_once(':')?;
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "content-type" => kind = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, kind, body))
}

fn serve(stream: &mut TcpStream, target: &str, reply: Reply, line: &str, kind: &str, body: &[u8]) {
    let (status, answer) = match reply {
        Reply::Close => return,
        Reply::NotHttp => {
            let _ = stream.write_all(b"SSH-2.0-x\r\n\r\n");
            return;
        }
        Reply::Answer(status, ref answer) => (status, answer.clone()),
        Reply::Forward | Reply::DropAnswer | Reply::TruncateAnswer => {
            let (method, path) = line.split_once(' ').unwrap();
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let url = format!("{target}{path}");
            let answer = match method {
                "POST" => agent.post(&url).header("content-type", kind).send(body),
                _ => agent.get(&url).call(),
            };
            let Ok(mut answer) = answer else { return };
            let status = answer.status().as_u16();
            let Ok(bytes) = answer.body_mut().with_config().limit(1 << 30).read_to_vec() else { return };
            (status, bytes)
        }
    };
    let sent = match reply {
        Reply::DropAnswer => return,
        Reply::TruncateAnswer => &answer[..answer.len() / 2],
        _ => &answer[..],
    };
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    // the client may have closed the connection
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
}
