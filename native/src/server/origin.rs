//! Parses the origins of other websites that a node allows. Pages from an allowed origin may send requests to the node
//! (CORS) and embed its page `embed.html`.

use axum::http::{HeaderMap, HeaderValue, header};

/// Parses an origin in the form in which browsers send it, such as `https://example.org` or `http://127.0.0.1:8080`.
/// Returns an error for any other form.
pub(super) fn parse(text: &str) -> Result<HeaderValue, String> {
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    // rejects `*`, and the characters that end a directive of a content security policy
    let host_fits = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte));
    match HeaderValue::from_str(text) {
        Ok(origin) if scheme_fits && host_fits => Ok(origin),
        _ => Err("expected a scheme and a host in lower case, without a path, like https://example.org".to_owned()),
    }
}

/// Returns whether a request is allowed. It is allowed if it was sent by a page of the node itself, by a page of an
/// origin in `allowed`, or by a program that is not a web page.
pub(super) fn is_allowed(headers: &HeaderMap, allowed: &[HeaderValue]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let host = headers.get(header::HOST).map(text).filter(|host| !host.is_empty());
    allowed.contains(origin)
        || host.is_some_and(|host| text(origin).split_once("://").is_some_and(|(_, own)| own == host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_as_browsers_send_them_are_accepted() {
        for good in ["https://example.org", "http://127.0.0.1:8080", "http://[::1]:80", "chrome-extension://abcdef"] {
            assert_eq!(parse(good).unwrap(), good);
        }
        for bad in
            ["*", "null", "example.org", "https://example.org/", "https://Example.org", "https://a; img-src *", "://a"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_needs_permission_unless_it_is_a_page_of_the_node() {
        let allowed = [parse("https://example.org").unwrap()];
        let is_allowed = |origin: Option<&'static str>| {
            let headers = origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin)));
            let host = (header::HOST, HeaderValue::from_static("127.0.0.1:7717"));
            is_allowed(&headers.into_iter().chain([host]).collect(), &allowed)
        };
        assert!(
            is_allowed(None) && is_allowed(Some("http://127.0.0.1:7717")) && is_allowed(Some("https://example.org"))
        );
        assert!(!is_allowed(Some("https://example.com")) && !is_allowed(Some("http://127.0.0.1:80")));
        assert!(!is_allowed(Some("null")));
    }
}
