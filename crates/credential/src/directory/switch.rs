//! Numbered directories behind one link: written aside, renamed into place, switched to by one rename.

use std::fs;
use std::path::{Path, PathBuf};

use super::access::Access;
use super::disk;
use super::error::DeliveryError;
use super::names::CURRENT;

/// `BASE/current -> FOLDER/N`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch<'a> {
    base: &'a Path,
    folder: &'static str,
    access: Access,
}

/// The files of a numbered directory.
pub(super) type Files<'a> = Vec<(String, std::borrow::Cow<'a, [u8]>)>;

/// A further name in it, and which of the files it is another name of.
pub(super) type Link = (&'static str, String);

impl<'a> Switch<'a> {
    pub(crate) fn new(base: &'a Path, folder: &'static str) -> Self {
        Self { base, folder, access: Access::default() }
    }

    /// What it writes is for these.
    pub(super) const fn for_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The number that the link leads to. Whatever else the link leads to counts as none.
    pub(crate) fn current(self) -> Option<u64> {
        let target = fs::read_link(self.base.join(CURRENT)).ok()?;
        let (folder, number) = target.to_str()?.trim_end_matches('/').split_once('/')?;
        if folder == self.folder { parse_number(number) } else { None }
    }

    pub(crate) fn path(self, number: u64) -> PathBuf {
        self.base.join(self.folder).join(number.to_string())
    }

    /// Writes the next directory and switches to it. Nothing that is there is changed before the last rename.
    pub(super) fn advance(self, files: &Files<'_>, link: Option<&Link>) -> Result<u64, DeliveryError> {
        let folder = self.base.join(self.folder);
        disk::create_dir(&folder, self.access)?;
        let next = self.numbers().into_iter().chain(self.current()).max().map_or(1, |number| number.saturating_add(1));
        let aside = folder.join(format!(".{next}.new"));
        let written = self.write(&aside, files, link, next);
        if written.is_err() {
            // Best effort: the next delivery sweeps what this one left.
            let _swept_later = fs::remove_dir_all(&aside);
        }
        written.map(|()| next)
    }

    fn write(self, aside: &Path, files: &Files<'_>, link: Option<&Link>, next: u64) -> Result<(), DeliveryError> {
        disk::create_dir(aside, self.access)?;
        let mut written = Vec::with_capacity(files.len());
        for (name, content) in files {
            let path = aside.join(name);
            written.push((disk::write(&path, content, self.access)?, path));
        }
        if let Some((name, target)) = link {
            disk::relink(&aside.join(name), Path::new(target))?;
        }
        disk::sync_together(&written, aside)?;
        disk::rename(aside, &self.path(next))?;
        disk::sync_dir(&self.base.join(self.folder))?;
        let target = Path::new(self.folder).join(next.to_string());
        disk::relink(&self.base.join(CURRENT), &target)?;
        disk::sync_dir(self.base)
    }

    /// Removes half-made directories, those that were never switched to, and the old ones that `is_over` names.
    pub(super) fn sweep(self, is_over: impl Fn(&Path) -> bool) {
        let current = self.current();
        let Ok(entries) = fs::read_dir(self.base.join(self.folder)) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(parse_number);
            let keep = match number {
                Some(number) if Some(number) == current => true,
                Some(number) if current.is_some_and(|current| number < current) => !is_over(&entry.path()),
                Some(_) => false,
                None => !name.to_str().is_some_and(is_aside),
            };
            if !keep {
                // Best effort: what cannot be removed now is tried again at the next delivery.
                let _swept_later = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Removes what files that were replaced in a numbered directory have left beside them, when that was cut off.
    pub(super) fn sweep_inside(self) {
        for number in self.numbers() {
            let Ok(entries) = fs::read_dir(self.path(number)) else { continue };
            for entry in entries.flatten() {
                if entry.file_name().to_str().is_some_and(|name| name.ends_with(".new")) {
                    // Best effort: nobody reads it.
                    let _swept_later = fs::remove_file(entry.path());
                }
            }
        }
    }

    fn numbers(self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(self.base.join(self.folder)) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(parse_number)).collect()
    }
}

/// A number as we write it: no sign, no leading zero.
fn parse_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn is_aside(name: &str) -> bool {
    name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")).and_then(parse_number).is_some()
}
