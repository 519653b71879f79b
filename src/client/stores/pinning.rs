//! A client of pinning services, which are third parties that keep blocks available on IPFS:
//! <https://ipfs.github.io/pinning-services-api-spec/>

use super::{StorageFailure, parse, printable};
use crate::{
    client::{Connection, Timer, connection::send},
    store::Cid,
};
use serde::Deserialize;
use serde_json::json;

/// The pause between two requests for the status of a pin, in milliseconds.
const POLL_MS: u32 = 2000;
/// The largest number of requests for the status of a pin. With the pauses, they take about one minute. If the blocks
/// are not pinned by then, the pin counts as failed.
const POLLS: u32 = 30;

/// A client of a pinning service. Its `host`, the connection to the service, must add the access token to each request.
pub struct PinningService<H> {
    url: String,
    pub(super) host: H,
}

/// The pinning service's description of a pin: the ID of the request to pin, the status of this request, and the CID to
/// pin.
#[derive(Deserialize)]
struct PinStatus {
    requestid: String,
    status: String,
    pin: Pin,
}

#[derive(Deserialize)]
struct Pin {
    cid: String,
}

impl<H: Connection + Timer> PinningService<H> {
    /// Creates a client of the service with which `host` communicates. `url` is the URL of the service, which is used
    /// only in error messages.
    pub fn new(url: String, host: H) -> Self {
        Self { url, host }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks the service to pin the block `root` and all blocks to which it links, directly or indirectly, and waits
    /// until they are pinned. The service shows the pin under `name`, and can fetch the blocks from the network
    /// addresses `origins`. If the service already has a request for `root` that has not failed, no new request is
    /// made.
    pub async fn pin(&self, root: &Cid, name: &str, origins: &[String]) -> Result<(), StorageFailure> {
        let mut state = match self.find(root).await? {
            Some(found) => found,
            None => {
                let body = json!({ "cid": root.to_string(), "name": name, "origins": origins }).to_string();
                parse(&self.send("/pins", Some(body.as_bytes())).await?)?
            }
        };
        for _ in 0..POLLS {
            let PinStatus { requestid, status, pin } = state;
            if pin.cid != root.to_string() {
                return Err(StorageFailure::OtherCid { expected: *root, found: printable(&pin.cid) });
            }
            match status.as_str() {
                "pinned" => return Ok(()),
                "queued" | "pinning" => {}
                _ => return Err(StorageFailure::NotPinned { cid: *root, status: printable(&status) }),
            }
            let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
            if requestid.is_empty() || requestid.len() > 128 || !requestid.bytes().all(plain) {
                return Err(StorageFailure::InvalidResponse(format!("the request ID is {:?}", printable(&requestid))));
            }
            self.host.sleep(POLL_MS).await;
            state = parse(&self.send(&format!("/pins/{requestid}"), None).await?)?;
        }
        Err(StorageFailure::NotPinned { cid: *root, status: printable(&state.status) })
    }

    /// Returns the service's description of an earlier request to pin `root`. Returns `None` if there was no such
    /// request, or if the request failed.
    async fn find(&self, root: &Cid) -> Result<Option<PinStatus>, StorageFailure> {
        #[derive(Deserialize)]
        struct PinResults {
            results: Vec<PinStatus>,
        }
        let path = format!("/pins?cid={root}&status=queued,pinning,pinned&limit=1");
        let PinResults { results } = parse(&self.send(&path, None).await?)?;
        Ok(results.into_iter().next())
    }

    async fn send(&self, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, StorageFailure> {
        let body = body.map(|body| ("application/json", body));
        Ok(send(&self.host, path, body).await?)
    }
}
