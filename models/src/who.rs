//! Who did something: the name of a key, or a name that somebody typed.

use crate::ids::KeyId;
use crate::operator::ApiKey;
use serde::{Deserialize, Serialize};

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The label of the key, or what was typed.
    pub name: String,
    /// The key it was done with; none where the name was only typed, or before keys were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
}

impl Who {
    /// Somebody who typed a name: nobody has checked it.
    #[must_use]
    pub fn typed(name: impl Into<String>) -> Self {
        Self { name: name.into(), key: None }
    }

    /// Are these two names one? Space around them and capitals make no difference; no name is nobody's.
    #[must_use]
    pub fn has_name_of(&self, other: &Self) -> bool {
        let [one, other] = [self, other].map(|who| who.name.trim().to_lowercase());
        !one.is_empty() && one == other
    }
}

impl From<&ApiKey> for Who {
    fn from(key: &ApiKey) -> Self {
        Self { name: key.label.clone(), key: Some(key.id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_space_and_capitals() {
        for (one, other, is_same) in [
            ("Wanjiku", "Wanjiku", true),
            ("Wanjiku", " wanJIKU ", true),
            ("Änne", "änne", true),
            ("Wanjiku", "Otieno", false),
            ("", " ", false),
        ] {
            assert_eq!(Who::typed(one).has_name_of(&Who::typed(other)), is_same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_typed_name_is_stored_without_a_key() {
        let typed = Who::typed("Wanjiku");
        assert_eq!(serde_json::to_string(&typed).unwrap(), r#"{"name":"Wanjiku"}"#);
        let keyed = Who { key: Some(KeyId(7)), ..typed.clone() };
        for who in [typed, keyed] {
            assert_eq!(serde_json::from_str::<Who>(&serde_json::to_string(&who).unwrap()).unwrap(), who);
        }
    }
}
