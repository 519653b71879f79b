//! Uploads: multipart forms whose files are read piece by piece, within limits that no client can exceed.

use super::{error::IpfsError, state::IpfsState};
use crate::server::peer::{Client, Peer};
use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request, multipart::Field},
    http::StatusCode,
};
use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// The maximum number of files in one upload.
const MAX_FILES: usize = 4096;

/// The limits of uploads.
#[derive(Clone, Copy, Debug)]
pub(super) struct UploadLimits {
    /// The maximum number of uploads at the same time. Each of them takes at most 16 MiB of memory.
    pub(super) total: usize,
    /// The maximum number of uploads of each client at the same time. Clients on this machine are not limited.
    pub(super) per_client: usize,
    /// The node may abort an upload to make room for a new one, but only after the old upload has taken at least this
    /// long.
    pub(super) patience: Duration,
    /// The maximum number of bytes that each client may store in each period of length `period`. Clients on this
    /// machine and the node's owner are not limited. To make space for new blocks, the node deletes old unpinned
    /// blocks. The limit therefore also bounds how many blocks of other clients a client can displace in a period.
    pub(super) stored: u64,
    /// The length of each period in which a client may store `stored` bytes.
    pub(super) period: Duration,
}

impl UploadLimits {
    /// Returns the limits of uploads to a block store. `unpinned` is the maximum total size, in bytes, of the unpinned
    /// blocks in this store.
    pub(super) fn of(unpinned: u64) -> Self {
        Self {
            total: 32,
            per_client: 8,
            patience: Duration::from_secs(5),
            stored: unpinned / 8,
            period: Duration::from_secs(600),
        }
    }
}

/// The uploads that are being received, and the number of bytes that each client has stored in the current period.
pub(super) struct Uploads {
    limits: UploadLimits,
    start: Instant,
    receiving: Mutex<Receiving>,
    stored: Mutex<Stored>,
}

#[derive(Default)]
struct Receiving {
    next: u64,
    uploads: BTreeMap<u64, Arc<Progress>>,
}

/// The number of bytes that each client has stored in one period.
#[derive(Default)]
struct Stored {
    period: u128,
    bytes: HashMap<Client, u64>,
}

/// The progress of an upload.
struct Progress {
    client: Client,
    began: Instant,
    bytes: AtomicU64,
    /// Notified if the upload must be aborted to make room for another one.
    stop: Notify,
}

impl Uploads {
    pub(super) fn new(limits: UploadLimits) -> Self {
        Self { limits, start: Instant::now(), receiving: Mutex::default(), stored: Mutex::default() }
    }

    /// Registers a new upload. If the maximum number of uploads is reached, aborts another upload: the slowest of those
    /// that have taken at least the duration `patience`. Returns an error if there is no such upload, or if the client
    /// already has too many uploads.
    fn begin(self: &Arc<Self>, client: Client) -> Result<Place, IpfsError> {
        let UploadLimits { total, per_client, patience, .. } = self.limits;
        let mut receiving = self.receiving();
        let own = receiving.uploads.values().filter(|upload| upload.client == client).count();
        if !client.is_local() && own >= per_client {
            let message =
                format!("the node is already receiving {own} uploads from your IP address; wait until one ends");
            return Err(IpfsError::new(StatusCode::TOO_MANY_REQUESTS, message));
        }
        if receiving.uploads.len() >= total {
            let patient = receiving.uploads.iter().filter(|(_, upload)| upload.began.elapsed() >= patience);
            let slowest = patient.min_by_key(|(_, upload)| upload.bytes_per_second()).map(|(id, _)| *id);
            let slowest = slowest.and_then(|id| receiving.uploads.remove(&id)).ok_or_else(busy)?;
            slowest.stop.notify_one();
        }
        let id = receiving.next;
        receiving.next += 1;
        let (began, bytes, stop) = (Instant::now(), AtomicU64::new(0), Notify::new());
        let progress = Arc::new(Progress { client, began, bytes, stop });
        receiving.uploads.insert(id, progress.clone());
        Ok(Place { uploads: self.clone(), id, progress })
    }

    /// Counts `bytes` bytes that a client wants to store. Returns an error if the client would exceed the limit of the
    /// current period.
    pub(super) fn count(&self, client: Client, bytes: u64) -> Result<(), IpfsError> {
        if client.is_local() {
            return Ok(());
        }
        let UploadLimits { stored: limit, period, .. } = self.limits;
        let now = self.start.elapsed().as_nanos() / period.as_nanos();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.period != now {
            *stored = Stored { period: now, bytes: HashMap::new() };
        }
        let own = stored.bytes.entry(client).or_default();
        if *own + bytes > limit {
            let period = period.as_secs();
            let message = format!("your IP address may store at most {limit} bytes per {period} s; try again later");
            return Err(IpfsError::new(StatusCode::TOO_MANY_REQUESTS, message));
        }
        *own += bytes;
        Ok(())
    }

    fn receiving(&self) -> MutexGuard<'_, Receiving> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy() -> IpfsError {
    IpfsError::new(StatusCode::SERVICE_UNAVAILABLE, "the node receives too many uploads now; try again in a moment")
}

impl Progress {
    fn bytes_per_second(&self) -> u64 {
        let milliseconds = self.began.elapsed().as_millis().max(1) as u64;
        self.bytes.load(Ordering::Relaxed).saturating_mul(1000) / milliseconds
    }
}

/// A guard that counts an upload as one of the uploads that are being received, until the guard is dropped.
struct Place {
    uploads: Arc<Uploads>,
    id: u64,
    progress: Arc<Progress>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.uploads.receiving().uploads.remove(&self.id);
    }
}

/// A request that uploads files as a multipart form.
pub(super) struct Upload {
    form: Multipart,
    place: Place,
    files: usize,
}

impl FromRequest<Arc<IpfsState>> for Upload {
    type Rejection = IpfsError;

    async fn from_request(request: Request, ipfs: &Arc<IpfsState>) -> Result<Self, IpfsError> {
        let peer = request.extensions().get::<Peer>();
        let client = Client::of(peer.map_or(Ipv4Addr::LOCALHOST.into(), |Peer(address)| address.ip()));
        let place = ipfs.uploads.begin(client)?;
        let form = Multipart::from_request(request, ipfs).await.map_err(IpfsError::bad)?;
        Ok(Self { form, place, files: 0 })
    }
}

impl Upload {
    /// Returns the client that sends the upload.
    pub(super) fn client(&self) -> Client {
        self.place.progress.client
    }

    /// Returns the next file, or `None` after the last one. Returns an error if there are more than 4096.
    pub(super) async fn next_file(&mut self) -> Result<Option<UploadedFile<'_>>, IpfsError> {
        let progress = &*self.place.progress;
        let Some(field) = stoppable(progress, self.form.next_field()).await? else { return Ok(None) };
        self.files += 1;
        match self.files <= MAX_FILES {
            true => Ok(Some(UploadedFile { field, progress })),
            false => Err(IpfsError::bad(format!(
                "an upload may have at most {MAX_FILES} files; send the other files in another upload"
            ))),
        }
    }
}

/// A file of an upload.
pub(super) struct UploadedFile<'a> {
    field: Field<'a>,
    progress: &'a Progress,
}

impl UploadedFile<'_> {
    /// Returns the name that the client has given to the file, if any.
    pub(super) fn name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// Returns the next bytes of the file, or `None` at its end.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, IpfsError> {
        let piece = stoppable(self.progress, self.field.chunk()).await?;
        self.progress.bytes.fetch_add(piece.as_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        Ok(piece)
    }
}

/// Waits for the future `next`, which receives the next part of an upload. Returns an error if the upload is aborted to
/// make room for another one.
async fn stoppable<T, E: std::fmt::Display>(
    progress: &Progress,
    next: impl Future<Output = Result<T, E>>,
) -> Result<T, IpfsError> {
    tokio::select! {
        next = next => next.map_err(IpfsError::bad),
        () = progress.stop.notified() => Err(busy()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> Client {
        Client::of([192, 0, 2, number].into())
    }

    fn uploads(patience: Duration) -> Arc<Uploads> {
        Arc::new(Uploads::new(UploadLimits {
            total: 3,
            per_client: 2,
            patience,
            stored: 100,
            period: Duration::from_secs(3600),
        }))
    }

    #[test]
    fn places_are_limited_in_all_and_for_each_client() {
        let uploads = uploads(Duration::from_secs(3600));
        let mut places: Vec<Place> = [1, 1, 2].map(|number| uploads.begin(client(number)).ok().unwrap()).into();
        assert_eq!(uploads.begin(client(1)).err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(uploads.begin(client(3)).err().unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        places.pop();
        assert!(uploads.begin(client(3)).is_ok());
    }

    #[test]
    fn the_slowest_upload_makes_room_for_another() {
        let uploads = uploads(Duration::ZERO);
        let places = [1, 2, 3].map(|number| uploads.begin(client(number)).ok().unwrap());
        places[0].progress.bytes.store(1 << 20, Ordering::Relaxed);
        places[2].progress.bytes.store(1 << 20, Ordering::Relaxed);
        let _new = uploads.begin(client(4)).ok().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stopped = |place: &Place| {
            let next = stoppable(&place.progress, std::future::ready(Ok::<_, String>(())));
            // `waits` ends only if the upload must stop; otherwise `next`, which need not wait, is ready first
            let waits = stoppable(&place.progress, std::future::pending::<Result<(), String>>());
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    waited = waits => waited.is_err(),
                    _ = next => false,
                }
            })
        };
        assert_eq!(places.each_ref().map(stopped), [false, true, false]);
    }

    #[test]
    fn a_client_stores_only_so_much_in_a_period() {
        let uploads = uploads(Duration::ZERO);
        uploads.count(client(1), 60).unwrap();
        assert_eq!(uploads.count(client(1), 60).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        uploads.count(client(1), 40).unwrap();
        uploads.count(client(2), 100).unwrap();
        uploads.count(Client::of([127, 0, 0, 1].into()), 1 << 30).unwrap();
    }
}
