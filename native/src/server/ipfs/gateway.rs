//! The trustless gateway: blocks and DAGs that a client checks itself.
//!
//! <https://specs.ipfs.tech/http-gateways/trustless-gateway/>

use super::{Refusal, Shared, options::Options, options::cid, stream};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use r3mes_wgpu::store::{Cid, Codec};

/// The empty block whose CID holds all its bytes: what clients ask for to find out what this is.
const PROBE: &str = "bafkqaaa";
const RAW_KIND: &str = "application/vnd.ipld.raw";
const FOREVER: &str = "public, max-age=29030400, immutable";

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Raw,
    Car(Scope),
}

/// How much of a DAG is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The root and all its parts.
    All,
    /// The root alone.
    Block,
}

/// A block or a DAG.
pub(super) async fn answer(
    State(peer): Shared,
    Path(name): Path<String>,
    options: Options,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if name == PROBE && form(&options, &headers, Codec::Raw)? == Form::Raw {
        return Ok(([(header::CONTENT_TYPE, RAW_KIND)], Vec::new()).into_response());
    }
    let root = cid(&name)?;
    let form = form(&options, &headers, Codec::of(&root)?)?;
    let etag = match form {
        Form::Raw => format!("\"{root}.raw\""),
        Form::Car(Scope::All) => format!("W/\"{root}.car\""),
        Form::Car(Scope::Block) => format!("W/\"{root}.car.block\""),
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|known| [etag.as_str(), "*"].contains(&known.trim())) {
        peer.with(move |store| Ok(store.size(&root)?)).await.map_err(|refusal| absent(refusal, &headers))?;
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let answer = match form {
        Form::Raw => {
            let bytes = peer.with(move |store| Ok(store.get(&root)?)).await;
            ([(header::CONTENT_TYPE, RAW_KIND)], bytes.map_err(|refusal| absent(refusal, &headers))?).into_response()
        }
        Form::Car(scope) => {
            let order = peer.with(move |store| match scope {
                Scope::All => store.whole(&root),
                Scope::Block => Ok(store.size(&root).map(|_| vec![root])?),
            });
            let order = order.await.map_err(|refusal| absent(refusal, &headers))?;
            let mut answer = stream::car(peer.store.clone(), root, order);
            answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
            answer
        }
    };
    Ok((about(&root, form, etag), answer).into_response())
}

/// The DAG's inner paths are not resolved here.
pub(super) async fn no_paths() -> Refusal {
    Refusal::bad("only a CID is asked for here, without a path below it")
}

/// By `format`, else by the `Accept` header, else raw.
fn form(options: &Options, headers: &HeaderMap, codec: Codec) -> Result<Form, Refusal> {
    let accepted = headers.get(header::ACCEPT).map_or(Ok("*/*"), HeaderValue::to_str).map_err(Refusal::bad)?;
    let by_header = accepted.split(',').find_map(|kind| {
        let mut words = kind.split(';').map(str::trim);
        let name = words.next().unwrap_or_default();
        let fits = words.all(|word| !word.starts_with("version=") || word == "version=1");
        Some(match name {
            RAW_KIND | "*/*" | "application/*" => "raw",
            "application/vnd.ipld.car" if fits => "car",
            _ => return None,
        })
    });
    let nothing = || {
        let kinds = "application/vnd.ipld.raw and application/vnd.ipld.car; version=1";
        Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("{kinds} are given, by the Accept header or format=raw and car"),
        )
    };
    if options.text("entity-bytes").is_some() || !matches!(options.text("car-version"), None | Some("1")) {
        return Err(Refusal::bad("neither entity-bytes nor another CAR than version 1 is served here"));
    }
    match options.text("format").or(by_header).ok_or_else(nothing)? {
        "raw" => Ok(Form::Raw),
        "car" => match options.text("dag-scope") {
            None | Some("all") => Ok(Form::Car(Scope::All)),
            Some("block") => Ok(Form::Car(Scope::Block)),
            // a file is all of its blocks, any other value its own one
            Some("entity") if codec == Codec::DagPb => Ok(Form::Car(Scope::All)),
            Some("entity") => Ok(Form::Car(Scope::Block)),
            Some(other) => Err(Refusal::bad(format!("dag-scope={other}: all, entity or block is meant"))),
        },
        _ => Err(nothing()),
    }
}

/// A block that is not there, to a client that wants only what is: not found, or a condition that does not hold.
fn absent(refusal: Refusal, headers: &HeaderMap) -> Refusal {
    let cached = headers.get(header::CACHE_CONTROL).is_some_and(|wish| wish == "only-if-cached");
    match refusal.status {
        StatusCode::NOT_FOUND if cached => Refusal { status: StatusCode::PRECONDITION_FAILED, ..refusal },
        _ => refusal,
    }
}

/// Headers of every answer that has something to give.
fn about(root: &Cid, form: Form, etag: String) -> [(HeaderName, String); 6] {
    let extension = if form == Form::Raw { "bin" } else { "car" };
    [
        (header::CACHE_CONTROL, FOREVER.to_owned()),
        (header::ETAG, etag),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{root}.{extension}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static("x-ipfs-path"), format!("/ipfs/{root}")),
        (HeaderName::from_static("x-ipfs-roots"), root.to_string()),
    ]
}
