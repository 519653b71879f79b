//! The page's files, and the model's.

use super::{
    AppState, Shared, blocking, failure,
    folder::{File, Folder, Form},
};
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, get_service},
};
use std::sync::Arc;

/// What the page may do: its own files, the node that serves it, and WebAssembly.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ";
/// The only file that other sites may frame, and only those that the node allows.
const FRAMED: &str = "embed.html";

const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>The page is not built · R3MES</title>
<h1>The node runs. Its page is not built yet.</h1>
<p>In the folder of the source code, run <code>scripts/page</code>: it builds the page into <code>dist</code>.
Then reload this one. A page elsewhere is named by <code>--page FOLDER</code> when the node is started.</p>
<p>Miners need no page: the node already answers them.</p>
</html>
";

/// The page on disk, and its policy.
struct Page {
    folder: Folder,
    policy: HeaderValue,
    framed_policy: HeaderValue,
}

pub(super) fn routes(face: &AppState) -> Router<Arc<AppState>> {
    let policy = |ancestors: &[u8]| {
        HeaderValue::from_bytes(&[POLICY.as_bytes(), ancestors].concat())
            .unwrap_or_else(|_| unreachable!("origins are header values, and those joined by spaces are one"))
    };
    let none: &[u8] = b"'none'";
    let origins: Vec<_> = face.settings.origins.iter().map(HeaderValue::as_bytes).collect();
    let origins = origins.join(&b' ');
    let page = Page {
        folder: Folder::new(face.settings.page.clone()),
        policy: policy(none),
        framed_policy: policy(if origins.is_empty() { none } else { &origins }),
    };
    let files = Router::new().fallback(get(file)).with_state(Arc::new(page));
    // also what is asked of a path that others answer to another method at
    let root = get_service(files.clone());
    Router::new().route("/r3mes/wgpu/v1/model/{file}", get(model_file)).route("/", root).fallback_service(files)
}

/// A file: asked for again each time, and sent again only where it changed.
async fn file(State(page): State<Arc<Page>>, uri: Uri, asked: HeaderMap) -> Response {
    let name = match uri.path() {
        "/" => "index.html".to_owned(),
        path => path.trim_start_matches('/').to_owned(),
    };
    let (shared, wanted) = (page.clone(), name.clone());
    let mut response = match blocking(move || Ok(shared.folder.get(&wanted)?)).await {
        Ok(Some(file)) => answer(&file, &asked),
        Ok(None) if name == "index.html" => {
            let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
            (StatusCode::SERVICE_UNAVAILABLE, [kind], NOT_BUILT).into_response()
        }
        Ok(None) => return failure(StatusCode::NOT_FOUND, 5, "not found"),
        Err(broken) => return broken,
    };
    let fixed = HeaderValue::from_static;
    let policy = if name == FRAMED { &page.framed_policy } else { &page.policy };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy.clone()),
        (header::CACHE_CONTROL, fixed("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("cross-origin")),
    ] {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The form that was asked for, or word that the asker has it.
fn answer(file: &File, asked: &HeaderMap) -> Response {
    let gzip = takes_gzip(asked);
    let (form, other) = if gzip { (&file.gzip, &file.plain) } else { (&file.plain, &file.gzip) };
    let common =
        |form: &Form| [(header::ETAG, form.etag.clone()), (header::VARY, HeaderValue::from_static("accept-encoding"))];
    // whoever has the one form needs not the other
    if let Some(known) = [form, other].into_iter().find(|form| has(asked, &form.etag)) {
        return (StatusCode::NOT_MODIFIED, common(known)).into_response();
    }
    let mut response = (common(form), [(header::CONTENT_TYPE, file.kind)], form.bytes.clone()).into_response();
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The parts of a header that may come several times, each a list.
fn list(asked: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = asked.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    list(asked, header::ACCEPT_ENCODING).any(|coding| {
        let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// Whether the asker has what an ETag names, by the weak comparison that `If-None-Match` is defined by.
fn has(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes();
    list(asked, header::IF_NONE_MATCH).any(known)
}

/// Files of the model that is trained; a miner checks them by the CID of the model's manifest.
async fn model_file(State(face): Shared, Path(name): Path<String>) -> Result<Response, Response> {
    let kind = match name.as_str() {
        "config.json" => "application/json",
        "model.safetensors" => "application/octet-stream",
        _ => return Err(failure(StatusCode::NOT_FOUND, 5, "config.json and model.safetensors are here")),
    };
    let bytes = tokio::fs::read(face.settings.model.join(&name)).await;
    let bytes = bytes.map_err(|error| super::broken(anyhow::Error::new(error).context(name)))?;
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], bytes).into_response())
}
