//! Parses the origins of other websites that a node allows. Pages from an allowed origin may send requests to the node
//! (CORS) and embed its page `embed.html`.

use axum::http::HeaderValue;

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

#[cfg(test)]
mod tests {
    use super::parse;

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
}
