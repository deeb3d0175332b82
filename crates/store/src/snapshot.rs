//! All events at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eqlipse_events::{Discovery, Source};

use crate::objects::Missing;
use crate::part::{Part, PartKind, TimeRange};
use crate::readers::Reading;
use crate::segment::SegmentPart;
use crate::upload;
use crate::{CheckReport, StoreStats};

/// How much there is of a data stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSize {
    /// Events.
    pub events: u64,
    /// Bytes: of segments as they lie on disk, of recent events as they came.
    pub bytes: u64,
}

/// The parts at one moment, segments before recent chunks, by sequence number.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) parts: Vec<Arc<Part>>,
    /// What keeps the files of segments there if it is another process's store.
    pub(crate) _reading: Option<Arc<Reading>>,
}

impl Snapshot {
    /// The parts that may have events in a range.
    pub fn parts<'s>(&'s self, range: &'s TimeRange) -> impl Iterator<Item = &'s Arc<Part>> {
        self.parts.iter().filter(|part| part.meets(range))
    }

    /// How many events there are.
    pub fn events(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.rows())).sum()
    }

    /// The data streams that there are, by name.
    pub fn data_streams(&self) -> BTreeMap<String, StreamSize> {
        let mut streams: BTreeMap<String, StreamSize> = BTreeMap::new();
        for part in &self.parts {
            match &part.kind {
                PartKind::Segment(segment) => {
                    let size = streams.entry(segment.entry.index.clone()).or_default();
                    size.events += u64::from(segment.entry.rows);
                    size.bytes += segment.entry.bytes;
                }
                PartKind::Recent(chunk) => {
                    for event in (0..part.rows()).filter_map(|row| chunk.event(row)) {
                        // Only a stream's first event costs an allocation.
                        if !streams.contains_key(event.index) {
                            streams.insert(event.index.to_owned(), StreamSize::default());
                        }
                        if let Some(size) = streams.get_mut(event.index) {
                            size.events += 1;
                            size.bytes += event.document.len() as u64;
                        }
                    }
                }
            }
        }
        streams
    }

    /// The events as inputs of a hunt or a query. Parts without an event in the range are left out, and segments of data
    /// streams that `wants` says no to; events of other times and indices may still be among what is left.
    pub fn discovery(&self, range: &TimeRange, wants: impl Fn(&str) -> bool) -> Discovery {
        let mut discovery = Discovery::default();
        let parts = self.parts(range).filter(|part| part.data_stream().is_none_or(&wants));
        for part in parts {
            match &part.kind {
                PartKind::Segment(segment) => discovery.sources.push(Source {
                    path: Some(segment.path.clone()),
                    name: segment.entry.path.clone(),
                    bytes: segment.entry.bytes,
                    explicit: true,
                    folders: Vec::new(),
                    memory: None,
                    // What is in an object store only is fetched when it is looked at.
                    fetch: Some(part.clone()),
                }),
                PartKind::Recent(chunk) => {
                    discovery.add_memory(&format!("recent events from {}", chunk.first), chunk.hits().clone());
                }
            }
        }
        discovery
    }

    /// Reads every segment and compares it with its checksum, in the object store too.
    pub fn check(&self) -> CheckReport {
        let mut report = CheckReport::default();
        let mut is_away = false;
        for segment in self.segments() {
            report.segments += 1;
            report.problems.extend(segment.check_here().err());
            if is_away || !segment.files().is_remote() || !segment.is_uploaded() {
                continue;
            }
            report.objects += 1;
            match upload::check(segment) {
                Ok(()) => {}
                // Nothing more can be said of the others.
                Err(Missing::Away(error)) => {
                    report.problems.push(error);
                    is_away = true;
                }
                Err(error) => {
                    segment.set_bad_objects();
                    report.problems.push(error.into());
                }
            }
        }
        report
    }

    fn segments(&self) -> impl Iterator<Item = &SegmentPart> {
        self.parts.iter().filter_map(|part| part.as_segment())
    }

    /// How much there is.
    pub(crate) fn stats(&self) -> StoreStats {
        let mut stats = StoreStats::default();
        let mut streams = BTreeSet::new();
        for part in &self.parts {
            match &part.kind {
                PartKind::Recent(_) => stats.recent_events += u64::from(part.rows()),
                PartKind::Segment(segment) => {
                    stats.segments += 1;
                    stats.segment_events += u64::from(part.rows());
                    stats.segment_bytes += segment.entry.bytes;
                    if segment.files().is_remote() {
                        let objects = stats.objects.get_or_insert_default();
                        objects.local_bytes += segment.local_bytes();
                        objects.waiting += u64::from(!segment.is_uploaded());
                    }
                    streams.insert(segment.entry.index.as_str());
                }
            }
        }
        stats.data_streams = streams.len() as u64;
        stats
    }

    pub(crate) fn recent(&self) -> impl Iterator<Item = &Arc<Part>> {
        self.parts.iter().filter(|part| matches!(part.kind, PartKind::Recent(_)))
    }
}
