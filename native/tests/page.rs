//! Tests that a node serves the mining page compressed and with ETags that depend on the content, and that it serves no
//! files from outside the page's folder.

use crate::node_process::NodeProcess;
use crate::work_dir::WorkDir;
use flate2::read::GzDecoder;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
};
use ureq::http::Response;

/// A node that serves the files of a folder as its web page.
struct PageServer {
    node: NodeProcess,
    work_dir: WorkDir,
}

impl PageServer {
    /// Starts a node that serves `files`. Each file is given as a pair of its name and its content. Pages of the
    /// websites `origins` may also send requests to the node.
    fn start(name: &str, files: &[(&str, &[u8])], origins: &[&str]) -> Self {
        let work_dir = WorkDir::new(name);
        let mut command = work_dir.node("0");
        command.arg("--page").arg(folder(&work_dir));
        for origin in origins {
            command.args(["--allow-origin", origin]);
        }
        for (name, bytes) in files {
            fs::create_dir_all(folder(&work_dir)).unwrap();
            fs::write(folder(&work_dir).join(name), bytes).unwrap();
        }
        Self { node: NodeProcess::run(&mut command), work_dir }
    }

    /// Sends a GET request with additional headers. Returns the status code, the response without its body (from which
    /// a test reads the headers), and the body as it was sent, without decompression.
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Response<()>, Vec<u8>) {
        let mut request = self.node.agent.get(format!("{}{path}", self.node.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.call().unwrap();
        let bytes = response.body_mut().read_to_vec().unwrap();
        (response.status().as_u16(), response.map(|_| ()), bytes)
    }

    /// Sends a GET request for `path` exactly as it is given. (Ordinary HTTP clients would normalize it.) Returns the
    /// response.
    fn raw(&self, path: &str) -> String {
        let host = self.node.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Returns the page folder in a working directory. The node serves the files in this folder.
fn folder(work_dir: &WorkDir) -> PathBuf {
    work_dir.data().with_file_name("page")
}

/// Returns the values of a header, joined by commas, or an empty string if the response does not have this header.
fn header(response: &Response<()>, name: &str) -> String {
    let values = response.headers().get_all(name).iter().map(|value| value.to_str().unwrap());
    values.collect::<Vec<_>>().join(", ")
}

const WASM: &[u8] = b"\0asm\x01\0\0\0 a module that repeats itself, repeats itself, repeats itself";
const INDEX: &[u8] = b"<!doctype html><title>t</title>";

#[test]
fn files_have_etags_of_their_content_and_are_sent_once() {
    let page = PageServer::start("page-etag", &[("index.html", INDEX), ("a_bg.wasm", WASM), ("a.js", b"1;")], &[]);
    let (status, response, bytes) = page.get("/", &[]);
    assert_eq!((status, bytes.as_slice()), (200, INDEX));
    assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&response, "cache-control"), "no-cache");
    assert_eq!(page.get("/index.html", &[]).1.headers()["etag"], response.headers()["etag"]);
    let policy = header(&response, "content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
    assert!(header(&page.get("/a.js", &[]).1, "content-type").starts_with("text/javascript"));

    let (_, plain, bytes) = page.get("/a_bg.wasm", &[]);
    assert_eq!((bytes.as_slice(), header(&plain, "content-type").as_str()), (WASM, "application/wasm"));
    assert!(header(&plain, "content-encoding").is_empty() && header(&plain, "vary").contains("accept-encoding"));
    let etag = header(&plain, "etag");
    assert!(etag.starts_with('"') && etag.len() == 66, "{etag} is not a strong ETag of 64 digits");
    let (_, gzip, bytes) = page.get("/a_bg.wasm", &[("accept-encoding", "br, gzip;q=0.5")]);
    assert_eq!(
        (header(&gzip, "content-encoding").as_str(), &header(&gzip, "content-type")[..]),
        ("gzip", "application/wasm")
    );
    let mut unpacked = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, WASM);
    assert_ne!(header(&gzip, "etag"), etag, "compressed bytes have another ETag");
    assert_eq!(page.get("/a_bg.wasm", &[("accept-encoding", "gzip;q=0")]).2, WASM);

    for known in [format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned(), header(&gzip, "etag")] {
        let (status, response, bytes) = page.get("/a_bg.wasm", &[("if-none-match", &known)]);
        assert_eq!((status, bytes.len(), &header(&response, "cache-control")[..]), (304, 0, "no-cache"), "{known}");
        assert!(header(&response, "etag").starts_with(&etag[..65]));
    }
    fs::write(folder(&page.work_dir).join("a_bg.wasm"), [WASM, b"!"].concat()).unwrap();
    let (status, response, bytes) = page.get("/a_bg.wasm", &[("if-none-match", &etag)]);
    assert_eq!((status, bytes.len()), (200, WASM.len() + 1), "the changed file is sent");
    assert_ne!(header(&response, "etag"), etag);
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let page = PageServer::start("page-outside", &[("index.html", INDEX), (".secret", b"hidden")], &[]);
    assert!(page.work_dir.model().join("config.json").exists(), "the file that the paths below try to reach");
    for path in [
        "/../model/config.json",
        "/%2e%2e/model/config.json",
        "/..%2fmodel%2fconfig.json",
        "/a/../../model/config.json",
        "/..\\model\\config.json",
        "//model/config.json",
        "/./index.html",
        "/.secret",
        "/index.html/",
        "/%00",
        "/none.js",
    ] {
        let answer = page.raw(path);
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(!answer.contains("layers") && !answer.contains("hidden"), "{path}: {answer}");
    }
    assert_eq!(page.node.agent.post(format!("{}/index.html", page.node.url)).send_empty().unwrap().status(), 405);
}

#[test]
fn a_node_without_a_built_page_says_how_to_build_it() {
    let page = PageServer::start("page-none", &[], &[]);
    let (status, response, bytes) = page.get("/", &[]);
    assert_eq!((status, &header(&response, "content-type")[..]), (503, "text/html; charset=utf-8"));
    assert!(String::from_utf8(bytes).unwrap().contains("scripts/page"));
    fs::create_dir_all(folder(&page.work_dir)).unwrap();
    fs::write(folder(&page.work_dir).join("index.html"), INDEX).unwrap();
    assert_eq!(page.get("/", &[]).2, INDEX, "a page that is built later is served");
}

#[test]
fn only_allowed_origins_can_frame_embed_html_or_read_files() {
    let files: &[(&str, &[u8])] = &[("index.html", INDEX), ("embed.html", INDEX), ("a.js", b"1;")];
    let ancestors = |page: &PageServer, path: &str| {
        let (_, response, _) = page.get(path, &[]);
        header(&response, "content-security-policy").rsplit_once("frame-ancestors ").unwrap().1.to_owned()
    };
    let closed = PageServer::start("page-closed", files, &[]);
    assert_eq!((ancestors(&closed, "/").as_str(), ancestors(&closed, "/embed.html").as_str()), ("'none'", "'none'"));

    let page = PageServer::start("page-framed", files, &["https://wallet.example", "chrome-extension://abc"]);
    assert_eq!(ancestors(&page, "/"), "'none'");
    assert_eq!(ancestors(&page, "/embed.html"), "https://wallet.example chrome-extension://abc");
    let allowed = |origin: &str| {
        let (_, response, _) = page.get("/a.js", &[("origin", origin)]);
        assert!(header(&response, "vary").contains("origin"));
        header(&response, "access-control-allow-origin")
    };
    assert_eq!(allowed("https://wallet.example"), "https://wallet.example");
    assert_eq!(allowed("https://evil.example"), "");

    let refused = page.work_dir.node("0").args(["--allow-origin", "https://a.example; img-src *"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("like https://example.org"));
}
