//! Parameters of rules: typed, bounded, with unit and source, read from JSON.

use crate::rules::declared_revenue_differs::Tax;
use crate::rules::licence_lapsed::Forbids;
use crate::rules::return_to_player_off::Return;
use models::money::Currency;
use models::record::Product;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Items of a parameter that is a list or a map, at most.
pub const ITEMS_MAX: usize = 64;

/// What a parameter is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamAbout {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Where nothing is said.
    pub default: serde_json::Value,
    /// The smallest number allowed; of lists and maps that of each number in them.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// Where the default comes from.
    pub source: &'static str,
}

/// Why parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// Not the rule's parameters: an unknown name or another type.
    #[error("not the parameters of the rule {rule}: {what}")]
    Shape {
        /// Rule.
        rule: &'static str,
        /// What the reader says.
        what: String,
    },
    /// Out of bounds.
    #[error("{name} of the rule {rule} must be from {min} to {max} {unit}")]
    Bounds {
        /// Rule.
        rule: &'static str,
        /// Parameter.
        name: &'static str,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// Unit.
        unit: &'static str,
    },
    /// Two of them do not go together.
    #[error("parameters of the rule {rule}: {what}")]
    Incoherent {
        /// Rule.
        rule: &'static str,
        /// What does not go together.
        what: &'static str,
    },
}

/// A value that has bounds.
pub trait Bounded {
    /// Is every number in it within them?
    fn is_within(&self, min: i64, max: i64) -> bool;
}

impl Bounded for i64 {
    fn is_within(&self, min: i64, max: i64) -> bool {
        (min..=max).contains(self)
    }
}

impl Bounded for bool {
    fn is_within(&self, _: i64, _: i64) -> bool {
        true
    }
}

impl Bounded for Currency {
    fn is_within(&self, _: i64, _: i64) -> bool {
        true
    }
}

impl<T: Bounded> Bounded for Vec<T> {
    fn is_within(&self, min: i64, max: i64) -> bool {
        self.len() <= ITEMS_MAX && self.iter().all(|item| item.is_within(min, max))
    }
}

impl Bounded for Forbids {
    fn is_within(&self, _: i64, _: i64) -> bool {
        true
    }
}

impl Bounded for BTreeMap<Product, Return> {
    fn is_within(&self, min: i64, max: i64) -> bool {
        self.values().all(|r| r.return_ppm.is_within(min, max) && r.multiple_max.is_within(min, max))
    }
}

impl Bounded for BTreeMap<String, Tax> {
    fn is_within(&self, min: i64, max: i64) -> bool {
        self.len() <= ITEMS_MAX && self.values().all(|tax| tax.rate_ppm.is_within(min, max))
    }
}

/// The parameters of a rule.
pub trait Params: Default + Clone + PartialEq + Serialize + DeserializeOwned {
    /// What each is.
    fn about() -> Vec<ParamAbout>;

    /// The first that is out of its bounds.
    fn out_of_bounds(&self) -> Option<ParamAbout>;

    /// Do they go together?
    ///
    /// # Errors
    /// What does not.
    fn coherent(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Reads parameters; where there are none the defaults hold.
///
/// # Errors
/// [`ParamsError`]
pub fn read<P: Params>(rule: &'static str, json: &serde_json::Value) -> Result<P, ParamsError> {
    let empty = serde_json::Value::Object(serde_json::Map::new());
    let json = if json.is_null() { &empty } else { json };
    let params = P::deserialize(json).map_err(|error| ParamsError::Shape { rule, what: error.to_string() })?;
    if let Some(ParamAbout { name, min, max, unit, .. }) = params.out_of_bounds() {
        return Err(ParamsError::Bounds { rule, name, min, max, unit });
    }
    params.coherent().map_err(|what| ParamsError::Incoherent { rule, what })?;
    Ok(params)
}

/// `name: type = default, "unit", min..=max, "source";` makes the struct, its defaults, its bounds and its description.
/// A last block may say what must go together.
macro_rules! params {
    (
        $($(#[doc = $what:literal])+ $name:ident: $type:ty = $default:expr, $unit:literal, $min:literal..=$max:literal, $source:literal;)*
        $(coherent($self:ident) $coherent:block)?
    ) => {
        /// Parameters.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Params { $($(#[doc = $what])+ pub $name: $type,)* }

        impl Default for Params {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl crate::rules::params::Params for Params {
            fn about() -> Vec<crate::rules::params::ParamAbout> {
                let params = Self::default();
                let default = serde_json::to_value(&params).unwrap_or_default();
                vec![$(crate::rules::params::ParamAbout {
                    name: stringify!($name),
                    what: concat!($($what),+).trim_ascii(),
                    unit: $unit,
                    default: default[stringify!($name)].clone(),
                    min: $min,
                    max: $max,
                    source: $source,
                },)*]
            }

            fn out_of_bounds(&self) -> Option<crate::rules::params::ParamAbout> {
                let names = [$((stringify!($name), crate::rules::params::Bounded::is_within(&self.$name, $min, $max)),)*];
                let (name, _) = names.into_iter().find(|(_, is_within)| !is_within)?;
                Self::about().into_iter().find(|about| about.name == name)
            }

            $(fn coherent(&$self) -> Result<(), &'static str> $coherent)?
        }
    };
}
pub(crate) use params;
