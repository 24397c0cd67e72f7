//! What an answer holds: the records of a page, and where the next one is.

use super::FetchError;
use bytes::Bytes;
use models::feed::Paging;
use reqwest::header::{HeaderMap, LINK};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// The next page.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Is there.
    Address(String),
    /// Is there under this value of the cursor parameter.
    Value(String),
}

fn unreadable(what: &str) -> FetchError {
    FetchError::Unreadable(what.to_owned())
}

/// Lines, or an array, of JSON: whatever begins otherwise is an error page, not a feed of bad records.
pub fn ndjson(body: Bytes) -> Result<Bytes, FetchError> {
    match body.trim_ascii_start().first() {
        None | Some(b'{' | b'[') => Ok(body),
        Some(_) => Err(unreadable("not JSON")),
    }
}

/// The array of records, and the next field's text.
pub fn json(body: &Bytes, items: Option<&str>, paging: &Paging) -> Result<(Bytes, Option<String>), FetchError> {
    if body.trim_ascii().is_empty() {
        return Err(unreadable("not JSON: nothing at all"));
    }
    let text = std::str::from_utf8(body).map_err(|_| unreadable("not UTF-8"))?;
    let whole: &RawValue = serde_json::from_str(text)
        .map_err(|e| FetchError::Unreadable(format!("not JSON, near line {} column {}", e.line(), e.column())))?;
    let records = match items {
        None => whole,
        Some(pointer) => at(whole, pointer).ok_or_else(|| unreadable("nothing where its records should be"))?,
    };
    let records = match records.get() {
        "null" => Bytes::new(),
        array if array.starts_with('[') => body.slice_ref(array.as_bytes()),
        _ => return Err(unreadable("no array where its records should be")),
    };
    let next = match paging {
        Paging::NextField { pointer } => at(whole, pointer).map(RawValue::get).and_then(text_of),
        Paging::None | Paging::LinkHeader => None,
    };
    Ok((records, next))
}

/// The value that a JSON pointer (RFC 6901) leads to, through objects.
fn at<'v>(whole: &'v RawValue, pointer: &str) -> Option<&'v RawValue> {
    pointer.split('/').skip(1).try_fold(whole, |value, name| {
        let name = name.replace("~1", "/").replace("~0", "~");
        let mut members: HashMap<Cow<'v, str>, &'v RawValue> = serde_json::from_str(value.get()).ok()?;
        members.remove(name.as_str())
    })
}

/// A text or a number; nothing, where there is no next.
fn text_of(json: &str) -> Option<String> {
    match serde_json::from_str(json).ok()? {
        serde_json::Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Is there no record in it?
pub fn is_empty(body: &[u8]) -> bool {
    match body.trim_ascii() {
        [] => true,
        [b'[', rest @ .., b']'] => rest.trim_ascii().is_empty(),
        _ => false,
    }
}

/// The target of `rel="next"` of the headers `Link` (RFC 8288).
pub fn link(head: &HeaderMap) -> Option<String> {
    head.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        let mut rest = value;
        while let Some((_, opened)) = rest.split_once('<') {
            let (target, behind) = opened.split_once('>')?;
            // parameters go on to the next link, and a comma may stand in quotes, but `<` may not stand in them unquoted
            let parameters = behind.split_once(",<").or_else(|| behind.split_once(", <")).map_or(behind, |(p, _)| p);
            if parameters.split(';').any(is_next) {
                return Some(target.to_owned());
            }
            rest = behind;
        }
        None
    })
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let relations = value.trim().trim_end_matches(',').trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel")
        && relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        let next = |value: &'static str| link(&HeaderMap::from_iter([(LINK, value.parse().unwrap())]));
        let table = [
            (r#"</p?2>; rel="next""#, Some("/p?2")),
            (r#"</p?1>; rel="prev", </p?3>; rel="next""#, Some("/p?3")),
            (r#"</p?1>; rel="prev",</p?3>; title="a,b"; REL=next"#, Some("/p?3")),
            (r#"</p?9>; rel="last next""#, Some("/p?9")),
            (r#"</p?1>; rel="prev""#, None),
            (r#"</p?1>; title="next""#, None),
            ("<", None),
            ("", None),
        ];
        for (value, found) in table {
            assert_eq!(next(value).as_deref(), found, "{value}");
        }
    }

    #[test]
    fn records_and_the_next_field_are_taken_out_of_an_object() {
        let paging = Paging::NextField { pointer: "/meta/next".to_owned() };
        let open = |text: &'static str| json(&Bytes::from_static(text.as_bytes()), Some("/a~1b/rows"), &paging);
        let table = [
            (r#"{"a/b":{"rows":[{"x":1} ]},"meta":{"next":"t2"}}"#, r#"[{"x":1} ]"#, Some("t2")),
            (r#"{"meta":{"next":17},"a/b":{"rows":[]}}"#, "[]", Some("17")),
            (r#"{"meta":{"next":null},"a/b":{"rows":null}}"#, "", None),
            (r#"{"meta":{"next":""},"a/b":{"rows":[1]}}"#, "[1]", None),
            (r#"{"a/b":{"rows":[1]}}"#, "[1]", None),
        ];
        for (text, records, next) in table {
            let (body, found) = open(text).unwrap();
            assert_eq!((&body[..], found.as_deref()), (records.as_bytes(), next), "{text}");
        }
        for text in ["", "{", "<html>", "[]", r#"{"a/b":{"rows":{}}}"#, r#"{"rows":[]}"#, "17"] {
            assert!(matches!(open(text), Err(FetchError::Unreadable(_))), "{text}");
        }
    }

    #[test]
    fn an_error_page_is_no_feed_of_bad_records() {
        assert!(ndjson(Bytes::from_static(b" {\"a\":1}\n{")).is_ok() && ndjson(Bytes::new()).is_ok());
        assert!(ndjson(Bytes::from_static(b"<html>")).is_err() && ndjson(Bytes::from_static(b"oops")).is_err());
    }

    #[test]
    fn nothing_is_recognised_as_nothing() {
        for (body, empty) in
            [("", true), (" \n", true), ("[]", true), ("[ \n]", true), ("[1]", false), ("{}", false), ("[", false)]
        {
            assert_eq!(is_empty(body.as_bytes()), empty, "{body}");
        }
    }
}
