//! Who may call and who is watched: operators, licences, keys, sources – one shared, read-only value.
//!
//! Readers take the current [`Directory`] without a lock; the spine replaces it when a committed event
//! changes it, so that a revoked key is dead everywhere as soon as its event is published.

use crate::risk_levels::RiskLevels;
use crate::rule_versions::RuleVersions;
use crate::secrets::KeyRing;
use engine::rules::ruleset::RuleSet;
use models::event::Event;
use models::feed::Source;
use models::ids::{KeyId, OperatorId, OperatorNo, Seq, SourceId, SourceNo};
use models::jurisdiction::{Jurisdiction, JurisdictionNo, JurisdictionSet, Recognition};
use models::match_key::MatchKey;
use models::operator::{ApiKey, Licence, Operator};
use models::risk_model::RiskLevel;
use models::rule::RuleChanged;
use models::rule_input::{RuleInput, RuleInputStored};
use models::token::{TokenKey, TokenMaster};
use models::ts::Ts;
use ring::hmac;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A key, ready for the hot path.
pub struct KeyEntry {
    /// As stored.
    pub key: ApiKey,
    /// Digest of the secret, compared in constant time.
    pub secret_sha256: [u8; 32],
    /// Signs answers.
    pub signing: hmac::Key,
    /// Makes and opens this operator's tokens, current version first. Staff keys use operator 0.
    pub token_keys: Arc<[TokenKey]>,
    /// Opens tokens of its operator that are answered 410.
    pub retired_token_keys: Arc<[TokenKey]>,
    /// Until then the key has a tenth of its rate, microseconds: it asked about too many strangers.
    slowed_until: Arc<AtomicI64>,
}

/// What is left of the rate of a key that is slowed down.
const SLOWED: u32 = 10;

impl KeyEntry {
    /// Requests a second that it may make at `now`.
    #[must_use]
    pub fn rate_per_second(&self, now: Ts) -> u32 {
        let rate = self.key.rate_per_second;
        if self.slowed_until.load(Ordering::Relaxed) <= now.0 { rate } else { (rate / SLOWED).max(rate.min(1)) }
    }

    /// Slows the key down.
    pub fn slow_down(&self, until: Ts) {
        self.slowed_until.fetch_max(until.0, Ordering::Relaxed);
    }
}

/// Revocation of a key that is not yet committed: it is there, so that its first call finds it, and opens nothing.
pub const UNBORN: Ts = Ts(0);

/// Everything `web` must know of a caller without asking the database.
#[derive(Default, Clone)]
pub struct Directory {
    /// Jurisdictions of the deployment, by number.
    pub jurisdictions: Arc<[Jurisdiction]>,
    /// Operators.
    pub operators: HashMap<OperatorNo, Arc<Operator>>,
    /// Numbers by public id.
    pub operator_by_id: HashMap<OperatorId, OperatorNo>,
    /// Numbers by code.
    pub operator_by_code: HashMap<String, OperatorNo>,
    /// Licences of an operator.
    pub licences: HashMap<OperatorNo, Vec<Arc<Licence>>>,
    /// Keys.
    pub keys: HashMap<KeyId, Arc<KeyEntry>>,
    /// Sources.
    pub sources: HashMap<SourceId, Arc<Source>>,
    token_keys: HashMap<OperatorNo, Arc<[TokenKey]>>,
    recognitions: Vec<Recognition>,
    generations: Arc<HashMap<(OperatorNo, MatchKey), u8>>,
    rules: Arc<RuleVersions>,
    /// Levels of risk, shared by every copy.
    pub risk_levels: Arc<RiskLevels>,
}

impl Directory {
    /// Starts with the configured jurisdictions.
    pub fn new(jurisdictions: Vec<Jurisdiction>) -> Self {
        let rules = Arc::new(RuleVersions::new(&jurisdictions));
        Self { jurisdictions: jurisdictions.into(), rules, ..Self::default() }
    }

    /// The jurisdiction of an operator, or of whoever stands for all of one's operators.
    pub fn jurisdiction_of(&self, no: OperatorNo) -> Option<JurisdictionNo> {
        self.operators.get(&no).map(|operator| operator.jurisdiction).or_else(|| no.nation())
    }

    /// The jurisdiction with this number.
    pub fn jurisdiction(&self, no: JurisdictionNo) -> Option<&Jurisdiction> {
        self.jurisdictions.get(usize::from(no.0))
    }

    /// The operator with this public id, if it belongs to `jurisdiction`.
    pub fn operator(&self, id: OperatorId, jurisdiction: JurisdictionNo) -> Option<&Arc<Operator>> {
        self.operators.get(self.operator_by_id.get(&id)?).filter(|o| o.jurisdiction == jurisdiction)
    }

    /// The source with this internal number.
    pub fn source_by_no(&self, no: SourceNo) -> Option<&Arc<Source>> {
        self.sources.values().find(|s| s.source_no == no)
    }

    /// Takes in a committed event; true where it was about the directory. A key without a known signing
    /// secret (made by another process) is completed by [`Self::set_key`].
    pub fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::OperatorSet(operator) => self.set_operator(operator.clone()),
            Event::LicenceSet(licence) => self.set_licence(licence.clone()),
            Event::SourceSet(set) => self.set_source(set.source.clone()),
            Event::RecognitionSet(recognition) => self.set_recognition(*recognition),
            Event::TokenRotated { operator_no, key, generation, .. } => {
                self.set_generation(*operator_no, *key, *generation);
            }
            Event::KeySet(key) => {
                let Some(entry) = self.keys.get(&key.id) else { return true };
                if entry.key.revoked_at.is_some_and(|at| at != UNBORN) {
                    // dead is final, whatever another process wrote without knowing it
                    return true;
                }
                let entry = KeyEntry {
                    key: key.clone(),
                    secret_sha256: entry.secret_sha256,
                    signing: entry.signing.clone(),
                    token_keys: Arc::clone(&entry.token_keys),
                    slowed_until: Arc::clone(&entry.slowed_until),
                    retired_token_keys: Arc::clone(&entry.retired_token_keys),
                };
                self.keys.insert(key.id, Arc::new(entry));
            }
            _ => return false,
        }
        true
    }

    /// Adds or replaces an operator.
    pub fn set_operator(&mut self, operator: Operator) {
        self.operator_by_id.insert(operator.id, operator.operator_no);
        self.operator_by_code.insert(operator.code.clone(), operator.operator_no);
        self.operators.insert(operator.operator_no, Arc::new(operator));
    }

    /// Adds or replaces a licence.
    pub fn set_licence(&mut self, licence: Licence) {
        let list = self.licences.entry(licence.operator_no).or_default();
        list.retain(|l| l.id != licence.id);
        list.push(Arc::new(licence));
    }

    /// Adds or replaces a source.
    pub fn set_source(&mut self, source: Source) {
        self.sources.insert(source.id, Arc::new(source));
    }

    /// Adds or replaces a recognition.
    pub fn set_recognition(&mut self, recognition: Recognition) {
        let name = |r: &Recognition| (r.jurisdiction, r.recognises, r.valid_from);
        self.recognitions.retain(|known| name(known) != name(&recognition));
        self.recognitions.push(recognition);
    }

    /// The rules in force in a jurisdiction, and the event that last changed them; 0 = the standard ones.
    pub fn rules(&self, jurisdiction: JurisdictionNo) -> (Seq, Arc<RuleSet>) {
        self.rules.set(jurisdiction)
    }

    /// What an operator's rules are to hear, judged by those in force, as it is committed.
    #[must_use]
    pub fn rule_input(&self, operator_no: OperatorNo, jurisdiction: JurisdictionNo, input: RuleInput) -> Event {
        let rules_seq = self.rules(jurisdiction).0;
        Event::RuleInputStored(RuleInputStored::new((operator_no, jurisdiction), rules_seq, input))
    }

    /// The rules in force as they were behind an event.
    pub fn rules_as_of(&self, jurisdiction: JurisdictionNo, seq: Seq) -> Arc<RuleSet> {
        self.rules.set_as_of(jurisdiction, seq)
    }

    /// The level of risk of somebody with these keys, as the operators of a jurisdiction know them. None: it is unknown.
    pub fn risk_level(
        &self,
        jurisdiction: JurisdictionNo,
        keys: impl IntoIterator<Item = MatchKey>,
    ) -> Option<RiskLevel> {
        self.risk_levels.of(jurisdiction, keys)
    }

    /// The jurisdictions that have operators.
    pub fn jurisdictions_in_use(&self) -> BTreeSet<JurisdictionNo> {
        self.operators.values().map(|operator| operator.jurisdiction).collect()
    }

    /// The versions of rules, and what became of them.
    pub fn rule_versions(&self) -> &RuleVersions {
        &self.rules
    }

    /// Takes in a change of a rule; one that was heard of before changes nothing.
    pub fn change_rules(&mut self, seq: Seq, changed: &RuleChanged) {
        Arc::make_mut(&mut self.rules).apply(seq, changed);
    }

    /// Every recognition, also those that do not hold now.
    pub fn recognitions(&self) -> &[Recognition] {
        &self.recognitions
    }

    /// The jurisdictions whose exclusions bind in one at `now`: its own, and those it recognises.
    pub fn binding(&self, jurisdiction: JurisdictionNo, now: Ts) -> JurisdictionSet {
        let recognised = self.recognitions.iter().filter(|r| r.jurisdiction == jurisdiction && r.holds(now));
        recognised.fold(jurisdiction.into(), |set, r| set.with(r.recognises))
    }

    /// A token of this generation is live from now on, and no earlier one.
    pub fn set_generation(&mut self, operator: OperatorNo, key: MatchKey, generation: u8) {
        let generations = Arc::make_mut(&mut self.generations);
        let live = generations.entry((operator, key)).or_default();
        *live = generation.max(*live);
    }

    /// How many tokens of an operator were replaced.
    pub fn replaced(&self, operator: Option<OperatorNo>) -> usize {
        let no = operator.unwrap_or(OperatorNo(0));
        self.generations.keys().filter(|(known, _)| *known == no).count()
    }

    /// The live generation of an operator's token of a key. Nearly all are 0, and have no entry.
    pub fn generation(&self, operator: Option<OperatorNo>, key: MatchKey) -> u8 {
        if self.generations.is_empty() {
            return 0;
        }
        self.generations.get(&(operator.unwrap_or(OperatorNo(0)), key)).copied().unwrap_or(0)
    }

    /// Adds or replaces a key with its signing secret. False where the stored digest is not readable.
    pub fn set_key(&mut self, ring: &KeyRing, key: ApiKey, signing_secret: &[u8]) -> bool {
        let Some(secret_sha256) = unhex32(&key.secret_sha256) else { return false };
        let token_keys = self.token_keys_of(ring, key.operator_no);
        let retired_token_keys = made_of(&ring.retired_tokens, key.operator_no);
        let signing = hmac::Key::new(hmac::HMAC_SHA256, signing_secret);
        // a ring that changed makes every entry anew: who was slowed down stays so
        let slowed_until = self.keys.get(&key.id).map(|known| Arc::clone(&known.slowed_until)).unwrap_or_default();
        let entry = KeyEntry { key, secret_sha256, signing, token_keys, retired_token_keys, slowed_until };
        self.keys.insert(entry.key.id, Arc::new(entry));
        true
    }

    /// Token keys of a known operator; none before [`Self::token_keys_of`] made them.
    pub fn token_keys(&self, operator: OperatorNo) -> &[TokenKey] {
        self.token_keys.get(&operator).map_or(&[], |keys| keys)
    }

    /// Token keys of an operator (0 for staff), made once.
    pub fn token_keys_of(&mut self, ring: &KeyRing, operator: Option<OperatorNo>) -> Arc<[TokenKey]> {
        let no = operator.unwrap_or(OperatorNo(0));
        Arc::clone(self.token_keys.entry(no).or_insert_with(|| made_of(&ring.tokens, operator)))
    }

    /// Every key that ever made tokens of an operator, retired ones too: for proofs of what was answered.
    pub fn every_token_key(&self, ring: &KeyRing, operator: Option<OperatorNo>) -> Vec<TokenKey> {
        let live = self.token_keys(operator.unwrap_or(OperatorNo(0)));
        live.iter().chain(made_of(&ring.retired_tokens, operator).iter()).cloned().collect()
    }

    /// Makes every token key anew, of another ring.
    pub fn rekey(&mut self, ring: &KeyRing) {
        for (no, keys) in &mut self.token_keys {
            *keys = made_of(&ring.tokens, Some(*no));
        }
        let entries: Vec<Arc<KeyEntry>> = self.keys.values().cloned().collect();
        for entry in entries {
            let now = KeyEntry {
                key: entry.key.clone(),
                secret_sha256: entry.secret_sha256,
                signing: entry.signing.clone(),
                token_keys: self.token_keys_of(ring, entry.key.operator_no),
                retired_token_keys: made_of(&ring.retired_tokens, entry.key.operator_no),
                slowed_until: Arc::clone(&entry.slowed_until),
            };
            self.keys.insert(entry.key.id, Arc::new(now));
        }
    }
}

/// An operator's keys (0 for staff) of these masters.
fn made_of(masters: &[TokenMaster], operator: Option<OperatorNo>) -> Arc<[TokenKey]> {
    let no = operator.unwrap_or(OperatorNo(0));
    masters.iter().map(|master| master.for_operator(no.0)).collect()
}

fn unhex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}
