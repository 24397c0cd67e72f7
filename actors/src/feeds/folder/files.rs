//! The disk: what lies in a folder below the root, and nothing that a link leads to.

use super::{FetchError, FolderDone, FolderSettings};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of a folder at most; more have to be put away.
const FILES_MAX: usize = 100_000;
/// Folder of files that were read.
const DONE: &str = "done";
/// Behind the name of a file that is complete.
const MARK: &str = ".done";

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub length: u64,
    /// Of its last change, nanoseconds.
    modified: i128,
    /// Its number on its disk.
    inode: u64,
}

impl Seen {
    fn of(metadata: &fs::Metadata) -> Self {
        let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { length: metadata.len(), modified, inode: metadata.ino() }
    }
}

/// A file of the pattern.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Whether its `.done` lies beside it.
    pub is_marked: bool,
    /// As it is.
    pub seen: Seen,
}

/// The files of the pattern, by name.
#[derive(Debug)]
pub struct Listing {
    /// They.
    pub files: Vec<Found>,
}

fn unreachable(what: &str, error: &io::Error) -> FetchError {
    FetchError::Unreachable(format!("{what}: {}", error.kind()))
}

/// The folder, no part of whose path below the root is a link.
fn folder(root: &Path, path: &str) -> Result<PathBuf, FetchError> {
    let mut folder = root.to_owned();
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(FetchError::Settings("path: not below the root".to_owned()));
        }
        folder.push(part);
        let metadata = fs::symlink_metadata(&folder).map_err(|e| unreachable("the folder", &e))?;
        if !metadata.is_dir() {
            return Err(FetchError::Refused("its path is a link, or no folder".to_owned()));
        }
    }
    Ok(folder)
}

impl Listing {
    /// Looks.
    pub fn take(root: &Path, settings: &FolderSettings) -> Result<Self, FetchError> {
        let folder = folder(root, &settings.path)?;
        let entries = fs::read_dir(&folder).map_err(|e| unreachable("the folder", &e))?;
        let (mut files, mut marks) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.map_err(|e| unreachable("the folder", &e))?;
            // a name that is no text is none of the pattern's
            let Ok(name) = entry.file_name().into_string() else { continue };
            // of the entry itself, not of what it may lead to
            let Ok(metadata) = entry.metadata() else { continue };
            if !metadata.is_file() {
                continue;
            }
            if settings.done_files
                && let Some(marked) = name.strip_suffix(MARK)
            {
                marks.push(marked.to_owned());
            } else if matches(&settings.pattern, &name) {
                files.push(Found { name, is_marked: false, seen: Seen::of(&metadata) });
            }
            if files.len() + marks.len() > FILES_MAX {
                return Err(FetchError::Refused(format!("more than {FILES_MAX} files in its folder")));
            }
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        marks.sort_unstable();
        for file in &mut files {
            file.is_marked = marks.binary_search(&file.name).is_ok();
        }
        Ok(Self { files })
    }
}

/// Opens a file that is one, and no link to one.
pub fn open(root: &Path, path: &str, name: &str) -> Result<(File, Seen), FetchError> {
    let gone = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => FetchError::Lost(format!("{name}: it is gone")),
        _ => unreachable(name, error),
    };
    let place = folder(root, path)?.join(name);
    let listed = fs::symlink_metadata(&place).map_err(|e| gone(&e))?;
    if !listed.is_file() {
        return Err(FetchError::Refused(format!("{name}: a link, or no file")));
    }
    let file = File::open(&place).map_err(|e| gone(&e))?;
    let opened = file.metadata().map_err(|e| gone(&e))?;
    // a link that took its place in between leads to another file
    if (opened.dev(), opened.ino()) != (listed.dev(), listed.ino()) {
        return Err(FetchError::Refused(format!("{name}: it was replaced while it was opened")));
    }
    Ok((file, Seen::of(&opened)))
}

/// Moves a file, and its `.done`, to where files lie that were read.
pub fn put_away(root: &Path, settings: &FolderSettings, name: &str) -> Result<(), FetchError> {
    debug_assert_eq!(settings.done, FolderDone::Move);
    let folder = folder(root, &settings.path)?;
    let done = folder.join(DONE);
    if let Err(error) = fs::create_dir(&done)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(unreachable("the folder of files that were read", &error));
    }
    if !fs::symlink_metadata(&done).is_ok_and(|metadata| metadata.is_dir()) {
        return Err(FetchError::Refused("done: a link, or no folder".to_owned()));
    }
    let moved = fs::rename(folder.join(name), done.join(name));
    moved.map_err(|e| unreachable("a file that was read cannot be moved", &e))?;
    let mark = format!("{name}{MARK}");
    if settings.done_files {
        // one that is left says nothing without its file
        let _ = fs::rename(folder.join(&mark), done.join(&mark));
    }
    Ok(())
}

/// Does a name fit a pattern of `*` and `?`?
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // where the last `*` stands, and how far it reaches
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, reach)) = star {
            star = Some((at, reach + 1));
            (p, n) = (at + 1, reach + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        let table = [
            ("*", "a", true),
            ("*.csv", "bets.csv", true),
            ("*.csv", "bets.csv.part", false),
            ("bets-*-?.json", "bets-2026-11-1.json", true),
            ("bets-*-?.json", "bets-2026.json", false),
            ("a*b*c", "abbbcbc", true),
            ("a*b*c", "abbb", false),
            ("", "a", false),
            ("*********************a", &"b".repeat(200), false),
        ];
        for (pattern, name, fits) in table {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
