//! The body of a request: whole, unpacked, within its limits.

use std::future::poll_fn;
use std::io::{Cursor, Read};
use std::pin::Pin;
use std::time::{Duration, Instant};

use axum::RequestExt;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use eqlipse_control::Role;
use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;

use super::Failure;
use super::budget::Share;
use crate::state::{App, Caller};

/// Unpacked bytes that are taken from the budget at a time.
const STEP: usize = 1 << 20;

/// The longest body of a request that brings neither events nor files of rules, in bytes: it is read into values.
const MAX_SMALL_BYTES: u64 = 8 << 20;

/// How many times its text a body takes as values, in memory that counts.
const VALUE_GROWTH: u64 = 8;

/// How much memory a body takes before it comes, in bytes.
const MAX_AHEAD: u64 = 8 << 20;

/// How long to wait before memory is asked for again.
const MEMORY_PAUSE: Duration = Duration::from_millis(50);

/// A request's body, in memory that counts towards `limits.body_memory` until it is dropped.
///
/// Handlers take it as their last argument. It answers 503 to a body that pauses, 413 to one that is too long, packed or
/// unpacked, 415 to an encoding other than gzip, and 429 when memory is short for longer than `limits.memory_time`.
#[derive(Debug)]
pub struct Payload {
    bytes: Bytes,
    share: Share,
}

/// A body with events: as long as `limits.request_bytes` says, and of a caller who may send some, which they are asked
/// before any of it comes.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Payload);

impl FromRequest<App> for Events {
    type Rejection = Failure;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Failure> {
        request.extract_parts::<Caller>().await?.require(Role::Ingest)?;
        Payload::read(request, app, app.config.limits.request_bytes.0).await.map(Self)
    }
}

impl Payload {
    /// The unpacked bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Failure::Parsing`] with the place, if it is not what was asked for.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(|error| Failure::Parsing(format!("request body: {error}")))
    }

    /// As [`Self::json`]; `None` if there is no body.
    ///
    /// # Errors
    /// See there.
    pub fn optional_json<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        if self.is_empty() { Ok(None) } else { self.json().map(Some) }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromRequest<App> for Payload {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let limit = app.config.limits.request_bytes.0.min(MAX_SMALL_BYTES);
        let mut payload = Self::read(request, app, limit).await?;
        payload.charge(payload.bytes.len() as u64 * (VALUE_GROWTH - 1))?;
        Ok(payload)
    }
}

impl Payload {
    /// A body of at most so many bytes, packed and unpacked.
    ///
    /// # Errors
    /// See [`Self`].
    pub(crate) async fn read(request: Request, app: &App, limit: u64) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let is_packed = is_gzip(&head.headers)?;
        let limits = &app.config.limits;
        let memory_time = limits.memory_time.0;
        let mut reader = BodyReader { limit, idle: limits.idle_time.0, memory_time, share: app.bodies.share() };
        let bytes = reader.read(&head.headers, body).await?;
        let mut share = reader.share;
        if !is_packed {
            return Ok(Self { bytes, share });
        }
        let mut unpacking = Unpacking::of(bytes, limit);
        loop {
            wait_for(&share, share.bytes() + STEP as u64, memory_time).await?;
            let work = move |_: &App| {
                let unpacked = unpacking.go_on(&mut share);
                Ok((unpacked, unpacking, share))
            };
            let unpacked;
            (unpacked, unpacking, share) = app.intake(work).await?;
            match unpacked {
                Ok(()) => return Ok(Self { bytes: unpacking.bytes.into(), share }),
                // Somebody else was faster.
                Err(Failure::Overloaded { .. }) => tokio::time::sleep(MEMORY_PAUSE).await,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Counts so many bytes beside the body, for what is made of it; once, however often it is tried.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] if memory is short.
    pub(crate) fn charge(&mut self, bytes: u64) -> Result<(), Failure> {
        let all = self.bytes.len() as u64 + bytes;
        let missing = all.saturating_sub(self.share.bytes());
        take(&mut self.share, missing)
    }
}

/// Waits until so many bytes in all would be given to a share, for so long. Not all clients send again what was answered
/// 429: rsyslog forgets it. The time begins anew with each wait: whoever went on may wait for the next bytes, too.
///
/// # Errors
/// [`Failure::Overloaded`] if there is no time left.
async fn wait_for(share: &Share, bytes: u64, memory_time: Duration) -> Result<(), Failure> {
    let until = Instant::now() + memory_time;
    while !share.fits(bytes) {
        if Instant::now() >= until {
            return Err(short_of_memory());
        }
        tokio::time::sleep(MEMORY_PAUSE).await;
    }
    Ok(())
}

/// Takes events in [`App::intake`]: again and again, for `limits.memory_time`, while memory is short. Whoever waits has no
/// place there. `take` is told whether it is the last time.
///
/// # Errors
/// What it answers.
pub(crate) async fn take_patiently<W: Send + 'static, T: Send + 'static>(
    app: &App,
    mut work: W,
    take: fn(&mut W, &App, bool) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let until = Instant::now() + app.config.limits.memory_time.0;
    loop {
        let is_last = Instant::now() >= until;
        let (taken, back) = app
            .intake(move |app| {
                let taken = take(&mut work, app, is_last);
                Ok((taken, work))
            })
            .await?;
        match taken {
            Err(Failure::Overloaded { .. }) if !is_last => tokio::time::sleep(MEMORY_PAUSE).await,
            taken => return taken,
        }
        work = back;
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Failure> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(false) };
    match encoding.to_str().unwrap_or("?").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => Err(Failure::MediaType(format!("Content-Encoding [{other}] is not supported: send gzip or plain"))),
    }
}

struct BodyReader {
    limit: u64,
    idle: Duration,
    memory_time: Duration,
    share: Share,
}

impl BodyReader {
    async fn read(&mut self, headers: &HeaderMap, mut body: Body) -> Result<Bytes, Failure> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if let Some(length) = length {
            if length > self.limit {
                return Err(too_large(self.limit));
            }
            // A client that says how much is to come is turned away before it comes. It takes memory only as it comes:
            // who says much and sends nothing is in nobody's way.
            wait_for(&self.share, length, self.memory_time).await?;
        }
        let (mut only, mut all) = (Bytes::new(), Vec::new());
        while let Some(part) = self.next(&mut body).await? {
            let total = (only.len() + all.len() + part.len()) as u64;
            if total > self.limit {
                return Err(too_large(self.limit));
            }
            if total > self.share.bytes() {
                // As much again ahead, so that few come to their end rather than none of many.
                let rest = length.map_or(0, |length| length.saturating_sub(total));
                self.grow_to(total + rest.min(total).min(MAX_AHEAD)).await?;
            }
            // What came in one part is used as it is.
            if only.is_empty() && all.is_empty() {
                only = part;
                continue;
            }
            if all.is_empty() {
                all.reserve_exact(length.map_or(total as usize * 2, |length| length as usize));
                all.extend_from_slice(&std::mem::take(&mut only));
            }
            all.extend_from_slice(&part);
        }
        Ok(if all.is_empty() { only } else { all.into() })
    }

    /// Takes memory until the share has so much.
    async fn grow_to(&mut self, bytes: u64) -> Result<(), Failure> {
        let missing = bytes.saturating_sub(self.share.bytes());
        loop {
            wait_for(&self.share, bytes, self.memory_time).await?;
            if self.share.grow(missing) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// The next part that is not empty.
    async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let frame = tokio::time::timeout(self.idle, frame).await;
            let frame = frame.map_err(|_| Failure::SlowBody { setting: "limits.idle_time" })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Failure::Parsing(format!("the body broke off: {error}")))?;
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers are nobody's.
                _ => {}
            }
        }
    }
}

fn too_large(limit: u64) -> Failure {
    let setting = if limit == MAX_SMALL_BYTES { "of requests that bring no events" } else { "limits.request_bytes" };
    Failure::TooLarge { limit, setting }
}

fn short_of_memory() -> Failure {
    let reason = "too many requests are under way for their memory (limits.body_memory); try again later".to_owned();
    Failure::Overloaded { reason, retry_after: Duration::from_secs(1) }
}

fn take(share: &mut Share, bytes: u64) -> Result<(), Failure> {
    if share.grow(bytes) { Ok(()) } else { Err(short_of_memory()) }
}

/// A gzip body that is being unpacked.
struct Unpacking {
    reader: MultiGzDecoder<Cursor<Bytes>>,
    limit: u64,
    bytes: Vec<u8>,
}

impl Unpacking {
    fn of(packed: Bytes, limit: u64) -> Self {
        Self { reader: MultiGzDecoder::new(Cursor::new(packed)), limit, bytes: Vec::new() }
    }

    /// Unpacks step by step, so that neither the limit nor the budget is passed by more than a step. Where memory is short,
    /// it can go on from there later.
    fn go_on(&mut self, share: &mut Share) -> Result<(), Failure> {
        loop {
            take(share, STEP as u64)?;
            let step = (&mut self.reader).take(STEP as u64).read_to_end(&mut self.bytes);
            let read = step.map_err(|error| Failure::Parsing(format!("the body is no whole gzip: {error}")))?;
            if self.bytes.len() as u64 > self.limit {
                return Err(too_large(self.limit));
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::http::Budget;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(packed: &[u8], limit: u64, share: &mut Share) -> Result<Vec<u8>, Failure> {
        let mut unpacking = Unpacking::of(Bytes::copy_from_slice(packed), limit);
        unpacking.go_on(share).map(|()| unpacking.bytes)
    }

    #[test]
    fn unpacking_goes_on_when_there_is_memory_again() {
        let text: Vec<u8> = (0..3usize << 20).map(|at| (at % 251) as u8).collect();
        let budget = Budget::new(4 << 20);
        let (mut other, mut share) = (budget.share(), budget.share());
        assert!(other.grow(2 << 20));
        let mut unpacking = Unpacking::of(gzip(&text).into(), 4 << 20);
        assert!(matches!(unpacking.go_on(&mut share), Err(Failure::Overloaded { .. })));
        assert_eq!(unpacking.bytes, text[..2 << 20]);
        drop(other);
        unpacking.go_on(&mut share).unwrap();
        assert_eq!(unpacking.bytes, text);
    }

    #[test]
    fn memory_is_taken_ahead_of_what_comes() {
        let budget = Budget::new(1 << 10);
        let taken = |length: u32| {
            let (idle, memory_time) = (Duration::from_secs(60), Duration::ZERO);
            let mut reader = BodyReader { limit: 1 << 10, idle, memory_time, share: budget.share() };
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, length.into())]);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let bytes = runtime.block_on(reader.read(&headers, Body::from(vec![b'x'; 10]))).unwrap();
            assert_eq!(bytes.len(), 10);
            reader.share.bytes()
        };
        assert_eq!([taken(10), taken(12), taken(100)], [10, 12, 20]);
    }

    #[test]
    fn what_is_unpacked_is_bounded() {
        let budget = Budget::new(1 << 30);
        let text = vec![b'x'; 3 << 20];
        let packed = gzip(&text);
        assert_eq!(unpack(&packed, 4 << 20, &mut budget.share()).unwrap().len(), text.len());
        assert!(matches!(unpack(&packed, 2 << 20, &mut budget.share()), Err(Failure::TooLarge { .. })));
        assert!(matches!(unpack(&packed[..packed.len() / 2], 4 << 20, &mut budget.share()), Err(Failure::Parsing(_))));
        assert!(matches!(unpack(b"no gzip", 4 << 20, &mut budget.share()), Err(Failure::Parsing(_))));
        // Two members after each other are one body.
        let twice = [packed.clone(), packed.clone()].concat();
        assert_eq!(unpack(&twice, 8 << 20, &mut budget.share()).unwrap().len(), 2 * text.len());
        assert_eq!(budget.used(), 0);
        let tight = Budget::new(2 << 20);
        let mut other = tight.share();
        assert!(other.grow(1));
        assert!(matches!(unpack(&packed, 4 << 20, &mut tight.share()), Err(Failure::Overloaded { .. })));
    }
}
