//! Creates HTTP clients, and decides which of them use a proxy.
//!
//! The environment variables `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower or upper case, have the
//! meaning that curl gives them. A loopback address is never reached through a proxy, because the proxy would connect
//! to the machine on which it runs, not to this one.

use anyhow::{Context, Result};
use std::{env, net::IpAddr, time::Duration};
use ureq::{Agent, Proxy, http::Uri};

/// The maximum number of redirects that are followed for one request to a node.
pub(crate) const NODE_REDIRECTS: u32 = 10;

/// Returns a client for requests to `url`. A request without a complete response fails after `timeout`. The client
/// follows at most `redirects` redirects.
///
/// Returns an error if the environment variable that determines the proxy for this URL does not contain the URL of an
/// HTTP proxy.
pub(crate) fn agent(url: &str, timeout: Duration, redirects: u32) -> Result<Agent> {
    let proxy = proxy_for(url, |name| env::var(name).ok())?;
    let config = Agent::config_builder().proxy(proxy).timeout_global(Some(timeout)).max_redirects(redirects);
    Ok(config.http_status_as_error(false).build().new_agent())
}

/// Returns the proxy for requests to `url`, or `None` if they are sent directly. `variable` returns the value of an
/// environment variable.
fn proxy_for(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>> {
    let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback() || address.is_unspecified()) {
        return Ok(None);
    }
    let value = |name: &str| {
        let values = [name.to_owned(), name.to_ascii_uppercase()].map(|name| (variable(&name), name));
        values.into_iter().find_map(|(value, name)| Some((value.filter(|value| !value.is_empty())?, name)))
    };
    if value("no_proxy").is_some_and(|(list, _)| excludes(&list, &host, address)) {
        return Ok(None);
    }
    let by_scheme = if uri.scheme_str() == Some("https") { "https_proxy" } else { "http_proxy" };
    let Some((proxy, name)) = value(by_scheme).or_else(|| value("all_proxy")) else { return Ok(None) };
    Ok(Some(Proxy::new(&proxy).with_context(|| format!("{name} is {proxy:?}, which is not the URL of an HTTP proxy"))?))
}

/// Returns whether `list`, the value of `no_proxy`, excludes a host from the use of a proxy. An entry of the list
/// excludes the host if it is `*`, the host's name or address, a domain that contains the host, or a network in CIDR
/// notation that contains the address. If the host is given as an IP address, `address` is this address.
fn excludes(list: &str, host: &str, address: Option<IpAddr>) -> bool {
    list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
        |entry| {
            let entry = entry.trim_start_matches('[').trim_end_matches(']');
            match address {
                _ if entry == "*" => true,
                Some(address) => {
                    entry.parse() == Ok(address) || entry.parse().is_ok_and(|net: ipnet::IpNet| net.contains(&address))
                }
                None => {
                    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
                    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let variable =
            |name: &str| variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
        proxy_for(url, variable).unwrap().map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn loopback_addresses_are_never_reached_through_a_proxy() {
        let variables = [("HTTP_PROXY", "http://proxy:1"), ("ALL_PROXY", "http://proxy:2")];
        for url in
            ["http://127.0.0.1:7717", "http://localhost", "http://LOCALHOST:1", "http://[::1]:1", "http://127.9.9.9"]
        {
            assert_eq!(proxy(url, &variables), None, "{url}");
        }
        assert_eq!(proxy("http://example.org", &variables).unwrap(), "http://proxy:1/");
    }

    #[test]
    fn the_variable_of_the_scheme_comes_before_the_one_for_all() {
        let variables = [("http_proxy", ""), ("HTTPS_PROXY", "http://secure:3"), ("all_proxy", "http://all:4")];
        assert_eq!(proxy("https://example.org", &variables).unwrap(), "http://secure:3/");
        assert_eq!(proxy("http://example.org", &variables).unwrap(), "http://all:4/");
        assert_eq!(proxy("http://example.org", &[]), None);
        let error = proxy_for("http://example.org", |_| Some("ftp://x".to_owned())).unwrap_err();
        assert!(error.to_string().contains("http_proxy is \"ftp://x\""), "{error}");
    }

    #[test]
    fn no_proxy_lists_names_domains_addresses_and_networks() {
        let is_direct =
            |url: &str, list: &str| proxy(url, &[("http_proxy", "http://proxy:1"), ("NO_PROXY", list)]).is_none();
        for (url, list) in [
            ("http://example.org", "*"),
            ("http://example.org", "a.b, example.org"),
            ("http://node.example.org:7717", ".example.org"),
            ("http://node.example.org", "example.org"),
            ("http://node.example.org", "*.Example.org"),
            ("http://10.1.2.3:80", "10.0.0.0/8"),
            ("http://10.1.2.3", "192.168.0.0/16 10.1.2.3"),
            ("http://[fd00::1]:80", "fd00::/8"),
        ] {
            assert!(is_direct(url, list), "{url} {list}");
        }
        for (url, list) in [
            ("http://notexample.org", "example.org"),
            ("http://example.org", "node.example.org"),
            ("http://11.1.2.3", "10.0.0.0/8"),
            ("http://11.1.2.3", "1.2.3,/,10.0.0.0/99"),
            ("http://example.org", ""),
        ] {
            assert!(!is_direct(url, list), "{url} {list}");
        }
    }
}
