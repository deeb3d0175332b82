//! A service on a free port of loopback, and a client that writes requests byte by byte as it is told.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use eqlipse_rules::LoadedRule;
use eqlipse_server::config::Secret;
use eqlipse_server::{Config, Running};
use serde_json::Value;
use tokio::runtime::Runtime;

pub const PASSWORD: &str = "a password of tests";

pub struct Service {
    pub address: SocketAddr,
    running: Option<Running>,
    runtime: Runtime,
    pub folder: tempfile::TempDir,
}

impl Service {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A service with changed settings.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(tempfile::tempdir().unwrap(), change)
    }

    /// A service over what another one left behind.
    pub fn on(folder: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        Self::of(folder, Vec::new(), change)
    }

    /// A service that comes with rules.
    pub fn with_bundled(bundled: Vec<LoadedRule>, change: impl FnOnce(&mut Config)) -> Self {
        Self::of(tempfile::tempdir().unwrap(), bundled, change)
    }

    fn of(folder: tempfile::TempDir, bundled: Vec<LoadedRule>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(folder.path());
        change(&mut config);
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(eqlipse_server::start(config, bundled)).unwrap();
        Self { address: running.address, running: Some(running), runtime, folder }
    }

    pub fn app(&self) -> &eqlipse_server::state::App {
        &self.running.as_ref().unwrap().app
    }

    pub fn stop(mut self) -> tempfile::TempDir {
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.stop()).unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    pub fn get(&self, path: &str) -> Response {
        Request::new("GET", path).send(self.address)
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        Request::new("POST", path).body(body).send(self.address)
    }

    pub fn put(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        Request::new("PUT", path).body(body).send(self.address)
    }

    /// The value of a metric, with its labels as they stand.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

pub fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.data = folder.join("data");
    config.auth.admin_password = Some(Secret(PASSWORD.to_owned()));
    config.rules.bundled = false;
    config
}

pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

impl Request {
    /// By the first user.
    pub fn new(method: &str, path: &str) -> Self {
        Self::anonymous(method, path).header("Authorization", &basic("admin", PASSWORD))
    }

    pub fn anonymous(method: &str, path: &str) -> Self {
        let headers = vec![("Host".to_owned(), "eqlipse".to_owned())];
        Self { method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let is_typed = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if is_typed { self } else { self.header("Content-Type", "application/x-ndjson") }
    }

    /// Head and body, with the length of the body.
    pub fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        self.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body.len()));
        (head.into_bytes(), self.body.clone())
    }

    pub fn send(self, address: SocketAddr) -> Response {
        let mut stream = connect(address);
        let (head, body) = self.bytes();
        stream.write_all(&head).unwrap();
        // A server that has said no may have closed already.
        _ = stream.write_all(&body);
        read_response(&mut stream, self.method == "HEAD").unwrap()
    }

    /// Sends it, and goes away without waiting for the answer.
    pub fn leave(self, address: SocketAddr) {
        let mut stream = connect(address);
        let (head, body) = self.bytes();
        stream.write_all(&head).unwrap();
        stream.write_all(&body).unwrap();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Type and reason of an error; of a search that failed, those of its cause.
    pub fn error(&self) -> (String, String) {
        let error = self.json()["error"].clone();
        let cause = &error["root_cause"][0];
        let text = |name: &str| cause[name].as_str().unwrap_or_default().to_owned();
        assert!(error["type"] == "search_phase_execution_exception" || error["type"] == cause["type"], "{error}");
        assert_eq!(self.json()["status"], self.status);
        (text("type"), text("reason"))
    }
}

pub fn read_response(stream: &mut TcpStream, is_head: bool) -> std::io::Result<Response> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("closed"));
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
        .collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| if is_head { 0 } else { length.parse().unwrap() })];
    reader.read_exact(&mut body)?;
    Ok(Response { status, headers, body })
}

/// A bulk body of `create`s.
pub fn creates(documents: impl IntoIterator<Item = String>) -> String {
    documents
        .into_iter()
        .map(|document| format!("{{\"create\":{{\"_index\":\"logs-test-default\"}}}}\n{document}\n"))
        .collect()
}

pub fn event(name: &str) -> String {
    format!(
        "{{\"@timestamp\":\"2026-11-25T10:00:00Z\",\"event\":{{\"category\":\"process\"}},\"process\":{{\"name\":\"{name}\"}}}}"
    )
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
