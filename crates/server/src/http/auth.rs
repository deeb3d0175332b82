//! Who makes a request: Basic, or an API key as Elasticsearch has them.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use eqlipse_control::Identity;

use super::Failure;
use super::logins::{Fingerprint, Source};
use crate::state::{App, Caller};

/// The longest `Authorization` header that is looked at, in bytes.
const MAX_CREDENTIALS: usize = 8 << 10;

/// What a client says who it is.
enum Credentials {
    Basic { name: String, password: String },
    ApiKey { id: String, encoded: String },
}

/// Sets [`Caller`], or answers 401, 403 or 429.
pub(crate) async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if is_open(&app, request.uri().path()) {
        return next.run(request).await;
    }
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    match identify(&app, request.headers(), request.uri().path(), address).await {
        Ok(identity) => {
            request.extensions_mut().insert(Caller(identity));
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

fn is_open(app: &App, path: &str) -> bool {
    matches!(path, "/health/live" | "/health/ready") || (path == "/metrics" && app.config.auth.open_metrics)
}

async fn identify(
    app: &App,
    headers: &HeaderMap,
    path: &str,
    address: Option<SocketAddr>,
) -> Result<Identity, Failure> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let reason = format!("missing authentication credentials for REST request [{path}]");
        return Err(Failure::Unauthenticated(reason));
    };
    let unreadable = || Failure::Unauthenticated("the Authorization header cannot be read".to_owned());
    let header = header.to_str().ok().filter(|header| header.len() <= MAX_CREDENTIALS).ok_or_else(unreadable)?;
    let (scheme, rest) = header.split_once(' ').ok_or_else(unreadable)?;
    let scheme = scheme.to_ascii_lowercase();
    let credentials = Credentials::parse(&scheme, rest.trim()).ok_or_else(unreadable)?;
    // Known credentials are let in at once.
    let fingerprint = app.logins.fingerprint(&scheme, rest.trim().as_bytes());
    if let Some(identity) = app.logins.known(fingerprint) {
        return Ok(identity);
    }
    let turn = app.logins.turn(fingerprint);
    let _turn = turn.lock().await;
    if let Some(identity) = app.logins.known(fingerprint) {
        return Ok(identity);
    }
    let changes = app.logins.changes();
    let name = credentials.name().to_owned();
    let checked = match credentials {
        Credentials::Basic { name, password } => {
            let attempt = Attempt { name, password, fingerprint, address };
            app.login(move |app| attempt.make(app)).await?
        }
        // Nobody guesses 192 random bits, and they are hashed in no time: who has one is never kept waiting for others.
        Credentials::ApiKey { encoded, .. } => {
            app.metrics.credential_checks.inc();
            app.intake(move |app| Ok(app.control.verify_api_key(&encoded, crate::now())?)).await?
        }
    };
    match checked {
        Some(identity) => {
            app.logins.remember(fingerprint, &identity, changes);
            Ok(identity)
        }
        None => {
            app.metrics.failed_logins.inc();
            tracing::warn!(name, address = address.map(|address| address.to_string()), "login failed");
            Err(Failure::Unauthenticated(format!("unable to authenticate user [{name}] for REST request [{path}]")))
        }
    }
}

/// A password that is looked at.
struct Attempt {
    name: String,
    password: String,
    fingerprint: Fingerprint,
    address: Option<SocketAddr>,
}

impl Attempt {
    /// In one of few places, so that hardly more are under way than may fail.
    fn make(&self, app: &App) -> Result<Option<Identity>, Failure> {
        let mut sources = vec![Source::name(&self.name)];
        sources.extend(self.address.map(|address| Source::address(address.ip())));
        // What was right before may be looked at although others of this name or address were wrong.
        if let Some(retry_after) = app.logins.wait(&sources).filter(|_| !app.logins.was_right(self.fingerprint)) {
            return Err(Failure::LoginLimited { retry_after });
        }
        app.metrics.credential_checks.inc();
        let identity = app.control.verify_password(&self.name, &self.password)?;
        if identity.is_none() {
            app.logins.failed(self.fingerprint, &sources);
        }
        Ok(identity)
    }
}

impl Credentials {
    fn parse(scheme: &str, text: &str) -> Option<Self> {
        let decoded = BASE64_STANDARD.decode(text).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (first, second) = decoded.split_once(':')?;
        match scheme {
            "basic" => Some(Self::Basic { name: first.to_owned(), password: second.to_owned() }),
            "apikey" => Some(Self::ApiKey { id: first.to_owned(), encoded: text.to_owned() }),
            _ => None,
        }
    }

    /// User name or id of the key.
    fn name(&self) -> &str {
        match self {
            Self::Basic { name, .. } => name,
            Self::ApiKey { id, .. } => id,
        }
    }
}
