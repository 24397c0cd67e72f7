//! Reading requests: bytes to wire structs, and every wrong field named at once.
//!
//! Parser messages quote values, and a value may be a phone number: only the position is passed on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use serde::de::{self, Deserialize, Deserializer};

use crate::problem::{Code, FieldError, Problem};

/// Items of a list where the caller names no limit.
pub const LIST_LIMIT_DEFAULT: u32 = 50;
/// Most items of a list.
pub const LIST_LIMIT_MAX: u32 = 500;

/// Borrowed where the JSON has no escapes: `Option<Cow<str>>` of serde always copies.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Reads a JSON body; unknown fields are left out, a field named twice is refused.
pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        // serde would take its items for fields by their order
        return Err(Problem::new(Code::Unreadable, "a json object is needed, not an array"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is unknown, missing, named twice or of a wrong json type",
            serde_json::error::Category::Eof => "the json ends too early",
            _ => "not json",
        };
        Problem::new(Code::Unreadable, format!("{what}, at line {} column {}", error.line(), error.column()))
    })
}

/// 415 unless the body is declared as one of these types, or not declared at all.
pub(crate) fn require_media_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Problem> {
    let Some(declared) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    if types.iter().any(|t| t.as_bytes() == declared.as_bytes()) {
        return Ok(());
    }
    let essence = declared.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if types.iter().any(|t| t.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, format!("the body must be {}", types.join(" or "))))
}

/// 415 unless JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    require_media_type(headers, &["application/json"])
}

/// A body that must be JSON, by its header and by itself.
pub(crate) fn json_body<'a, T: Deserialize<'a>>(headers: &HeaderMap, body: &'a [u8]) -> Result<T, Problem> {
    require_json(headers)?;
    json(body)
}

/// An id in the path; what is no id of this kind does not exist.
pub(crate) fn path_id<T: FromStr>(req: &HttpRequest, name: &str, what: &'static str) -> Result<T, Problem> {
    req.match_info().get(name).and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found(what))
}

/// `?limit=` and `?cursor=`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListQuery {
    pub limit: u32,
    pub cursor: Option<String>,
}

/// Parameters of a query string by name, decoded; a name given twice is refused, so is an unknown one: a filter
/// that is silently ignored shows too much.
pub(crate) fn query(req: &HttpRequest, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let pairs: Vec<(String, String)> = actix_web::web::Query::from_query(req.query_string())
        .map(actix_web::web::Query::into_inner)
        .map_err(|_| Problem::new(Code::Unreadable, "the query string cannot be read"))?;
    let mut errors = Vec::new();
    for (i, (name, _)) in pairs.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            errors.push(FieldError {
                pointer: "?".into(),
                detail: format!("known parameters: {}", known.join(", ")).into(),
            });
            break;
        }
        if pairs[..i].iter().any(|(other, _)| other == name) {
            errors.push(FieldError { pointer: format!("?{name}").into(), detail: "given twice".into() });
        }
    }
    if errors.is_empty() { Ok(pairs) } else { Err(Problem::fields(errors)) }
}

/// The value of a parameter.
pub(crate) fn parameter<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
}

/// Limit and cursor of a list.
pub(crate) fn list_query(pairs: &[(String, String)]) -> Result<ListQuery, Problem> {
    let limit = match parameter(pairs, "limit") {
        None => LIST_LIMIT_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=LIST_LIMIT_MAX).contains(n))
            .ok_or_else(|| Problem::field("?limit", format!("a number from 1 to {LIST_LIMIT_MAX}")))?,
    };
    let cursor = parameter(pairs, "cursor").map(str::to_owned);
    if cursor.as_ref().is_some_and(|c| c.len() > 512) {
        return Err(Problem::field("?cursor", "not a cursor of this list"));
    }
    Ok(ListQuery { limit, cursor })
}

/// Collects wrong fields, so that a caller learns of all at once.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// Notes one.
    pub fn wrong(&mut self, pointer: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) {
        self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
    }

    /// Keeps a good value, notes a bad one.
    pub fn take<T, E: fmt::Display>(&mut self, pointer: &'static str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.wrong(pointer, error.to_string())).ok()
    }

    /// A value that must be there and known.
    pub fn known<T>(
        &mut self,
        pointer: &'static str,
        text: Option<&str>,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        match text {
            None => self.wrong(pointer, "required"),
            Some(text) => match read(text) {
                Some(value) => return Some(value),
                None => self.wrong(pointer, "not one of the known values"),
            },
        }
        None
    }

    /// A value of a parameter that was sent: noted where it is not known.
    pub fn known_parameter<T>(&mut self, pointer: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.wrong(pointer, "not one of the known values");
        }
        value
    }

    /// A text with a length in characters; missing is `None` without a note.
    pub fn text(&mut self, pointer: &'static str, text: Option<&str>, chars_max: usize) -> Option<String> {
        let text = text.map(str::trim).filter(|t| !t.is_empty())?;
        if text.chars().count() > chars_max {
            self.wrong(pointer, format!("longer than {chars_max} characters"));
            return None;
        }
        if text.chars().any(char::is_control) {
            self.wrong(pointer, "holds control characters");
            return None;
        }
        Some(text.to_owned())
    }

    /// A text that must be there.
    pub fn required_text(&mut self, pointer: &'static str, text: Option<&str>, chars_max: usize) -> Option<String> {
        let before = self.0.len();
        let value = self.text(pointer, text, chars_max);
        if value.is_none() && self.0.len() == before {
            self.wrong(pointer, "required");
        }
        value
    }

    /// The problem, if anything was noted.
    pub fn check(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.0)) }
    }

    /// The value, unless something was noted; a value that is missing without a note is a wrong request too.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        self.check()?;
        value.ok_or_else(|| Problem::new(Code::Invalid, "the request is incomplete"))
    }
}

/// Is it a calendar date `YYYY-MM-DD` from 1880 on? Birth dates lie before the epoch, where `Ts` does not reach.
pub(crate) fn is_date(text: &str) -> bool {
    let b = text.as_bytes();
    let number =
        |part: &[u8]| part.iter().try_fold(0u32, |n, d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')));
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (number(&b[..4]), number(&b[5..7]), number(&b[8..])) else {
        return false;
    };
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return false,
    };
    year >= 1880 && (1..=days).contains(&day)
}

/// The known value of this wire name, by serde's own names.
pub(crate) fn wire<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    T::deserialize(de::value::StrDeserializer::<de::value::Error>::new(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Sample<'a> {
        #[serde(borrow)]
        phone: Option<Text<'a>>,
    }

    #[test]
    fn plain_text_is_borrowed_and_escaped_text_is_not() {
        let plain: Sample<'_> = json(br#"{"phone":"0712","later":{"x":[1]}}"#).unwrap();
        assert!(matches!(plain.phone, Some(Text(Cow::Borrowed("0712")))));
        let escaped: Sample<'_> = json(br#"{"phone":"07\u00312"}"#).unwrap();
        assert_eq!(escaped.phone.as_deref(), Some("0712"));
        let null: Sample<'_> = json(br#"{"phone":null}"#).unwrap();
        assert!(null.phone.is_none());
    }

    #[test]
    fn a_parser_error_never_quotes_the_body() {
        for body in
            [r#"{"phone":712345678}"#, r#"{"phone":"712345678""#, "712345678", r#"{"phone":"712345678","phone":"1"}"#]
        {
            let problem = json::<Sample<'_>>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code, Code::Unreadable);
            assert!(!String::from_utf8(problem.body(None, None)).unwrap().contains("712345678"), "{body}");
        }
    }

    #[test]
    fn dates_are_calendar_dates() {
        let table = [
            ("1990-05-01", true),
            ("1941-12-31", true),
            ("2000-02-29", true),
            ("1900-02-29", false),
            ("1990-13-01", false),
            ("1990-04-31", false),
            ("1990-5-01", false),
            ("1990-05-01T00:00:00Z", false),
            ("1700-01-01", false),
            ("19900-5-01", false),
        ];
        for (text, good) in table {
            assert_eq!(is_date(text), good, "{text}");
        }
    }

    #[test]
    fn lists_have_limits() {
        let table = [
            ("/", Some(50)),
            ("/?limit=500", Some(500)),
            ("/?limit=0", None),
            ("/?limit=501", None),
            ("/?limit=x", None),
            ("/?limit=1&limit=2", None),
            ("/?limt=1", None),
        ];
        for (uri, limit) in table {
            let req = TestRequest::with_uri(uri).to_http_request();
            let got = query(&req, &["limit", "cursor"]).and_then(|pairs| list_query(&pairs)).ok();
            assert_eq!(got.map(|q| q.limit), limit, "{uri}");
        }
    }

    #[test]
    fn media_types_are_checked_without_parameters() {
        let table = [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/plain"), false),
            (Some("application/jsonp"), false),
            (None, true),
        ];
        for (declared, good) in table {
            let mut req = TestRequest::default();
            if let Some(value) = declared {
                req = req.insert_header(("content-type", value));
            }
            assert_eq!(require_json(req.to_http_request().headers()).is_ok(), good, "{declared:?}");
        }
    }
}
