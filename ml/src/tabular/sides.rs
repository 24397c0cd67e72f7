//! What a table says of its rows beside their features: whose they are, at which operator, on which day.
//!
//! Three columns between id and label are known by name and are never features: [`GROUP`], [`OPERATOR`] and [`DAY`]. No
//! feature's name begins with `@`. A table without them is learnt from as if they had never been thought of.

use std::collections::HashMap;

/// Column of a pseudonym of the person; an empty cell: a row of somebody of whom there is no other.
pub const GROUP: &str = "@group";
/// Column of the operator's code; an empty cell: not said.
pub const OPERATOR: &str = "@operator";
/// Column of the day, `2026-03-01`; an empty cell: not said.
pub const DAY: &str = "@day";

/// Is it one of the columns that are not features?
pub fn is_side(name: &str) -> bool {
    [GROUP, OPERATOR, DAY].contains(&name)
}

/// One value a row where the table has the column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Number of its group.
    pub groups: Option<Vec<usize>>,
    /// Code of its operator, empty where it is not said.
    pub operators: Option<Vec<String>>,
    /// Its month, `2026-03`, empty where no day is said.
    pub months: Option<Vec<String>>,
}

impl Sides {
    /// These rows alone.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        let texts = |all: Option<&Vec<String>>| {
            all.map(|all| rows.iter().map(|row| all[*row].clone()).collect::<Vec<String>>())
        };
        Self {
            groups: self.groups.as_ref().map(|all| rows.iter().map(|row| all[*row]).collect()),
            operators: texts(self.operators.as_ref()),
            months: texts(self.months.as_ref()),
        }
    }
}

/// Numbers of groups in the order of their first rows; a row without a name is a group by itself.
pub(super) fn groups<'a>(names: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        next - 1
    };
    names.map(|name| if name.is_empty() { fresh() } else { *known.entry(name).or_insert_with(&mut fresh) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_group_and_no_name_is_nobody_elses() {
        assert_eq!(groups(["a", "b", "", "a", "", "b"].into_iter()), [0, 1, 2, 0, 3, 1]);
        let sides = Sides { groups: Some(vec![4, 5, 6]), operators: None, months: Some(vec!["x".into(); 3]) };
        let wanted = Sides { groups: Some(vec![6, 4]), operators: None, months: Some(vec!["x".into(); 2]) };
        assert_eq!(sides.select(&[2, 0]), wanted);
    }
}
