//! What a request may take, and who may make it: limits, logins, slow and many clients, TLS.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use common::{Request, Service, basic, config, connect, creates, event, gzip, read_response};
use eqlipse_server::ServeError;
use eqlipse_server::config::{Size, Time, TlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;

#[test]
fn who_has_no_credentials_is_told_how_to_get_in() {
    let service = Service::start();
    let answer = Request::anonymous("GET", "/").send(service.address);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("x-elastic-product"), Some("Elasticsearch"));
    let challenges: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "www-authenticate").map(|(_, value)| &**value).collect();
    assert_eq!(challenges, ["Basic realm=\"security\", charset=\"UTF-8\"", "ApiKey"]);
    let (kind, reason) = answer.error();
    assert_eq!((&*kind, &*reason), ("security_exception", "missing authentication credentials for REST request [/]"));
    assert_eq!(answer.json()["error"]["header"]["WWW-Authenticate"][1], "ApiKey");
    let kibana = Request::anonymous("GET", "/api/status").send(service.address);
    assert_eq!((kibana.status, &kibana.json()["error"]), (401, &json!("Unauthorized")));
    for wrong in
        ["Basic", "Basic ???", "Bearer abc", "ApiKey YTpi", &basic("admin", "wrong"), &basic("nobody", "wrong")]
    {
        let answer = Request::anonymous("GET", "/").header("Authorization", wrong).send(service.address);
        assert_eq!(answer.status, 401, "{wrong}");
    }
    assert_eq!(Request::anonymous("GET", "/health/live").send(service.address).status, 200);
    assert_eq!(Request::anonymous("GET", "/health/ready").send(service.address).status, 200);
    assert_eq!(Request::anonymous("GET", "/metrics").send(service.address).status, 401);
    assert_eq!(service.metric("eqlipse_failed_logins_total"), 3.0);
}

#[test]
fn failed_logins_are_limited() {
    let service = Service::with(|config| config.auth.login_failures = 3);
    // Known credentials are let in all the while.
    assert_eq!(service.get("/").status, 200);
    let guess = |name: &str| {
        Request::anonymous("GET", "/").header("Authorization", &basic(name, "guess")).send(service.address)
    };
    for _ in 0..3 {
        assert_eq!(guess("admin").status, 401);
    }
    let limited = guess("admin");
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
    assert_eq!(guess("other").status, 429, "from the same address");
    assert_eq!(service.get("/").status, 200);
}

#[test]
fn wrong_passwords_lock_out_nobody_who_was_in() {
    let service = Service::with(|config| {
        config.auth.login_failures = 1;
        config.auth.cache_time = Time(Duration::ZERO);
    });
    let made = service.post("/_security/api_key", "{\"name\":\"shipper\"}").json();
    let key = format!("ApiKey {}", made["encoded"].as_str().unwrap());
    let ask =
        |credentials: &str| Request::anonymous("GET", "/").header("Authorization", credentials).send(service.address);
    let wrong = basic("admin", "guess");
    assert_eq!((ask(&wrong).status, ask(&wrong).status), (401, 429));
    // Both are checked, as nothing is known without looking.
    assert_eq!((service.get("/").status, ask(&key).status), (200, 200));
    // Keys are not guessed; so they are not counted either.
    let wrong = ["ApiKey eDp5", "ApiKey eDp6"].map(|key| ask(key).status);
    assert_eq!(wrong, [401, 401]);
}

#[test]
fn long_bodies_are_refused_packed_and_unpacked() {
    let service = Service::with(|config| {
        config.limits.request_bytes = Size(64 << 10);
        config.limits.document_bytes = Size(1 << 10);
    });
    let body = creates((0..2000).map(|_| event("a")));
    let plain = service.post("/_bulk", &body);
    assert_eq!((plain.status, &*plain.error().0), (413, "content_too_long_exception"));
    assert!(plain.error().1.contains("limits.request_bytes"));
    let packed = gzip(body.as_bytes());
    assert!(packed.len() < 64 << 10);
    let packed = Request::new("POST", "/_bulk").header("Content-Encoding", "gzip").body(packed).send(service.address);
    assert_eq!(packed.status, 413);
    // Without a length, too.
    let mut stream = connect(service.address);
    let head = format!(
        "POST /_bulk HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        basic("admin", common::PASSWORD)
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = vec![b'x'; 40 << 10];
    for _ in 0..2 {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        stream.write_all(&chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    assert_eq!(read_response(&mut stream, false).unwrap().status, 413);
    // A document that is too long is one item's error.
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(2000));
    let answer = service.post("/_bulk", creates([event("a"), long])).json();
    assert_eq!(answer["items"][0]["create"]["status"], 201);
    assert_eq!(answer["items"][1]["create"]["error"]["type"], "illegal_argument_exception");
    assert_eq!(service.metric("eqlipse_http_body_bytes"), 0.0);
}

#[test]
fn short_memory_is_a_reason_to_try_again() {
    let service = Service::with(|config| {
        config.store.memory = Size(400 << 10);
        config.store.flush_bytes = Size(200 << 10);
        config.limits.memory_time = Time(Duration::ZERO);
    });
    let body = creates((0..1000).map(|number| event(&format!("n{number}"))));
    let limited = thread::scope(|scope| {
        let send = || (0..20).map(|_| service.post("/_bulk", &body)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        let answers: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let stored = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(service.app().store.snapshot().events(), stored as u64 * 1000);
        answers.into_iter().find(|answer| answer.status == 429)
    });
    let limited = limited.expect("some were turned away");
    assert_eq!((limited.header("retry-after"), &*limited.error().0), (Some("1"), "es_rejected_execution_exception"));
    assert!(service.metric("eqlipse_ingest_documents_total{result=\"overloaded\"}") >= 1000.0);
}

#[test]
fn memory_that_is_short_for_a_moment_is_waited_for() {
    // rsyslog forgets what is answered 429.
    let service = Service::with(|config| {
        config.store.memory = Size(400 << 10);
        config.store.flush_bytes = Size(200 << 10);
        config.limits.memory_time = Time(Duration::from_secs(60));
    });
    let body = creates((0..1000).map(|number| event(&format!("n{number}"))));
    thread::scope(|scope| {
        let send = || (0..5).for_each(|_| assert_eq!(service.post("/_bulk", &body).status, 200));
        (0..8).for_each(|_| _ = scope.spawn(send));
    });
    assert_eq!(service.app().store.snapshot().events(), 8 * 5 * 1000);
    // A body waits for memory too.
    let app = service.app().clone();
    let mut all = app.bodies.share();
    assert!(all.grow(app.config.limits.body_memory.0));
    let (sent, answered) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sent.send(service.post("/_bulk", &body).status).unwrap());
        assert!(answered.recv_timeout(Duration::from_millis(300)).is_err());
        drop(all);
        assert_eq!(answered.recv().unwrap(), 200);
    });
}

#[test]
fn many_small_documents_count_with_what_they_take() {
    let service = Service::with(|config| {
        config.limits.body_memory = Size(8 << 20);
        config.limits.memory_time = Time(Duration::ZERO);
    });
    let mut other = service.app().bodies.share();
    assert!(other.grow(1));
    let body = "{\"create\":{}}\n{}\n".repeat(20_000);
    let send =
        || Request::new("POST", "/logs-x-y/_bulk").header("Content-Encoding", "gzip").body(gzip(body.as_bytes()));
    assert_eq!(send().send(service.address).status, 429);
    assert_eq!(service.app().store.snapshot().events(), 0);
    drop(other);
    // Alone, it is taken.
    assert_eq!(send().send(service.address).status, 200);
}

#[test]
fn bodies_without_events_are_short() {
    let service = Service::start();
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(8 << 20));
    for path in ["/_index_template/x", "/logs-x-y/_settings"] {
        let answer = service.put(path, &long);
        let expected = if path.contains("template") { 413 } else { 200 };
        assert_eq!(answer.status, expected, "{path}");
    }
    assert_eq!(service.post("/logs-x-y/_doc", &long).status, 201);
}

#[test]
fn answers_before_the_end_of_a_body_arrive() {
    let service = Service::with(|config| config.limits.request_bytes = Size(17 << 20));
    let long = vec![b' '; 24 << 20];
    for (request, status) in [
        (Request::anonymous("POST", "/_bulk"), 401),
        (Request::new("POST", "/_bulk"), 413),
        (Request::new("POST", "/_bulk").header("Content-Encoding", "br"), 415),
    ] {
        let (head, body) = request.body(&long).bytes();
        let mut stream = connect(service.address);
        stream.write_all(&head).unwrap();
        stream.write_all(&body).unwrap();
        assert_eq!(read_response(&mut stream, false).unwrap().status, status);
    }
}

#[test]
fn who_may_not_send_events_is_told_before_they_come() {
    let service = Service::start();
    let roles = std::collections::BTreeSet::from([eqlipse_control::Role::Reader]);
    service.app().control.create_user("reader", "reader's password", &roles, "test", 0).unwrap();
    for path in ["/_bulk", "/logs-x-y/_doc", "/ingest"] {
        let request = Request::anonymous("POST", path).header("Authorization", &basic("reader", "reader's password"));
        let mut stream = connect(service.address);
        stream.write_all(&request.body("{}").bytes().0).unwrap();
        assert_eq!(read_response(&mut stream, false).unwrap().status, 403, "{path}");
    }
}

#[test]
fn who_does_not_read_is_given_up() {
    let service = Service::with(|config| {
        config.limits.idle_time = Time(Duration::from_millis(300));
        config.server.connections = 1;
    });
    // The answer is longer than what the systems keep of it.
    let body = "{\"create\":{}}\n{}\n".repeat(100_000);
    let (head, body) = Request::new("POST", "/logs-x-y/_bulk").body(body).bytes();
    let mut stream = connect(service.address);
    // It is let in for sure once it was answered.
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    stream.write_all(&head).unwrap();
    stream.write_all(&body).unwrap();
    // There is room for another connection when this one is closed.
    let until = Instant::now() + Duration::from_secs(60);
    while service.get("/").status != 200 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(read_response(&mut stream, false).is_err(), "the whole answer was kept");
}

#[test]
fn bodies_share_their_memory() {
    let service = Service::with(|config| {
        config.limits.body_memory = Size(1 << 20);
        config.limits.memory_time = Time(Duration::ZERO);
    });
    // A body that says it is long and takes its time holds the memory of what came of it.
    let mut slow = connect(service.address);
    let head = format!(
        "POST /_bulk HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 1048576\r\n\r\n",
        basic("admin", common::PASSWORD)
    );
    slow.write_all(head.as_bytes()).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let turned_away = || service.post("/_bulk", creates([event("a")])).status == 429;
    let part = vec![b' '; (1 << 20) - 1];
    // Asked for with requests without a body: any other might be in the way of the long one.
    let wait_for = |bytes: usize| {
        while service.metric("eqlipse_http_body_bytes") < bytes as f64 {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(20));
        }
    };
    slow.write_all(&part[..1]).unwrap();
    wait_for(1);
    assert!(!turned_away());
    slow.write_all(&part[1..]).unwrap();
    wait_for(part.len());
    assert!(turned_away());
    drop(slow);
    while turned_away() {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_clients_are_given_up() {
    let service = Service::with(|config| {
        config.limits.header_time = Time(Duration::from_millis(300));
        config.limits.idle_time = Time(Duration::from_millis(300));
    });
    // A head that does not end.
    let mut stream = connect(service.address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut rest = Vec::new();
    _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    // A body that does not come.
    let mut stream = connect(service.address);
    let (head, _) = Request::new("POST", "/_bulk").body(creates([event("a")])).bytes();
    stream.write_all(&head).unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 503);
    // One that comes byte by byte, but comes.
    let mut stream = connect(service.address);
    let (head, body) = Request::new("POST", "/_bulk").body(creates([event("a")])).bytes();
    stream.write_all(&head).unwrap();
    for part in body.chunks(20) {
        stream.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
}

#[test]
fn a_request_may_take_so_long() {
    let service = Service::with(|config| config.limits.request_time = Time(Duration::from_millis(400)));
    let mut stream = connect(service.address);
    let (head, body) = Request::new("POST", "/_bulk").body(creates([event("a")])).bytes();
    stream.write_all(&head).unwrap();
    for part in body.chunks(10) {
        _ = stream.write_all(part);
        thread::sleep(Duration::from_millis(60));
    }
    let answer = read_response(&mut stream, false).unwrap();
    assert_eq!((answer.status, &*answer.error().0), (504, "timeout_exception"));
    assert!(answer.error().1.contains("limits.request_time"));
}

#[test]
fn many_clients_send_at_once() {
    const CLIENTS: usize = 500;
    let service = Service::start();
    // All are connected before the first of them says a word.
    let all_there = Barrier::new(CLIENTS);
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (service, all_there) = (&service, &all_there);
                scope.spawn(move || {
                    let mut stream = connect(service.address);
                    all_there.wait();
                    let events = (0..8).map(move |number| event(&format!("c{client}-{number}")));
                    let (head, body) = Request::new("POST", "/_bulk").body(creates(events)).bytes();
                    stream.write_all(&head).unwrap();
                    stream.write_all(&body).unwrap();
                    read_response(&mut stream, false).unwrap().json()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer["errors"] == false));
    // The password of all of them was hashed once.
    assert_eq!(service.app().metrics.credential_checks.get(), 1);
    let mut sequences: Vec<u64> = answers
        .iter()
        .flat_map(|answer| answer["items"].as_array().unwrap())
        .map(|item| item["create"]["_seq_no"].as_u64().unwrap())
        .collect();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!((sequences.len(), service.app().store.snapshot().events()), (4000, 4000));
}

#[test]
fn connections_are_limited() {
    let service = Service::with(|config| config.server.connections = 3);
    // One that was answered counts; which of several that were only made does is not said.
    let answered = || {
        let mut stream = connect(service.address);
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
        stream
    };
    let held: Vec<TcpStream> = (0..3).map(|_| answered()).collect();
    let until = Instant::now() + Duration::from_secs(10);
    // One beyond the limit is told so and closed.
    let mut beyond = connect(service.address);
    let answer = read_response(&mut beyond, false).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.error().1.contains("server.connections"), "{}", answer.text());
    assert_eq!(beyond.read(&mut [0]).unwrap(), 0);
    drop(held);
    loop {
        let mut stream = connect(service.address);
        let (head, _) = Request::new("GET", "/").bytes();
        _ = stream.write_all(&head);
        if read_response(&mut stream, false).is_ok_and(|answer| answer.status == 200) {
            break;
        }
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(service.app().metrics.refused_connections.get() >= 1);
}

#[test]
fn a_service_outside_loopback_needs_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.server.listen = "0.0.0.0:0".parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = runtime.block_on(eqlipse_server::start(config.clone(), Vec::new()));
    assert!(matches!(refused, Err(ServeError::Exposed(_))));
    config.server.insecure = true;
    let running = runtime.block_on(eqlipse_server::start(config, Vec::new())).unwrap();
    runtime.block_on(running.stop()).unwrap();
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A request over TLS by a client that trusts one certificate.
fn over_tls(address: std::net::SocketAddr, trusted: &str) -> Result<String, std::io::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data(trusted)).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // As curl, rsyslog and Prometheus offer them.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = connect(address);
    let mut stream = rustls::Stream::new(&mut connection, &mut tcp);
    let (head, _) = Request::new("GET", "/").bytes();
    stream.write_all(&head)?;
    let mut text = String::new();
    // The connection may end without TLS's own goodbye.
    match stream.read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if !text.is_empty() => drop(error),
        Err(error) => return Err(error),
    }
    Ok(text)
}

#[test]
fn certificate_and_key_are_served_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let place = |name: &str| {
        std::fs::copy(data(&format!("{name}.crt")), &cert).unwrap();
        std::fs::copy(data(&format!("{name}.key")), &key).unwrap();
    };
    place("first");
    let mut config = config(folder.path());
    config.server.tls = Some(TlsConfig { cert: cert.clone(), key: key.clone() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.block_on(eqlipse_server::start(config.clone(), Vec::new())).unwrap();
    assert!(over_tls(running.address, "first.crt").unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(over_tls(running.address, "second.crt").is_err());
    place("second");
    runtime.block_on(running.reload());
    assert!(over_tls(running.address, "second.crt").unwrap().starts_with("HTTP/1.1 200 OK"));
    // A broken file leaves what was there.
    std::fs::write(&cert, "no certificate").unwrap();
    runtime.block_on(running.reload());
    assert!(over_tls(running.address, "second.crt").unwrap().starts_with("HTTP/1.1 200 OK"));
    runtime.block_on(running.stop()).unwrap();
    let refused = runtime.block_on(eqlipse_server::start(config, Vec::new()));
    assert!(matches!(refused, Err(ServeError::Tls { .. })));
}

#[test]
fn a_service_that_stops_has_answered_and_begins_again_where_it_was() {
    let service = Service::start();
    assert_eq!(service.post("/_bulk", creates([event("a")])).json()["errors"], false);
    let id = json!(service.app().store.snapshot().events());
    let folder = service.stop();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut again = config(folder.path());
    // The first user is there already: another password changes nothing.
    again.auth.admin_password = None;
    let running = runtime.block_on(eqlipse_server::start(again, Vec::new())).unwrap();
    assert_eq!(json!(running.app.store.snapshot().events()), id);
    assert_eq!(Request::new("GET", "/").send(running.address).status, 200);
    runtime.block_on(running.stop()).unwrap();
}

#[test]
fn metrics_are_openmetrics() {
    let service = Service::start();
    service.post("/_bulk", creates([event("a")]));
    service.get("/some/path");
    // Of anybody, and they stay for as long as the service runs.
    (0..3).for_each(|number| _ = Request::anonymous(&format!("METHOD{number}"), "/_bulk").send(service.address));
    let text = service.get("/metrics").text();
    assert!(
        text.contains("eqlipse_http_requests_total{route=\"/_bulk\",method=\"other\",status=\"401\"} 3\n"),
        "{text}"
    );
    assert!(
        text.contains("eqlipse_http_requests_total{route=\"/_bulk\",method=\"POST\",status=\"200\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("route=\"other\"") && !text.contains("some/path"), "{text}");
    assert!(text.contains("eqlipse_store_recent_events 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn events_come_in_while_queries_take_all_their_places() {
    let service = Service::start();
    let app = service.app().clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    for _ in 0..2 * eqlipse_server::state::BLOCKING_REQUESTS {
        let (app, wait) = (app.clone(), wait.clone());
        runtime.spawn(async move {
            let slow = app.blocking(move |_| {
                // Until the other end is dropped.
                _ = wait.lock().unwrap().recv();
                Ok(())
            });
            slow.await
        });
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(service.post("/_bulk", creates([event("a")])).status, 200);
    assert_eq!(service.get("/health/ready").status, 200);
    drop(release);
}
