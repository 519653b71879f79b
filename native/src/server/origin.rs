//! Origins of other sites that the node allows: in CORS, and as those that may frame the page meant for it.

use axum::http::HeaderValue;

/// Reads an origin as browsers write it, like `https://example.org` or `http://127.0.0.1:8080`.
pub(crate) fn read(text: &str) -> Result<HeaderValue, String> {
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    // no `*`, and nothing that ends a directive of a content security policy
    let host_fits = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte));
    match HeaderValue::from_str(text) {
        Ok(origin) if scheme_fits && host_fits => Ok(origin),
        _ => Err("an origin is a scheme and a host in lower case, like https://example.org, and no path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_what_browsers_send() {
        for good in ["https://example.org", "http://127.0.0.1:8080", "http://[::1]:80", "chrome-extension://abcdef"] {
            assert_eq!(read(good).unwrap(), good);
        }
        for bad in
            ["*", "null", "example.org", "https://example.org/", "https://Example.org", "https://a; img-src *", "://a"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
