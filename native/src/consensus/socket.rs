//! The ABCI socket. Each connection from CometBFT carries protobuf requests, each preceded by its length. The requests
//! are answered in order.

use super::app::AbciApp;
use crate::threads;
use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};
use tendermint_proto::v0_38::abci::{Request, Response, ResponseException, response::Value as ResponseValue};
use tracing::{error, warn};

/// The maximum size of a request in bytes. CometBFT allows blocks of at most 100 MiB.
const MAX_REQUEST_BYTES: u64 = 128 << 20;
/// The maximum size, in bytes, of the varint that precedes a request and states its length.
const MAX_LENGTH_BYTES: usize = 10;
/// The time to wait before the next attempt if a connection could not be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections from CometBFT and answers the requests of each connection in a separate thread.
pub(super) fn run(listener: &TcpListener, app: &Arc<AbciApp>) {
    for stream in listener.incoming() {
        let app = app.clone();
        let start = || -> Result<()> {
            let stream = stream?;
            let serve = move || {
                if let Err(error) = serve_connection(stream, &app) {
                    warn!(error = %format_args!("{error:#}"), "ABCI connection failed");
                }
            };
            threads::start("abci connection", serve)
        };
        if let Err(error) = start() {
            warn!(error = %format_args!("{error:#}"), "cannot accept an ABCI connection");
            std::thread::sleep(PAUSE);
        }
    }
}

/// Answers requests until CometBFT closes the connection. A request that fails is answered with an ABCI exception,
/// which makes CometBFT exit.
fn serve_connection(mut stream: TcpStream, app: &AbciApp) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut requests)? {
        let value = app.answer(request).unwrap_or_else(|error| {
            error!(error = %format_args!("{error:#}"), "ABCI request failed; CometBFT will exit");
            ResponseValue::Exception(ResponseException { error: format!("{error:#}") })
        });
        stream.write_all(&Response { value: Some(value) }.encode_length_delimited_to_vec())?;
    }
    Ok(())
}

/// Reads the next request. Returns `None` if CometBFT has closed the connection.
fn read(stream: &mut impl BufRead) -> Result<Option<Request>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = Vec::new();
    while length.last().is_none_or(|byte| byte & 0x80 != 0) {
        ensure!(length.len() < MAX_LENGTH_BYTES, "malformed length prefix");
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        length.extend(byte);
    }
    let length = prost::encoding::decode_varint(&mut length.as_slice())?;
    if length > MAX_REQUEST_BYTES {
        bail!("a request of {length} bytes exceeds the limit of {MAX_REQUEST_BYTES} bytes");
    }
    // the buffer grows with the bytes that arrive, not with the announced length
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 == length, "a request was cut short");
    Request::decode(bytes.as_slice()).context("malformed ABCI request").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tendermint_proto::v0_38::abci::{RequestEcho, request};

    fn echo(message: &str) -> Request {
        Request { value: Some(request::Value::Echo(RequestEcho { message: message.to_owned() })) }
    }

    #[test]
    fn requests_are_read_in_order_and_malformed_ones_are_rejected() {
        let long = "r".repeat(300);
        let both = [echo("a").encode_length_delimited_to_vec(), echo(&long).encode_length_delimited_to_vec()].concat();
        let mut stream = both.as_slice();
        assert_eq!(read(&mut stream).unwrap(), Some(echo("a")));
        assert_eq!(read(&mut stream).unwrap(), Some(echo(&long)));
        assert_eq!(read(&mut stream).unwrap(), None);
        let error = |bytes: &[u8]| read(&mut &*bytes).unwrap_err().to_string();
        assert!(error(&both[..3]).contains("cut short"));
        assert!(error(&[0xff; 32]).contains("malformed length prefix"));
        assert!(error(&[0xff, 0xff, 0xff, 0xff, 0x7f]).contains("exceeds the limit"));
        assert!(error(&[2, 0xff, 0xff]).contains("malformed ABCI request"));
    }
}
