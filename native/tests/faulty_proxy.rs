//! A neighbor between a client and a node, over real sockets, that does not do all that it is asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What becomes of a request.
pub enum Reply {
    /// The node answers.
    Forward,
    /// The node is asked, and its answer thrown away.
    Lose,
    /// Half of the node's answer comes.
    Cut,
    /// The connection is closed.
    Close,
    /// The proxy answers.
    Answer(u16, Vec<u8>),
    /// Bytes that are no HTTP.
    Garbage,
}

/// It lives as long as the tests.
pub struct FaultyProxy {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FaultyProxy {
    /// Before the node at `target`; `fate` is told method and path, and the requests before.
    pub fn start(target: &str, fate: impl Fn(&str, &[String]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (target, fate) = (target.to_owned(), Arc::new(fate));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let before = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (target, fate, before) = (target.clone(), fate.clone(), before.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some((line, kind, body)) = read(&stream) else { return };
                    let fate = {
                        let mut asked = before.lock().unwrap();
                        let fate = fate(&line, &asked);
                        asked.push(line.clone());
                        fate
                    };
                    serve(&mut stream, &target, fate, &line, &kind, &body);
                });
            }
        });
        Self { url, asked }
    }

    /// Method and path of every request so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How many requests begin so.
    pub fn count(&self, start: &str) -> usize {
        self.asked().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// Method and path, content type, body.
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

fn serve(stream: &mut TcpStream, target: &str, fate: Reply, line: &str, kind: &str, body: &[u8]) {
    let (status, answer) = match fate {
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
    let sent = match fate {
        Reply::DropAnswer => return,
        Reply::TruncateAnswer => &answer[..answer.len() / 2],
        _ => &answer[..],
    };
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    // whoever asked may have left
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
}
