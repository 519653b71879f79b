//! A pinning service: somebody who keeps what others have. <https://ipfs.github.io/pinning-services-api-spec/>

use super::{Failure, parse, words};
use crate::{
    client::{Host, gateway::ask},
    store::Cid,
};
use serde::Deserialize;
use serde_json::json;

/// Between two looks at a pin.
const LOOK_MS: u32 = 2000;
/// Looks before giving up for now: a minute.
const LOOKS: u32 = 30;

/// A service. Its host brings the token.
pub struct Pinning<H> {
    url: String,
    pub(super) host: H,
}

/// A request to pin, as the service sees it.
#[derive(Deserialize)]
struct Status {
    requestid: String,
    status: String,
    pin: Pin,
}

#[derive(Deserialize)]
struct Pin {
    cid: String,
}

impl<H: Host> Pinning<H> {
    /// The service that `host` asks; `url` is for people.
    pub fn new(url: String, host: H) -> Self {
        Self { url, host }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Has a root pinned that `origins` have, and waits until it is; asks for it only where it was not asked for before.
    pub async fn pin(&self, root: &Cid, name: &str, origins: &[String]) -> Result<(), Failure> {
        let mut state = match self.find(root).await? {
            Some(found) => found,
            None => {
                let body = json!({ "cid": root.to_string(), "name": name, "origins": origins }).to_string();
                parse(&self.ask("/pins", Some(body.as_bytes())).await?)?
            }
        };
        for _ in 0..LOOKS {
            let Status { requestid, status, pin } = state;
            if pin.cid != root.to_string() {
                return Err(Failure::OtherCid { expected: *root, found: words(&pin.cid) });
            }
            match status.as_str() {
                "pinned" => return Ok(()),
                "queued" | "pinning" => {}
                _ => return Err(Failure::NotPinned { cid: *root, status: words(&status) }),
            }
            let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
            if requestid.is_empty() || requestid.len() > 128 || !requestid.bytes().all(plain) {
                return Err(Failure::InvalidResponse(format!("a request named {:?}", words(&requestid))));
            }
            self.host.sleep(LOOK_MS).await;
            state = parse(&self.ask(&format!("/pins/{requestid}"), None).await?)?;
        }
        Err(Failure::NotPinned { cid: *root, status: words(&state.status) })
    }

    /// A request for this root that has not failed.
    async fn find(&self, root: &Cid) -> Result<Option<Status>, Failure> {
        #[derive(Deserialize)]
        struct Found {
            results: Vec<Status>,
        }
        let path = format!("/pins?cid={root}&status=queued,pinning,pinned&limit=1");
        let Found { results } = parse(&self.ask(&path, None).await?)?;
        Ok(results.into_iter().next())
    }

    async fn ask(&self, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
        let body = body.map(|body| ("application/json", body));
        ask(&self.host, path, body).await.map_err(Failure::of)
    }
}
