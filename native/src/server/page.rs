//! HTTP routes that serve the files of the mining page.

use super::{
    page_files::{PageFile, PageFolder, Representation},
    state::{AppState, blocking, failure},
};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, get_service},
};
use std::sync::Arc;

/// The beginning of the mining page's content security policy. The origins that may embed the page are appended to it.
/// The policy allows the page to load only its own files, to connect only to the node that serves it, and to run
/// WebAssembly.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors ";
/// The only file of the mining page that other websites may embed in a frame. The node's settings must allow the origin
/// of the website.
const FRAMED: &str = "embed.html";

const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>The page is not built · R3MES</title>
<h1>The node is running. Its page is not built yet.</h1>
<p>Run <code>scripts/page</code> in the folder of the source code. It builds the page into <code>dist</code>.
Then reload this page. If the page is in another folder, start the node with <code>--page FOLDER</code>.</p>
<p>Miners do not need the page: the node already answers them.</p>
</html>
";

/// The folder of the mining page, and the values of the header `Content-Security-Policy`: one for `embed.html` and one
/// for all other files.
struct Page {
    folder: PageFolder,
    policy: HeaderValue,
    framed_policy: HeaderValue,
}

pub(super) fn routes(app: &AppState) -> Router<Arc<AppState>> {
    let policy = |ancestors: &[u8]| {
        HeaderValue::from_bytes(&[POLICY.as_bytes(), ancestors].concat())
            .unwrap_or_else(|_| unreachable!("header values joined by spaces are a header value"))
    };
    let none: &[u8] = b"'none'";
    let origins: Vec<_> = app.settings.origins.iter().map(HeaderValue::as_bytes).collect();
    let origins = origins.join(&b' ');
    let page = Page {
        folder: PageFolder::new(app.settings.page.clone()),
        policy: policy(none),
        framed_policy: policy(if origins.is_empty() { none } else { &origins }),
    };
    let files = Router::new().fallback(get(file)).with_state(Arc::new(page));
    // only GET requests for `/` are handled here, because POST requests are calls of the JSON-RPC
    let root = get_service(files.clone());
    Router::new().route("/", root).fallback_service(files)
}

/// Serves a file of the mining page. Browsers check on each use whether their copy is current, and download the file
/// again only if it has changed.
async fn file(State(page): State<Arc<Page>>, uri: Uri, headers: HeaderMap) -> Response {
    let name = match uri.path() {
        "/" => "index.html".to_owned(),
        path => path.trim_start_matches('/').to_owned(),
    };
    let (shared, wanted) = (page.clone(), name.clone());
    let mut response = match blocking(move || Ok(shared.folder.get(&wanted)?)).await {
        Ok(Some(file)) => respond(&file, &headers),
        Ok(None) if name == "index.html" => {
            let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
            (StatusCode::SERVICE_UNAVAILABLE, [kind], NOT_BUILT).into_response()
        }
        Ok(None) => return failure(StatusCode::NOT_FOUND, 5, "not found"),
        Err(response) => return response,
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

/// Returns the file, compressed with gzip if the request accepts that. Returns status 304 (Not Modified) if the client
/// already has the current content.
fn respond(file: &PageFile, headers: &HeaderMap) -> Response {
    let gzip = accepts_gzip(headers);
    let (chosen, other) = if gzip { (&file.gzip, &file.plain) } else { (&file.plain, &file.gzip) };
    let common = |sent: &Representation| {
        [(header::ETAG, sent.etag.clone()), (header::VARY, HeaderValue::from_static("accept-encoding"))]
    };
    // a client that has one of the two representations (plain or gzip) has the current content
    if let Some(known) = [chosen, other].into_iter().find(|known| has(headers, &known.etag)) {
        return (StatusCode::NOT_MODIFIED, common(known)).into_response();
    }
    let mut response = (common(chosen), [(header::CONTENT_TYPE, file.kind)], chosen.bytes.clone()).into_response();
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Returns the elements of a header whose value is a comma-separated list. If the header occurs several times, returns
/// the elements of all the lists.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    list(headers, header::ACCEPT_ENCODING).any(|coding| {
        let (coding, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// Returns whether the header `If-None-Match` contains the ETag `etag`, or `*`. Uses the weak comparison, as HTTP
/// requires for this header.
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes();
    list(headers, header::IF_NONE_MATCH).any(known)
}
