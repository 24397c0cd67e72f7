//! Where a part of a file ends: at the border of a record, so that no record is in two parts.

use models::feed::ReaderFormat;
use std::ops::Range;

/// A part.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of the file that belong to it.
    pub taken: usize,
    /// Those of them that are records; in JSON without the array's brackets.
    pub records: Range<usize>,
}

/// Why there is no part.
#[derive(Debug, PartialEq, Eq)]
pub enum Uncut {
    /// One record is larger than a part may be.
    TooLarge,
    /// What the file is not.
    Unreadable(&'static str),
}

/// Cuts what was read of a file: `is_first` from its beginning, `is_rest` up to its end.
pub fn cut(format: ReaderFormat, quoting: bool, is_first: bool, is_rest: bool, bytes: &[u8]) -> Result<Cut, Uncut> {
    if format == ReaderFormat::Json {
        return json(is_first, is_rest, bytes);
    }
    let all = Cut { taken: bytes.len(), records: 0..bytes.len() };
    if is_rest {
        return Ok(all);
    }
    let end = match format {
        ReaderFormat::Csv => last_row_end(bytes, quoting),
        ReaderFormat::Ndjson | ReaderFormat::Json => bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1),
    };
    // a head alone is no progress that could be told from a file that is done
    let is_head_alone = format == ReaderFormat::Csv && is_first && end == row_end(bytes, quoting);
    let end = end.filter(|_| !is_head_alone).ok_or(Uncut::TooLarge)?;
    Ok(Cut { taken: end, records: 0..end })
}

/// The ends of rows: line ends outside of quotation marks.
fn row_ends(bytes: &[u8], quoting: bool) -> impl Iterator<Item = usize> {
    let mut is_quoted = false;
    bytes.iter().enumerate().filter_map(move |(at, byte)| {
        is_quoted ^= quoting && *byte == b'"';
        (*byte == b'\n' && !is_quoted).then_some(at + 1)
    })
}

/// The end of the first row.
pub fn row_end(bytes: &[u8], quoting: bool) -> Option<usize> {
    row_ends(bytes, quoting).next()
}

fn last_row_end(bytes: &[u8], quoting: bool) -> Option<usize> {
    row_ends(bytes, quoting).last()
}

/// The items of an array: from its bracket, or from the comma behind the item before.
fn json(is_first: bool, is_rest: bool, bytes: &[u8]) -> Result<Cut, Uncut> {
    let skip = |from: usize| bytes[from..].iter().position(|b| !b.is_ascii_whitespace()).map(|at| from + at);
    let begin = if is_first && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let opened = if is_first { b'[' } else { b',' };
    let start = match skip(begin) {
        Some(at) if bytes[at] == opened => at + 1,
        // the last item ended just where the part did
        Some(at) if !is_first && bytes[at] == b']' => at,
        _ => return Err(Uncut::Unreadable("not an array of JSON")),
    };
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut last_end = None;
    let mut has_content = false;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b']' if depth == 0 => {
                if skip(at + 1).is_some() || (!is_rest && at == 0) {
                    return Err(Uncut::Unreadable("something behind the array"));
                }
                // what follows the bracket may not be known yet: then it is the next part's
                let taken = if is_rest { bytes.len() } else { at };
                return Ok(Cut { taken, records: start..at });
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1).ok_or(Uncut::Unreadable("not an array of JSON"))?;
            }
            b',' if depth == 0 && has_content => last_end = Some(at),
            _ => {}
        }
        has_content |= !byte.is_ascii_whitespace();
    }
    match last_end {
        // the comma stays: the next part begins with it
        Some(end) if !is_rest => Ok(Cut { taken: end, records: start..end }),
        _ if is_rest => Err(Uncut::Unreadable("the array does not end")),
        _ => Err(Uncut::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ReaderFormat::{Csv, Json, Ndjson};

    /// Cuts a file in parts of at most so many bytes; what the parts hold.
    fn parts(format: ReaderFormat, quoting: bool, file: &str, most: usize) -> Result<Vec<String>, Uncut> {
        let (mut offset, mut parts) = (0, Vec::new());
        while offset < file.len() {
            let end = (offset + most).min(file.len());
            let bytes = &file.as_bytes()[offset..end];
            let cut = cut(format, quoting, offset == 0, end == file.len(), bytes)?;
            assert!(cut.taken > 0, "no progress at {offset}");
            parts.push(String::from_utf8_lossy(&bytes[cut.records]).into_owned());
            offset += cut.taken;
        }
        Ok(parts)
    }

    #[test]
    fn lines_are_cut_at_their_ends() {
        let file = "{\"a\":1}\n{\"a\":22}\n{\"a\":3}";
        assert_eq!(parts(Ndjson, false, file, 10).unwrap(), ["{\"a\":1}\n", "{\"a\":22}\n", "{\"a\":3}"]);
        assert_eq!(parts(Ndjson, false, file, 100).unwrap(), [file]);
        assert_eq!(parts(Ndjson, false, file, 8), Err(Uncut::TooLarge));
    }

    #[test]
    fn rows_are_cut_outside_of_quotes() {
        let file = "a,b\n1,\"x\ny\"\n2,z\n";
        assert_eq!(parts(Csv, true, file, 12).unwrap(), ["a,b\n1,\"x\ny\"\n", "2,z\n"]);
        assert_eq!(parts(Csv, true, file, 11), Err(Uncut::TooLarge), "a head and no row");
        let stray = "a,b\n1,\"x\n2,y\n3,z\n";
        assert_eq!(parts(Csv, false, stray, 10).unwrap(), ["a,b\n1,\"x\n", "2,y\n3,z\n"]);
    }

    #[test]
    fn arrays_are_cut_between_items() {
        let file = " [ {\"a\":\"],[\\\"\"} ,[1,2], {\"b\":[{}]}\n]\n";
        let whole = parts(Json, false, file, 1000).unwrap().concat();
        for most in 20..file.len() {
            let parts = parts(Json, false, file, most).unwrap();
            let items: Vec<serde_json::Value> = parts
                .iter()
                .flat_map(|part| serde_json::from_str::<Vec<serde_json::Value>>(&format!("[{part}]")).unwrap())
                .collect();
            let all: Vec<serde_json::Value> = serde_json::from_str(&format!("[{whole}]")).unwrap();
            assert_eq!(items, all, "parts of {most}");
        }
        assert_eq!(parts(Json, false, "[]", 100).unwrap(), [""]);
        for broken in ["{}", "[1", "[1,2", "[1]]", "[1] x", "x", "[}"] {
            assert!(matches!(parts(Json, false, broken, 100), Err(Uncut::Unreadable(_))), "{broken}");
        }
        assert_eq!(parts(Json, false, "[\"abcdefgh\",1]", 6), Err(Uncut::TooLarge));
    }
}
