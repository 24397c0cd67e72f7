//! What is said of licences and of the operator in a story: by documents of an authority, and entered by the regulator.

use super::{Heard, Story, minute};
use crate::ingest::id_digest;
use models::document_records::{Compliance, Document, LicenceStanding, LicenceStatus};
use models::ids::{LicenceId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::operator::{Licence, LicenceState, LicensedReturn, OperatorState};
use models::record::{PlayChannel, Product, RecordKind};
use models::ts::Ts;

impl Story {
    /// The next licence ends at that minute.
    pub fn valid_to(mut self, n: i64) -> Self {
        self.valid_to = Some(minute(n));
        self
    }

    /// The next licence names these products.
    pub fn licensed(mut self, products: &[&str]) -> Self {
        self.products = products.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The next licence has a condition more.
    pub fn condition(mut self, text: &str) -> Self {
        self.conditions.push(text.to_owned());
        self
    }

    /// The next licence names these channels.
    pub fn over(mut self, channels: &[&str]) -> Self {
        self.channels = Some(channels.iter().map(|name| PlayChannel::parse(name).unwrap()).collect());
        self
    }

    /// The next licence says what a product gives back, parts per million, and its largest win.
    pub fn returning(mut self, product: &str, return_ppm: i64, multiple_max: Option<i64>) -> Self {
        let product = Product::parse(product).unwrap();
        self.returns.get_or_insert_default().insert(product, LicensedReturn { return_ppm, multiple_max });
        self
    }

    fn names_licence(&mut self, number: &str) {
        self.names.push((format!("licence {number}"), u128::from(id_digest(number))));
    }

    /// An authority says so.
    pub fn licence(mut self, number: &str, state: LicenceStanding, compliance: Compliance) -> Self {
        self.names_licence(number);
        let status = LicenceStatus {
            number: number.to_owned(),
            licence_class: None,
            products: std::mem::take(&mut self.products),
            valid_from: None,
            valid_to: self.valid_to.take(),
            state,
            compliance,
            conditions: std::mem::take(&mut self.conditions),
            channels: self.channels.take(),
            return_to_player: self.returns.take(),
        };
        self.document(RecordKind::LicenceStatus, 0, &Document::LicenceStatus(status))
    }

    /// The regulator enters it.
    pub fn entered(mut self, number: &str, state: LicenceState) -> Self {
        self.names_licence(number);
        let licence = Licence {
            id: LicenceId(1),
            operator_no: OperatorNo(1),
            number: number.to_owned(),
            class: "online".to_owned(),
            jurisdiction: JurisdictionNo(0),
            products: std::mem::take(&mut self.products),
            conditions: std::mem::take(&mut self.conditions),
            channels: self.channels.take().unwrap_or_default(),
            return_to_player: self.returns.take().unwrap_or_default(),
            valid_from: Ts(0),
            valid_to: self.valid_to.take(),
            state,
        };
        let at = self.now;
        self.tell(Heard::Licence(at, Box::new(licence)))
    }

    /// The regulator suspends or closes the operator, or lets it trade again.
    pub fn operator_is(self, state: OperatorState) -> Self {
        let at = self.now;
        self.tell(Heard::OperatorState(at, state))
    }
}
