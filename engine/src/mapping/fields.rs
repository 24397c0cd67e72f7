//! Fields of the canonical record that a mapping may fill: closed sets of paths, and where each of them goes.

use models::record::{Text, WireRecord};
use serde_json::{Map, Value};

macro_rules! fields {
    ($($variant:ident = $path:literal),+ $(,)?) => {
        /// Text fields of the canonical record that a mapping may fill.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $($variant,)+
            /// Of a document.
            Document(Member),
        }

        impl Field {
            pub fn parse(path: &str) -> Option<Self> {
                match path { $($path => Some(Self::$variant),)+ _ => Member::parse(path).map(Self::Document) }
            }
        }
    };
}
fields!(
    Status = "status",
    Replaces = "replaces",
    PlayerBst = "player.bst",
    PlayerPhone = "player.phone",
    PlayerIdNumber = "player.id_number",
    PlayerIdType = "player.id_type",
    PlayerDateOfBirth = "player.date_of_birth",
    PlayerAccountRef = "player.account_ref",
    Product = "product",
    GameId = "game.id",
    GameType = "game.type",
    BetId = "bet.id",
    BetSettles = "bet.settles",
    SessionId = "session_id",
    LimitType = "limit.type",
    Licence = "licence",
    Channel = "channel",
    OutletId = "outlet_id",
    TerminalId = "terminal_id",
    DeviceId = "device_id",
    Region = "region",
    PaymentMethod = "payment.method",
    PaymentAccount = "payment.account",
);

impl Field {
    /// Puts a text there.
    pub fn set<'a>(self, wire: &mut WireRecord<'a>, text: Text<'a>) {
        let text = Some(text);
        let player = &mut wire.player;
        match self {
            Self::Status => wire.status = text,
            Self::Replaces => wire.replaces = text,
            Self::PlayerBst => player.get_or_insert_default().bst = text,
            Self::PlayerPhone => player.get_or_insert_default().phone = text,
            Self::PlayerIdNumber => player.get_or_insert_default().id_number = text,
            Self::PlayerIdType => player.get_or_insert_default().id_type = text,
            Self::PlayerDateOfBirth => player.get_or_insert_default().date_of_birth = text,
            Self::PlayerAccountRef => player.get_or_insert_default().account_ref = text,
            Self::Product => wire.product = text,
            Self::GameId => wire.game.get_or_insert_default().id = text,
            Self::GameType => wire.game.get_or_insert_default().kind = text,
            Self::BetId => wire.bet.get_or_insert_default().id = text,
            Self::BetSettles => wire.bet.get_or_insert_default().settles = text,
            Self::SessionId => wire.session_id = text,
            Self::LimitType => wire.limit.get_or_insert_default().kind = text,
            Self::Licence => wire.licence = text,
            Self::Channel => wire.channel = text,
            Self::OutletId => wire.outlet_id = text,
            Self::TerminalId => wire.terminal_id = text,
            Self::DeviceId => wire.device_id = text,
            Self::Region => wire.region = text,
            Self::PaymentMethod => wire.payment.get_or_insert_default().method = text,
            Self::PaymentAccount => wire.payment.get_or_insert_default().account = text,
            Self::Document(member) => member.set(wire, text.as_deref().unwrap_or_default()),
        }
    }
}

/// Amounts of the canonical record beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountField {
    BalanceAfter,
    LimitOld,
    LimitNew,
    InvoicePaid,
}

impl AmountField {
    pub fn parse(path: &str) -> Option<Self> {
        match path {
            "balance_after_minor" => Some(Self::BalanceAfter),
            "limit.old_minor" => Some(Self::LimitOld),
            "limit.new_minor" => Some(Self::LimitNew),
            "invoice.paid_minor" => Some(Self::InvoicePaid),
            _ => None,
        }
    }

    /// Puts an amount there, minor units.
    pub fn set(self, wire: &mut WireRecord<'_>, minor: i64) {
        match self {
            Self::BalanceAfter => wire.balance_after_minor = Some(minor),
            Self::LimitOld => wire.limit.get_or_insert_default().old_minor = Some(minor),
            Self::LimitNew => wire.limit.get_or_insert_default().new_minor = Some(minor),
            Self::InvoicePaid => put(&mut wire.invoice, "paid_minor", minor.into()),
        }
    }
}

/// How a text becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Text,
    /// A whole number; what is none stays a text, and is refused at the door.
    Whole,
    /// A list, cut at any of these.
    List(&'static [char]),
    /// What products give back to players, parts per million, and the largest win behind a slash: `slots 940000/5000;
    /// poker 970000`. What is not written so stays a text, and is refused at the door.
    Returns,
}

/// A member of a document's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    object: &'static str,
    name: &'static str,
    form: As,
}

/// Conditions are sentences, which hold commas.
const SENTENCES: &[char] = &[';', '|'];
const NAMES: &[char] = &[';', '|', ','];

const MEMBERS: &[(&str, &str, As)] = &[
    ("licence_status", "number", As::Text),
    ("licence_status", "licence_class", As::Text),
    ("licence_status", "products", As::List(NAMES)),
    ("licence_status", "valid_from", As::Text),
    ("licence_status", "valid_to", As::Text),
    ("licence_status", "state", As::Text),
    ("licence_status", "compliance", As::Text),
    ("licence_status", "conditions", As::List(SENTENCES)),
    ("licence_status", "channels", As::List(NAMES)),
    ("licence_status", "return_to_player", As::Returns),
    ("invoice", "number", As::Text),
    ("invoice", "authority", As::Text),
    ("invoice", "tax", As::Text),
    ("invoice", "jurisdiction", As::Text),
    ("invoice", "period_from", As::Text),
    ("invoice", "period_to", As::Text),
    ("invoice", "due_at", As::Text),
    ("invoice", "state", As::Text),
    ("payment", "reference", As::Text),
    ("payment", "invoice", As::Text),
    ("payment", "authority", As::Text),
    ("payment", "state", As::Text),
    ("bank", "account", As::Text),
    ("bank", "statement", As::Text),
    ("bank", "line", As::Whole),
    ("bank", "direction", As::Text),
    ("bank", "value_date", As::Text),
    ("bank", "counterparty", As::Text),
    ("bank", "reference", As::Text),
];

impl Member {
    /// The member of this path, e.g. `invoice.due_at`.
    pub fn parse(path: &str) -> Option<Self> {
        let (object, name) = path.split_once('.')?;
        let found = MEMBERS.iter().find(|(o, n, _)| (*o, *n) == (object, name));
        found.map(|(object, name, form)| Self { object, name, form: *form })
    }

    /// Puts a text there.
    pub fn set(self, wire: &mut WireRecord<'_>, text: &str) {
        let value = match self.form {
            As::Text => Value::from(text),
            As::Whole => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
            As::List(at) => items(text, at).map(Value::from).collect(),
            As::Returns => returns(text).unwrap_or_else(|| Value::from(text)),
        };
        let object = match self.object {
            "licence_status" => &mut wire.licence_status,
            "invoice" => &mut wire.invoice,
            "bank" => &mut wire.bank,
            _ => {
                let payment = wire.payment.get_or_insert_default();
                let place = match self.name {
                    "reference" => &mut payment.reference,
                    "invoice" => &mut payment.invoice,
                    "authority" => &mut payment.authority,
                    _ => &mut payment.state,
                };
                *place = Some(Box::new(value));
                return;
            }
        };
        put(object, self.name, value);
    }
}

fn items<'t>(text: &'t str, at: &'static [char]) -> impl Iterator<Item = &'t str> {
    text.split(at).map(str::trim).filter(|item| !item.is_empty())
}

fn returns(text: &str) -> Option<Value> {
    let each = items(text, NAMES).map(|item| {
        let (product, said) = item.rsplit_once([' ', '='])?;
        let (ppm, multiple) = said.split_once('/').map_or((said, None), |(ppm, multiple)| (ppm, Some(multiple)));
        let mut value = Map::new();
        value.insert("return_ppm".to_owned(), ppm.parse::<i64>().ok()?.into());
        if let Some(multiple) = multiple {
            value.insert("multiple_max".to_owned(), multiple.parse::<i64>().ok()?.into());
        }
        Some((product.trim().to_owned(), Value::Object(value)))
    });
    each.collect::<Option<Map<String, Value>>>().map(Value::Object)
}

/// Puts a member into an object, which is made where it is not there.
fn put(object: &mut Option<Box<Value>>, name: &str, value: Value) {
    let object = object.get_or_insert_with(|| Box::new(Value::Object(Map::new())));
    if let Value::Object(members) = object.as_mut() {
        members.insert(name.to_owned(), value);
    }
}
