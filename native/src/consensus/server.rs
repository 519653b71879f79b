//! ABCI's socket: requests and answers in protobuf, each behind its length, one after another on each of the engine's
//! connections.

use super::app::App;
use crate::threads;
use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};
use tendermint_proto::v0_38::abci::{Request, Response, ResponseException, response::Value};

/// Most bytes of a request: CometBFT's largest block is of 100 MiB.
const MAX_REQUEST_BYTES: u64 = 128 << 20;
/// Most bytes of a length.
const MAX_LENGTH_BYTES: usize = 10;
/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers whoever connects.
pub(super) fn run(listener: &TcpListener, app: &Arc<App>) {
    for stream in listener.incoming() {
        let app = app.clone();
        let start = || -> Result<()> {
            let stream = stream?;
            let serve = move || {
                if let Err(error) = converse(stream, &app) {
                    eprintln!("consensus: {error:#}");
                }
            };
            threads::start("abci connection", serve)
        };
        if let Err(error) = start() {
            eprintln!("consensus: taking a connection: {error:#}");
            std::thread::sleep(PAUSE);
        }
    }
}

/// Answers requests until the other side ends. A request that can not be done is answered by an exception, at which the
/// engine stops.
fn converse(mut stream: TcpStream, app: &App) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut requests)? {
        let value = app.answer(request).unwrap_or_else(|error| {
            eprintln!("consensus: {error:#}");
            Value::Exception(ResponseException { error: format!("{error:#}") })
        });
        stream.write_all(&Response { value: Some(value) }.encode_length_delimited_to_vec())?;
    }
    Ok(())
}

/// The next request; `None` where the other side ended.
fn read(stream: &mut impl BufRead) -> Result<Option<Request>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = Vec::new();
    while length.last().is_none_or(|byte| byte & 0x80 != 0) {
        ensure!(length.len() < MAX_LENGTH_BYTES, "a request's length is none");
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        length.extend(byte);
    }
    let length = prost::encoding::decode_varint(&mut length.as_slice())?;
    if length > MAX_REQUEST_BYTES {
        bail!("a request of {length} bytes; at most {MAX_REQUEST_BYTES} are taken");
    }
    // grows with what comes, whatever was announced
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == length, "a request was cut short");
    Request::decode(bytes.as_slice()).context("a request that is none").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tendermint_proto::v0_38::abci::{RequestEcho, request};

    fn echo(message: &str) -> Request {
        Request { value: Some(request::Value::Echo(RequestEcho { message: message.to_owned() })) }
    }

    #[test]
    fn requests_come_one_after_another_and_bad_ones_are_refused() {
        let long = "r".repeat(300);
        let both = [echo("a").encode_length_delimited_to_vec(), echo(&long).encode_length_delimited_to_vec()].concat();
        let mut stream = both.as_slice();
        assert_eq!(read(&mut stream).unwrap(), Some(echo("a")));
        assert_eq!(read(&mut stream).unwrap(), Some(echo(&long)));
        assert_eq!(read(&mut stream).unwrap(), None);
        let refused = |bytes: &[u8]| read(&mut &*bytes).unwrap_err().to_string();
        assert!(refused(&both[..3]).contains("cut short"));
        assert!(refused(&[0xff; 32]).contains("length is none"));
        assert!(refused(&[0xff, 0xff, 0xff, 0xff, 0x7f]).contains("at most"));
        assert!(refused(&[2, 0xff, 0xff]).contains("a request that is none"));
    }
}
