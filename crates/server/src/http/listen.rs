//! Sockets, TLS, and how many connections there may be.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::ServeError;
use crate::config::{Config, TlsConfig};
use crate::metrics::Metrics;
use crate::state::App;

/// A TLS handshake may take so long.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long what still comes is read when the last answer of a connection was written, and how long it may pause.
const LINGER_TIME: Duration = Duration::from_secs(10);
const LINGER_PAUSE: Duration = Duration::from_secs(1);
/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// The certificate that is served now; it can be replaced.
#[derive(Clone)]
pub(crate) struct Tls {
    config: RustlsConfig,
    files: TlsConfig,
}

impl Tls {
    /// Reads certificate and key, if the settings name them.
    pub(crate) async fn load(config: &Config) -> Result<Option<Self>, ServeError> {
        let Some(files) = &config.server.tls else { return Ok(None) };
        // A provider that is there already is as good.
        _ = rustls::crypto::ring::default_provider().install_default();
        let config = RustlsConfig::from_config(read(files).await?);
        Ok(Some(Self { config, files: files.clone() }))
    }

    /// Reads certificate and key again. If they are of no use, the old ones stay.
    pub(crate) async fn reload(&self) -> Result<(), ServeError> {
        self.config.reload_from_config(read(&self.files).await?);
        Ok(())
    }
}

/// Reads certificate and key. A client that could have HTTP/2 would take it, if it were offered: [`serve`] speaks
/// HTTP/1.1 alone.
async fn read(files: &TlsConfig) -> Result<Arc<rustls::ServerConfig>, ServeError> {
    let loaded = RustlsConfig::from_pem_file(&files.cert, &files.key).await;
    let mut config = rustls::ServerConfig::clone(&loaded.map_err(|error| ServeError::tls(files, &error))?.get_inner());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether the address of the settings may be listened on.
///
/// # Errors
/// If it is outside loopback without TLS and without `server.insecure`.
pub(crate) fn check_address(config: &Config) -> Result<(), ServeError> {
    match config.is_exposed() && config.server.tls.is_none() && !config.server.insecure {
        true => Err(ServeError::Exposed(config.server.listen)),
        false => Ok(()),
    }
}

/// Binds the address of the settings.
///
/// # Errors
/// If the address cannot be bound, or [may not be](check_address).
pub(crate) fn bind(config: &Config) -> Result<TcpListener, ServeError> {
    check_address(config)?;
    let address = config.server.listen;
    let listener = TcpListener::bind(address).map_err(|error| ServeError::Bind { address, error })?;
    listener.set_nonblocking(true).map_err(|error| ServeError::Bind { address, error })?;
    Ok(listener)
}

/// Serves until the handle says stop.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    app: App,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
    let header_time = app.config.limits.header_time.0;
    server.http_builder().http1().header_read_timeout(header_time).max_buf_size(MAX_HEAD_BYTES);
    let server = server.first_request_timeout(header_time).accept_error_handler(|address, error| {
        tracing::debug!(?address, %error, "connection not accepted");
    });
    let limit = Limited::new(app, tls.is_some());
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => server.acceptor(limit).serve(router).await,
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls.config).handshake_timeout(HANDSHAKE_TIME).acceptor(limit);
            server.acceptor(acceptor).serve(router).await
        }
    }
}

/// Lets in so many connections at a time.
#[derive(Clone)]
struct Limited {
    room: Arc<Semaphore>,
    app: App,
    /// Words before the handshake are of no use.
    is_encrypted: bool,
}

/// What one connection too many is told.
const TOO_MANY: &str = "too many connections (server.connections)";

/// Answers as far as that goes without waiting: a connection that is not counted must not cost anything.
fn say_too_many(stream: TcpStream) {
    let kind = "es_rejected_execution_exception";
    let cause = serde_json::json!({ "type": kind, "reason": TOO_MANY });
    let error = serde_json::json!({ "root_cause": [cause], "type": kind, "reason": TOO_MANY });
    let body = serde_json::json!({ "error": error, "status": 503 }).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Out of and into the system's buffers; who has gone away is told nothing. A connection that is closed with something
    // unread in it would be broken off, and the answer with it.
    let Ok(mut stream) = stream.into_std() else { return };
    _ = stream.read(&mut [0; 4096]);
    _ = stream.write_all(answer.as_bytes());
}

impl Limited {
    fn new(app: App, is_encrypted: bool) -> Self {
        let room = app.config.server.connections.min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(room)), app, is_encrypted }
    }

    fn metrics(&self) -> &Metrics {
        &self.app.metrics
    }
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = Counted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            self.metrics().refused_connections.inc();
            if !self.is_encrypted {
                say_too_many(stream);
            }
            return std::future::ready(Err(io::Error::other(TOO_MANY)));
        };
        let patience = self.app.config.limits.idle_time.0;
        let counted = |stream| Counted { stream, patience, stalled: None, lingers: None, _permit: permit };
        std::future::ready(stream.set_nodelay(true).map(|()| (counted(stream), service)))
    }
}

/// A connection that counts until it is closed.
struct Counted {
    stream: TcpStream,
    /// How long the client may take nothing of what is written.
    patience: Duration,
    /// While it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Since the last word was said.
    lingers: Option<Lingers>,
    _permit: OwnedSemaphorePermit,
}

/// What still comes behind the last answer.
struct Lingers {
    until: Instant,
    pause: Pin<Box<Sleep>>,
}

impl Counted {
    /// An answer that nobody reads must not hold the connection for ever.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read (limits.idle_time)")))
    }

    /// Reads on for a while and forgets it. A connection that is closed with something unread in it is broken off by the
    /// system, and an answer before the end of a body would be lost with it.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begin =
            || Lingers { until: Instant::now() + LINGER_TIME, pause: Box::pin(tokio::time::sleep(LINGER_PAUSE)) };
        let lingers = self.lingers.get_or_insert_with(begin);
        let mut bytes = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && Instant::now() < lingers.until => {
                    lingers.pause.as_mut().reset(tokio::time::Instant::now() + LINGER_PAUSE);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingers.pause.as_mut().poll(context),
            }
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        self.linger(context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
