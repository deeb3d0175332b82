//! Requests to a running service. Credentials are never shown.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use eqlipse_server::Config;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::args::ServiceSource;
use crate::exit::CliError;
use crate::text::shown;

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long an answer may take: longer than the service gives any request.
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// How much of an answer that is no JSON is shown.
const SHOWN_ANSWER: usize = 200;

/// A service, and who asks.
pub struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

impl Client {
    /// The service that options, environment and settings name.
    pub fn new(source: &ServiceSource, config: &Config) -> Result<Self, CliError> {
        let url = source.url.clone().unwrap_or_else(|| url_of(config));
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(CliError::Usage(format!("'{}' is no URL: it begins with http:// or https://", shown(&url))));
        }
        // It would be shown wherever the URL is.
        if url.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err(CliError::Usage("no credentials in a URL: use --user or --api-key-file".to_owned()));
        }
        let tls = TlsConfig::builder().root_certs(roots(source, config)?).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_global(Some(ANSWER_TIME))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("eqlipse/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: agent.into(),
            url: url.trim_end_matches('/').to_owned(),
            authorization: authorization(source, config)?,
        })
    }

    /// The answer to `GET`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.read(request.call())
    }

    /// The answer to `POST` without a body.
    pub fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).header("kbn-xsrf", "eqlipse");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.read(request.send_empty())
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, CliError> {
        let failed = |reason: &str| CliError::Run(format!("{}: {}", shown(&self.url), shown(reason)));
        let mut answer = answer.map_err(|error| failed(&error.to_string()))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(|error| failed(&error.to_string()))?;
        if !status.is_success() {
            let hint = if status == 401 { " (EQLIPSE_PASSWORD, --password-file or --api-key-file)" } else { "" };
            return Err(failed(&format!("{status}: {}{hint}", reason(&text))));
        }
        serde_json::from_str(&text).map_err(|error| failed(&format!("the answer is not eqlipse's: {error}")))
    }
}

/// What an error's body says.
fn reason(text: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let said = body["message"].as_str().or_else(|| body["error"]["reason"].as_str());
    said.map_or_else(|| text.chars().take(SHOWN_ANSWER).collect(), str::to_owned)
}

/// Where a service with these settings can be reached from the machine that it runs on.
fn url_of(config: &Config) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let ip = match config.server.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, config.server.listen.port()))
}

/// Whom to believe that the service is the service.
fn roots(source: &ServiceSource, config: &Config) -> Result<RootCerts, CliError> {
    let own = config.server.tls.as_ref().filter(|_| source.url.is_none()).map(|tls| &tls.cert);
    let Some(path) = source.ca.as_ref().or(own) else { return Ok(RootCerts::WebPki) };
    let wrong = |reason: String| CliError::Usage(format!("{}: {reason}", shown(&path.display().to_string())));
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(wrong("no certificate is in it".to_owned())),
        false => Ok(certificates.into()),
    }
}

/// The header that says who asks; `None` if nobody is named.
fn authorization(source: &ServiceSource, config: &Config) -> Result<Option<String>, CliError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let key = match &source.api_key_file {
        Some(path) => Some(secret(path)?),
        None => variable("EQLIPSE_API_KEY").filter(|_| source.user.is_none() && source.password_file.is_none()),
    };
    if let Some(key) = key {
        return Ok(Some(format!("ApiKey {key}")));
    }
    let auth = &config.auth;
    let own = match (&auth.admin_password, &auth.admin_password_file) {
        (Some(password), _) => Some(password.0.clone()),
        // It may be for the service's eyes only.
        (None, Some(path)) => secret(path).ok(),
        (None, None) => None,
    };
    let user = source.user.as_deref().unwrap_or(&auth.admin);
    let own = own.filter(|_| user == auth.admin);
    let password = match &source.password_file {
        Some(path) => Some(secret(path)?),
        None => variable("EQLIPSE_PASSWORD").or(own),
    };
    Ok(password.map(|password| format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))))
}

/// What is in a file, but for the line's end.
fn secret(path: &Path) -> Result<String, CliError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| CliError::Usage(format!("{}: {error}", shown(&path.display().to_string()))))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_reached_where_it_listens() {
        let mut config = Config::default();
        assert_eq!(url_of(&config), "http://127.0.0.1:9280");
        config.server.listen = "[::]:1".parse().unwrap();
        assert_eq!(url_of(&config), "http://[::1]:1");
        config.server.listen = "10.0.0.1:1".parse().unwrap();
        assert_eq!(url_of(&config), "http://10.0.0.1:1");
    }

    #[test]
    fn errors_are_read_in_either_shape() {
        assert_eq!(reason(r#"{"statusCode":403,"message":"no"}"#), "no");
        assert_eq!(reason(r#"{"error":{"reason":"why"},"status":400}"#), "why");
        assert_eq!(reason(&"x".repeat(1_000)).len(), SHOWN_ANSWER);
    }
}
