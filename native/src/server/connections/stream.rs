//! A TCP stream that records when bytes are read and written.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

/// The times at which bytes were last written and read on a connection, in milliseconds since the server started.
pub(super) struct Activity {
    server_start: Instant,
    /// The time at which bytes were last written, or the start of the connection if none were written yet.
    written: AtomicU64,
    /// The time at which bytes were last read or written, or the start of the connection if there were none yet.
    moved: AtomicU64,
    /// Whether the server is answering a request: it has read the head of the request, but has not produced the head of
    /// the response yet.
    answering: AtomicBool,
}

impl Activity {
    /// Returns the activity of a new connection to a server that started at `server_start`.
    pub(super) fn new(server_start: Instant) -> Self {
        let now = milliseconds(server_start.elapsed());
        Self {
            server_start,
            written: AtomicU64::new(now),
            moved: AtomicU64::new(now),
            answering: AtomicBool::new(false),
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    pub(super) fn set_answering(&self, is_answering: bool) {
        self.answering.store(is_answering, Ordering::Relaxed);
    }

    /// Records that bytes were read or written just now. Returns the time.
    fn move_now(&self) -> u64 {
        let now = milliseconds(self.server_start.elapsed());
        self.moved.store(now, Ordering::Relaxed);
        now
    }

    /// Records that this number of bytes was written just now.
    fn write_now(&self, bytes: usize) {
        if bytes > 0 {
            self.written.store(self.move_now(), Ordering::Relaxed);
        }
    }
}

/// Returns a duration in whole milliseconds.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A stream that records when bytes are read and written.
pub(super) struct ObservedStream {
    pub(super) stream: TcpStream,
    pub(super) activity: Arc<Activity>,
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.move_now();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.activity.write_now(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces))?;
        self.activity.write_now(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
