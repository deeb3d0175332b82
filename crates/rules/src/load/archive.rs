//! Zip files: the prebuilt-rules package, or any other zip of rule files.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::load::LoadError;

/// Most members of one zip.
pub const MAX_ZIP_MEMBERS: u64 = 200_000;
/// Largest member of a zip, unpacked, in bytes.
pub const MAX_ZIP_MEMBER_SIZE: u64 = 64 << 20;
/// Most bytes one zip may unpack to.
pub const MAX_ZIP_TOTAL_SIZE: u64 = 2 << 30;
/// Most bytes a member may unpack to per packed byte; members of up to a megabyte are exempt.
pub const MAX_ZIP_RATIO: u64 = 200;

/// Size up to which the ratio of a member does not matter.
const RATIO_EXEMPT: u64 = 1 << 20;

/// An open zip, its members sorted by name.
pub(crate) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    names: Vec<(String, usize)>,
    total: u64,
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Archive<'a>, LoadError> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(zip_error)?;
        limit(zip.len() as u64, MAX_ZIP_MEMBERS, "members", "MAX_ZIP_MEMBERS")?;
        let mut names = Vec::with_capacity(zip.len());
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(zip_error)?;
            if !member.is_dir() {
                names.push((String::from_utf8_lossy(member.name_raw()).into_owned(), index));
            }
        }
        names.sort();
        Ok(Archive { zip, names, total: 0 })
    }

    /// Names of the members, sorted, with their position.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// Unpacks one member. What it claims about its size is not believed.
    pub fn read(&mut self, index: usize) -> Result<Vec<u8>, LoadError> {
        let member = self.zip.by_index(index).map_err(zip_error)?;
        let packed = member.compressed_size();
        let mut bytes = Vec::new();
        member.take(MAX_ZIP_MEMBER_SIZE + 1).read_to_end(&mut bytes)?;
        let size = bytes.len() as u64;
        limit(size, MAX_ZIP_MEMBER_SIZE, "bytes in one member", "MAX_ZIP_MEMBER_SIZE")?;
        if size > RATIO_EXEMPT {
            limit(size / packed.max(1), MAX_ZIP_RATIO, "bytes per packed byte in one member", "MAX_ZIP_RATIO")?;
        }
        self.total += size;
        limit(self.total, MAX_ZIP_TOTAL_SIZE, "unpacked bytes", "MAX_ZIP_TOTAL_SIZE")?;
        Ok(bytes)
    }
}

fn limit(value: u64, limit: u64, what: &str, name: &'static str) -> Result<(), LoadError> {
    match value > limit {
        true => Err(LoadError::ZipLimit { what: format!("{value} {what}"), limit, name: name.into() }),
        false => Ok(()),
    }
}

fn zip_error(error: ZipError) -> LoadError {
    LoadError::Zip(error.to_string())
}

/// The name of a package's rule asset, `kibana/security_rule/<rule_id>_<version>.json`, in its parts.
pub(crate) fn asset_name(path: &str) -> Option<(&str, u64)> {
    let (folder, file) = path.rsplit_once('/')?;
    if folder != "kibana/security_rule" && !folder.ends_with("/kibana/security_rule") {
        return None;
    }
    let (id, version) = file.strip_suffix(".json")?.rsplit_once('_')?;
    Some((id, version.parse().ok()?))
}
