//! The trustless IPFS gateway. It serves blocks and DAGs, which clients check against their CIDs.
//!
//! <https://specs.ipfs.tech/http-gateways/trustless-gateway/>

use super::{
    error::IpfsError,
    query::{KuboQuery, cid},
    state::SharedIpfs,
    stream,
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::{Cid, Codec};

const RAW_KIND: &str = "application/vnd.ipld.raw";
const FOREVER: &str = "public, max-age=29030400, immutable";

/// The format of a gateway response: the raw bytes of one block, or a CAR file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GatewayFormat {
    Raw,
    Car(DagScope),
}

/// The part of a DAG that a CAR response contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DagScope {
    /// The root block and all blocks under it.
    All,
    /// The root block alone.
    Block,
}

/// Serves the block or DAG that the CID `name` identifies.
pub(super) async fn serve(
    State(ipfs): SharedIpfs,
    Path(name): Path<String>,
    query: KuboQuery,
    headers: HeaderMap,
) -> Result<Response, IpfsError> {
    let root = cid(&name)?;
    let form = form(&query, &headers, Codec::stated(&root).unwrap_or(Codec::Raw))?;
    let etag = match form {
        GatewayFormat::Raw => format!("\"{root}.raw\""),
        GatewayFormat::Car(DagScope::All) => format!("W/\"{root}.car\""),
        GatewayFormat::Car(DagScope::Block) => format!("W/\"{root}.car.block\""),
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    let opaque = etag.trim_start_matches("W/");
    if known.split(',').any(|known| [opaque, "*"].contains(&known.trim().trim_start_matches("W/"))) {
        ipfs.with(move |store| Ok(store.size(&root)?)).await.map_err(|error| absent(error, &headers))?;
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let response = match form {
        GatewayFormat::Raw => {
            let bytes = ipfs.with(move |store| Ok(store.get(&root)?)).await;
            ([(header::CONTENT_TYPE, RAW_KIND)], bytes.map_err(|error| absent(error, &headers))?).into_response()
        }
        GatewayFormat::Car(scope) => {
            let order = ipfs.with(move |store| match scope {
                DagScope::All => store.dag(&root),
                DagScope::Block => Ok(store.size(&root).map(|_| vec![root])?),
            });
            let order = order.await.map_err(|error| absent(error, &headers))?;
            let mut response = stream::car(ipfs.store.clone(), root, order);
            response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
            response
        }
    };
    Ok((content_headers(&root, form, etag), response).into_response())
}

/// Returns the error for a path below a CID, such as `/ipfs/CID/file`, because this gateway does not resolve paths.
pub(super) async fn no_paths() -> IpfsError {
    IpfsError::bad("paths below a CID are not supported; request the CID alone")
}

/// Returns the format of the response to a request: the format that the query requests, or else the format that the
/// `Accept` header prefers. If neither states a format, returns the raw format. Returns an error if the requested
/// format is not supported.
fn form(query: &KuboQuery, headers: &HeaderMap, codec: Codec) -> Result<GatewayFormat, IpfsError> {
    let accepted = headers.get(header::ACCEPT).map_or(Ok("*/*"), HeaderValue::to_str).map_err(IpfsError::bad)?;
    let by_header = preferred(accepted);
    let nothing = || {
        let kinds = "application/vnd.ipld.raw or application/vnd.ipld.car; version=1";
        IpfsError::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("the request must have an Accept header with {kinds}, or a query with format=raw or format=car"),
        )
    };
    if query.text("entity-bytes").is_some() || !matches!(query.text("car-version"), None | Some("1")) {
        return Err(IpfsError::bad("neither entity-bytes nor a CAR version other than 1 is supported"));
    }
    match query.text("format").or(by_header).ok_or_else(nothing)? {
        "raw" => Ok(GatewayFormat::Raw),
        "car" => match query.text("dag-scope") {
            None | Some("all") => Ok(GatewayFormat::Car(DagScope::All)),
            Some("block") => Ok(GatewayFormat::Car(DagScope::Block)),
            // the entity of a UnixFS file consists of all its blocks; for other DAGs, it is the root block alone
            Some("entity") if codec == Codec::DagPb => Ok(GatewayFormat::Car(DagScope::All)),
            Some("entity") => Ok(GatewayFormat::Car(DagScope::Block)),
            Some(other) => Err(IpfsError::bad(format!("dag-scope={other}: the value must be all, entity or block"))),
        },
        _ => Err(nothing()),
    }
}

/// Returns the supported format that has the highest weight (`q`) in an `Accept` header. If several formats have this
/// weight, returns the first of them. Returns `None` if the header accepts no supported format.
fn preferred(accepted: &str) -> Option<&'static str> {
    let mut best = None::<(f32, &str)>;
    for kind in accepted.split(',') {
        let mut words = kind.split(';').map(|word| word.trim().to_ascii_lowercase());
        let (name, parameters) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>());
        let value = |name: &str| parameters.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let format = match &*name {
            "application/vnd.ipld.raw" | "*/*" | "application/*" => "raw",
            "application/vnd.ipld.car" if matches!(value("version"), None | Some("1")) => "car",
            _ => continue,
        };
        let weight = value("q").map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        if weight > 0.0 && best.is_none_or(|(best, _)| weight > best) {
            best = Some((weight, format));
        }
    }
    best.map(|(_, format)| format)
}

/// Returns `error`, but replaces the status 404 (not found) with 412 (precondition failed) if the client has sent the
/// header `Cache-Control: only-if-cached`.
fn absent(error: IpfsError, headers: &HeaderMap) -> IpfsError {
    let only_cached = headers.get(header::CACHE_CONTROL).is_some_and(|wish| wish == "only-if-cached");
    match error.status {
        StatusCode::NOT_FOUND if only_cached => IpfsError { status: StatusCode::PRECONDITION_FAILED, ..error },
        _ => error,
    }
}

/// Returns the headers of a response that contains a block or a CAR file.
fn content_headers(root: &Cid, form: GatewayFormat, etag: String) -> [(HeaderName, String); 6] {
    let extension = if form == GatewayFormat::Raw { "bin" } else { "car" };
    [
        (header::CACHE_CONTROL, FOREVER.to_owned()),
        (header::ETAG, etag),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{root}.{extension}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static("x-ipfs-path"), format!("/ipfs/{root}")),
        (HeaderName::from_static("x-ipfs-roots"), root.to_string()),
    ]
}
