//! Lists that stand in memory: newest first, a page at a time.

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

/// A page of items by their ids, which grow with time. The cursor is the last id shown: an item that comes or goes
/// between two pages shifts nothing.
pub(crate) fn page_by<T>(
    items: impl Iterator<Item = T>,
    query: &ListQuery,
    id: impl Fn(&T) -> String,
) -> Result<ListView<T>, Problem> {
    let mut keyed: Vec<(String, T)> = items.map(|item| (id(&item), item)).collect();
    if let Some(cursor) = &query.cursor {
        if !cursor.is_ascii() || !cursor.contains('_') {
            return Err(Problem::field("?cursor", "not a cursor of this list"));
        }
        keyed.retain(|(id, _)| id < cursor);
    }
    keyed.sort_by(|(a, _), (b, _)| b.cmp(a));
    let more = keyed.len() > query.limit as usize;
    keyed.truncate(query.limit as usize);
    let next_cursor = keyed.last().filter(|_| more).map(|(id, _)| id.clone());
    Ok(ListView { items: keyed.into_iter().map(|(_, item)| item).collect(), next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_every_item_once() {
        let items: Vec<String> = (0..25).map(|i| format!("x_{i:02}")).collect();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = page_by(items.iter(), &ListQuery { limit: 10, cursor }, |i| (*i).clone()).unwrap();
            seen.extend(page.items.into_iter().cloned());
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let newest_first: Vec<String> = items.into_iter().rev().collect();
        assert_eq!(seen, newest_first);
    }

    #[test]
    fn a_cursor_of_something_else_is_refused() {
        let query = ListQuery { limit: 1, cursor: Some("17".into()) };
        assert!(page_by(["x_1"].iter(), &query, |i| (*i).to_string()).is_err());
    }
}
