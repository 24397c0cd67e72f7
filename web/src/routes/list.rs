//! Lists that stand in memory: newest first, a page at a time.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::parse::ListQuery;
use crate::problem::Problem;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct ListView<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// Sent as `?cursor=` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> ListView<T> {
    /// The same page with each item shown by `view`.
    pub fn map<V>(self, view: impl FnMut(T) -> V) -> ListView<V> {
        ListView { items: self.items.into_iter().map(view).collect(), next_cursor: self.next_cursor }
    }
}

/// The id a page begins behind; what is no id of this kind was not given by this list.
pub(crate) fn cursor<I: FromStr>(query: &ListQuery) -> Result<Option<I>, Problem> {
    let refuse = || Problem::field("?cursor", "not a cursor of this list");
    query.cursor.as_ref().map(|text| text.parse().map_err(|_| refuse())).transpose()
}

/// A page of items by their ids, which grow with time. The cursor is the last id shown: an item that comes or goes
/// between two pages shifts nothing.
pub(crate) fn page_by<T, I: FromStr + ToString + Ord>(
    items: impl Iterator<Item = T>,
    query: &ListQuery,
    id: impl Fn(&T) -> I,
) -> Result<ListView<T>, Problem> {
    let mut keyed: Vec<(I, T)> = items.map(|item| (id(&item), item)).collect();
    if let Some(cursor) = cursor(query)? {
        keyed.retain(|(id, _)| *id < cursor);
    }
    keyed.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    let more = keyed.len() > query.limit as usize;
    keyed.truncate(query.limit as usize);
    let next_cursor = keyed.last().filter(|_| more).map(|(id, _)| id.to_string());
    Ok(ListView { items: keyed.into_iter().map(|(_, item)| item).collect(), next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::SourceId;

    #[test]
    fn pages_hold_every_item_once() {
        let items: Vec<SourceId> = (0..25).map(SourceId).collect();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = page_by(items.iter(), &ListQuery { limit: 10, cursor }, |i| **i).unwrap();
            seen.extend(page.items.into_iter().copied());
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let newest_first: Vec<SourceId> = items.into_iter().rev().collect();
        assert_eq!(seen, newest_first);
    }

    #[test]
    fn a_cursor_of_something_else_is_refused() {
        let other = models::ids::OperatorId(1).to_string();
        for cursor in ["17", "a_b", "z_b", "~", other.as_str()] {
            let query = ListQuery { limit: 1, cursor: Some(cursor.to_owned()) };
            assert!(page_by([SourceId(1)].iter(), &query, |i| **i).is_err(), "{cursor}");
        }
    }
}
