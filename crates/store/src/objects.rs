//! Files in an object store: S3 and what speaks its language. Calls block the thread that makes them; what they wait for
//! runs on a small runtime of its own, so that it does not matter whose thread that is.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, ClientOptions, Error as ObjectError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig,
};
use tokio::runtime::{Builder, Runtime};
use xxhash_rust::xxh3::Xxh3;

use crate::StoreError;
use crate::sync::lock;

/// Larger files go up in parts of this size, and come down so: what is under way is in memory.
const PIECE: usize = 8 << 20;
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an object store that did not answer is left alone: readers learn at once that it is away.
const PAUSE: Duration = Duration::from_secs(5);
/// The object that says whose files lie beside it.
const MARKER: &str = "eqlipse-store";

/// Where segments are kept.
#[derive(Clone, Debug, Default)]
pub enum SegmentPlace {
    /// In the store's own folder.
    #[default]
    Own,
    /// In another folder.
    Folder(PathBuf),
    /// In an object store. The store's own folder has copies of what was read last.
    Objects(ObjectPlace),
}

impl SegmentPlace {
    /// The folder of what is here, of a store in this folder.
    pub(crate) fn folder(&self, store: &Path) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Own | Self::Objects(_) => store.join("segments"),
        }
    }
}

/// An object store, and a prefix in it that is the store's alone.
#[derive(Clone, Debug)]
pub struct ObjectPlace {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    name: String,
    /// The most bytes of copies on disk.
    pub cache_bytes: u64,
    /// How long one call may take.
    pub patience: Duration,
}

/// What it takes to reach an S3-compatible store. What is not given comes from the variables that all tools for S3
/// share (`AWS_ACCESS_KEY_ID`, `AWS_REGION` …), or from the machine's own role.
#[derive(Clone, Default)]
pub struct S3Options {
    /// `s3://BUCKET/PREFIX`
    pub url: String,
    /// Its address, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// Name of the access key.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<String>,
    /// Talk without TLS.
    pub allow_http: bool,
}

impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options").field("url", &self.url).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl ObjectPlace {
    /// An object store and a prefix in it. `name` is what messages call them.
    ///
    /// # Errors
    /// If no object can have such a prefix.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, name: &str) -> Result<Self, StoreError> {
        let name = name.to_owned();
        let prefix = ObjectPath::parse(prefix.trim_matches('/'))
            .map_err(|error| StoreError::Objects { place: name.clone(), reason: error.to_string() })?;
        Ok(Self { store, prefix, name, cache_bytes: 10 << 30, patience: PATIENCE })
    }

    /// A bucket. Nothing is asked of it yet.
    ///
    /// # Errors
    /// If the URL is none, or the settings do not go together.
    pub fn s3(options: &S3Options) -> Result<Self, StoreError> {
        let failed = |reason: String| StoreError::Objects { place: options.url.clone(), reason };
        let rest = options.url.strip_prefix("s3://").ok_or_else(|| failed("not s3://BUCKET/PREFIX".to_owned()))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(failed("it names no bucket: s3://BUCKET/PREFIX".to_owned()));
        }
        let is_plain = options.endpoint.as_deref().is_some_and(|endpoint| !endpoint.starts_with("https://"));
        if is_plain && !options.allow_http {
            return Err(failed("its endpoint is not https://, and s3_allow_http is not set".to_owned()));
        }
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
            max_retries: 3,
            retry_timeout: PATIENCE / 2,
        };
        let client = ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout(PATIENCE);
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client.with_allow_http(options.allow_http))
            .with_retry(retry)
            .with_bucket_name(bucket);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(id) = &options.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(key) = &options.secret_access_key {
            builder = builder.with_secret_access_key(key);
        }
        let store = builder.build().map_err(|error| failed(error.to_string()))?;
        Self::new(Arc::new(store), prefix, &options.url)
    }
}

/// Why an object cannot be had.
#[derive(Debug)]
pub(crate) enum Missing {
    /// It is not there.
    Gone(StoreError),
    /// Nobody knows: the object store does not answer, or not so.
    Away(StoreError),
    /// It could not be written here.
    Local(StoreError),
}

impl From<Missing> for StoreError {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Gone(error) | Missing::Away(error) | Missing::Local(error) => error,
        }
    }
}

/// An object store whose calls block.
#[derive(Debug)]
pub(crate) struct Objects {
    place: ObjectPlace,
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    /// Until when it is left alone, and why.
    away: Mutex<Option<(Instant, String)>>,
}

impl Drop for Objects {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What hangs must not keep the process.
            runtime.shutdown_background();
        }
    }
}

impl Objects {
    pub(crate) fn new(place: ObjectPlace) -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("eqlipse-objects").enable_all().build();
        let failed =
            |error: std::io::Error| StoreError::Objects { place: place.name.clone(), reason: error.to_string() };
        let runtime = Some(runtime.map_err(failed)?);
        Ok(Self { place, runtime, away: Mutex::default() })
    }

    pub(crate) fn cache_bytes(&self) -> u64 {
        self.place.cache_bytes
    }

    fn at(&self, path: &str) -> ObjectPath {
        // Names of segments have nothing that is encoded here; whatever else is asked for never leaves the prefix.
        path.split('/').fold(self.place.prefix.clone(), |place, part| place.join(part))
    }

    fn error(&self, path: &str, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Objects { place: self.name(path), reason: reason.to_string() }
    }

    fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.place.name.trim_end_matches('/'))
    }

    /// Waits for what runs on the runtime.
    fn wait<T: Send + 'static>(
        &self,
        path: &str,
        call: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, Missing> {
        self.wait_for(self.place.patience, path, call)
    }

    fn wait_for<T: Send + 'static>(
        &self,
        patience: Duration,
        path: &str,
        call: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, Missing> {
        let mut away = lock(&self.away);
        if let Some((until, reason)) = &*away
            && Instant::now() < *until
        {
            return Err(Missing::Away(self.error(path, reason)));
        }
        *away = None;
        drop(away);
        let Some(runtime) = &self.runtime else { return Err(Missing::Away(self.error(path, "closed"))) };
        let (sender, receiver) = sync_channel(1);
        let task = runtime.spawn(async move { _ = sender.send(call.await) });
        let reason = match receiver.recv_timeout(patience) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(ObjectError::NotFound { .. })) => {
                return Err(Missing::Gone(StoreError::Gone { object: self.name(path) }));
            }
            Ok(Err(error @ ObjectError::Generic { .. })) => error_text(&error),
            // It answers: what it says is about this call alone.
            Ok(Err(error)) => return Err(Missing::Away(self.error(path, error_text(&error)))),
            Err(RecvTimeoutError::Timeout) => format!("no answer within {patience:?}"),
            Err(RecvTimeoutError::Disconnected) => "the call was broken off".to_owned(),
        };
        task.abort();
        *lock(&self.away) = Some((Instant::now() + PAUSE, reason.clone()));
        Err(Missing::Away(self.error(path, reason)))
    }

    /// Asks again at once, even if there was no answer just now.
    pub(crate) fn try_again(&self) {
        *lock(&self.away) = None;
    }

    /// Puts a file there, in the place of what may be there, if its length and checksum are `sound`.
    pub(crate) fn put(&self, file: &Path, path: &str, is_sound: impl Fn(u64, u128) -> bool) -> Result<(), Missing> {
        let local = |error| Missing::Local(StoreError::io(file)(error));
        let mut source = File::open(file).map_err(local)?;
        let first = read_piece(&mut source).map_err(local)?;
        let (mut hasher, mut length) = (Xxh3::new(), 0);
        let unsound = || {
            let reason = "its checksum is another".to_owned();
            Missing::Local(StoreError::Segment { path: file.to_owned(), reason })
        };
        let (store, at) = (self.place.store.clone(), self.at(path));
        if first.len() < PIECE {
            hasher.update(&first);
            return match is_sound(first.len() as u64, hasher.digest128()) {
                true => self.wait(path, async move { store.put(&at, first.into()).await.map(drop) }),
                false => Err(unsound()),
            };
        }
        let mut upload = self.wait(path, async move { store.put_multipart(&at).await })?;
        let mut piece = first;
        let sent = loop {
            let last = piece.len() < PIECE;
            hasher.update(&piece);
            length += piece.len() as u64;
            if !piece.is_empty() {
                let part = upload.put_part(PutPayload::from(piece));
                if let Err(error) = self.wait(path, part) {
                    break Err(error);
                }
            }
            if last {
                break if is_sound(length, hasher.digest128()) { Ok(()) } else { Err(unsound()) };
            }
            match read_piece(&mut source) {
                Ok(read) => piece = read,
                Err(error) => break Err(local(error)),
            }
        };
        match sent {
            Ok(()) => self.wait(path, async move { upload.complete().await.map(drop) }),
            Err(error) => {
                // Parts of what is not completed cost money, and nobody sees them.
                self.try_again();
                _ = self.wait(path, async move { upload.abort().await });
                Err(error)
            }
        }
    }

    /// Reads an object piece by piece. Returns its length and checksum.
    pub(crate) fn read(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(u64, u128), Missing> {
        let (store, at) = (self.place.store.clone(), self.at(path));
        let size = self.wait(path, async move { store.head(&at).await })?.size;
        let (mut hasher, mut done) = (Xxh3::new(), 0);
        while done < size {
            let (store, at) = (self.place.store.clone(), self.at(path));
            let range = done..size.min(done + PIECE as u64);
            let bytes = self.wait(path, async move { store.get_range(&at, range).await })?;
            if bytes.is_empty() {
                return Err(Missing::Away(self.error(path, "it ended before its end")));
            }
            hasher.update(&bytes);
            done += bytes.len() as u64;
            take(&bytes).map_err(Missing::Local)?;
        }
        Ok((done, hasher.digest128()))
    }

    /// Brings an object to a file that is not there yet. Returns its length and checksum.
    pub(crate) fn fetch(&self, path: &str, file: &Path) -> Result<(u64, u128), Missing> {
        let local = |error| Missing::Local(StoreError::io(file)(error));
        let mut target = File::create(file).map_err(local)?;
        let read = self.read(path, |bytes| target.write_all(bytes).map_err(StoreError::io(file)))?;
        target.sync_all().map_err(local)?;
        Ok(read)
    }

    /// Removes an object; one that is not there is removed.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Missing> {
        let (store, at) = (self.place.store.clone(), self.at(path));
        match self.wait(path, async move { store.delete(&at).await }) {
            Err(Missing::Gone(_)) => Ok(()),
            done => done,
        }
    }

    /// All objects below the prefix, as paths below it.
    pub(crate) fn list(&self) -> Result<Vec<String>, Missing> {
        let (store, prefix) = (self.place.store.clone(), self.place.prefix.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        let listing = async move {
            let mut objects = store.list(Some(&prefix));
            while let Some(object) = objects.try_next().await? {
                let Some(parts) = object.location.prefix_match(&prefix) else { continue };
                let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
                _ = sender.send(parts.join("/"));
            }
            Ok(())
        };
        // A call for every thousand of them.
        self.wait_for(self.place.patience * 20, "", listing)?;
        Ok(receiver.into_iter().collect())
    }

    /// Makes sure that the prefix is the store's with this id. One that `is_begun` has its marker there.
    pub(crate) fn claim(&self, id: &str, is_begun: bool) -> Result<(), Missing> {
        let refused = |reason: &str| Err(Missing::Away(self.error(MARKER, reason)));
        let known = match self.marker() {
            Err(Missing::Gone(_)) if is_begun => {
                return refused("this store's segments are in an object store, but not here: the marker is not there");
            }
            Err(Missing::Gone(_)) => {
                self.mark(id)?;
                self.marker()?
            }
            known => known?,
        };
        match known == id {
            true => Ok(()),
            false => refused("the files there are another store's; take another prefix"),
        }
    }

    fn marker(&self) -> Result<String, Missing> {
        let (store, at) = (self.place.store.clone(), self.at(MARKER));
        let bytes = self.wait(MARKER, async move { store.get(&at).await?.bytes().await })?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Puts the marker there, if there is none.
    fn mark(&self, id: &str) -> Result<(), Missing> {
        let (store, at) = (self.place.store.clone(), self.at(MARKER));
        let text = format!("{id}\n");
        let marking = async move {
            let only = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match store.put_opts(&at, text.clone().into(), only).await {
                // Not everything that speaks S3 knows conditions.
                Err(ObjectError::NotImplemented { .. } | ObjectError::NotSupported { .. }) => {
                    store.put(&at, text.into()).await.map(drop)
                }
                // Somebody was faster: who it was is looked at next.
                Err(ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. }) => Ok(()),
                done => done.map(drop),
            }
        };
        self.wait(MARKER, marking)
    }
}

/// An error with what is behind it, which often says more.
fn error_text(error: &ObjectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read_piece(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    file.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece)
}
