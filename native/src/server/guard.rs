//! Refuses requests that a browser sends to the node on behalf of a page of another website.

use super::state::{SharedApp, failure};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::Response,
};
use std::net::IpAddr;

/// If the server listens on a loopback address, refuses requests whose `Host` header names another machine. Without
/// this check, a website could make its own host name resolve to this machine (DNS rebinding). A browser would then
/// treat the pages of the website as pages of the node.
pub(super) async fn only_known_hosts(State(app): SharedApp, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if app.settings.listen.ip().is_loopback() && !is_this_machine(host) {
        return failure(StatusCode::MISDIRECTED_REQUEST, 7, "this node answers only requests for its loopback address");
    }
    next.run(request).await
}

/// Returns whether the value of a `Host` header, which may contain a port, names a loopback address or `localhost`.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || literal.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Refuses requests that a browser sends for a page of another website without giving the page the response, such as a
/// request for the image of an `<img>`. Otherwise, any website could keep the node busy by sending many requests.
pub(super) async fn no_blind_requests(request: Request, next: Next) -> Response {
    let says = |headers: &HeaderMap, name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let headers = request.headers();
    if says(headers, "sec-fetch-mode", "no-cors") && says(headers, "sec-fetch-site", "cross-site") {
        return failure(StatusCode::FORBIDDEN, 7, "pages of other websites cannot load this");
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn only_names_of_this_machine_are_known_whatever_the_port_and_the_case() {
        for known in ["127.0.0.1:7717", "127.0.0.1", "LocalHost:80", "localhost", "[::1]:7717", "[::1]", "127.0.0.2:1"]
        {
            assert!(is_this_machine(known), "{known}");
        }
        for other in ["", "example.org", "localhost.example.org", "127.0.0.1.example.org:80", "192.0.2.1:7717", "[::2]"]
        {
            assert!(!is_this_machine(other), "{other}");
        }
    }
}
