//! A question: who asks, about whom, what for – and what the register says.

use actors::api::{NodeFreshness, NodeState};
use actors::directory::{Directory, KeyEntry};
use actors::evidence::FurtherKeys;
use engine::register::index::{LookupKey, Verdict};
use models::evidence::{Basis, Credential, LookupRecord, Route, Row, Subject};
use models::exclusion::{Period, Status};
use models::lookup::{Decision, Purpose, decide};
use models::match_key::{DigestKeys, KeyKind, MatchKey, OpaqueKind};
use models::operator::Scope;
use models::phone::Country;
use models::risk_model::RiskLevel;
use models::token::{self, Token, TokenError};
use models::ts::{MINUTE, Ts};

use super::answer::{ExclusionPart, LookupAnswer, MatchPart};
use super::wire::{Identity, Names, REFERENCE_CHARS_MAX, WireLookup};
use crate::parse::{Fields, Text, is_date, wire};
use crate::problem::{Code, FieldError, Problem};
use crate::state::AppState;

/// Names of one person at most.
const NAMES_MAX: usize = 10;
/// Longest name, characters.
const NAME_CHARS_MAX: usize = 100;
/// How long an answer stands, microseconds: 15 minutes after what it is based on.
pub const VALID_MICROS: i64 = 15 * MINUTE;

/// Who asks, for as long as a request takes.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The key.
    pub entry: &'a KeyEntry,
    /// Whom the node knew when it was let in.
    pub directory: &'a Directory,
    /// When it was let in.
    pub now: Ts,
}

impl Asker<'_> {
    /// Who asks, as the evidence keeps it.
    #[must_use]
    pub fn credential(&self) -> Credential {
        let key = &self.entry.key;
        Credential { key: key.id, operator_no: key.operator_no, jurisdiction: key.jurisdiction }
    }

    /// 403 unless the key has the scope.
    ///
    /// # Errors
    /// [`Code::Forbidden`].
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if crate::extractors::holds(self.entry, scope) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, format!("the key has not the scope {}", scope.as_str())))
    }

    /// Which country numbers without a code are of.
    ///
    /// # Errors
    /// The jurisdiction of the key is not configured.
    pub fn country(&self) -> Result<Country, Problem> {
        let known = self.directory.jurisdiction(self.entry.key.jurisdiction).map(|j| j.country);
        known.ok_or_else(|| Problem::new(Code::NotReady, "the jurisdiction of the key is not configured"))
    }

    /// 403 where the key has a list of purposes and this is none of them.
    ///
    /// # Errors
    /// [`Code::PurposeNotAllowed`].
    pub fn may_ask_for(&self, purpose: Purpose) -> Result<(), Problem> {
        let allowed = &self.entry.key.purposes;
        if allowed.is_empty() || allowed.contains(&purpose) {
            return Ok(());
        }
        Err(Problem::new(Code::PurposeNotAllowed, "the key has a list of purposes, and this is none of them"))
    }
}

/// What a node must be to answer for a purpose.
///
/// # Errors
/// 503 where the register may not be asked.
pub fn require_fresh(fresh: NodeFreshness, purpose: Purpose) -> Result<NodeFreshness, Problem> {
    match fresh.state {
        NodeState::Fresh => Ok(fresh),
        NodeState::Degraded if !purpose.needs_a_fresh_node() => Ok(fresh),
        NodeState::Degraded => Err(Problem::new(Code::Degraded, "registration and marketing need a fresh register")),
        NodeState::Loading => Err(Problem::new(Code::NotReady, "the register is loading")),
        NodeState::Stale => Err(Problem::new(Code::NotReady, "the register is older than 15 minutes")),
    }
}

/// A lookup, parsed and digested.
pub(crate) struct Question<'a> {
    keys: [Option<LookupKey>; 3],
    /// Keyed digest of the reference; 0 = none.
    reference_digest: u64,
    /// What for.
    pub purpose: Purpose,
    reference: Option<Text<'a>>,
}

impl<'a> Question<'a> {
    /// A single lookup: its purpose is its own.
    pub fn read(asker: &Asker<'_>, state: &AppState, sent: WireLookup<'a>) -> Result<Self, Problem> {
        let country = asker.country()?;
        let mut fields = Fields::default();
        let purpose = fields.known("/purpose", sent.purpose.as_deref(), wire::<Purpose>);
        let identity = sent.check(&mut fields, country);
        let purpose = fields.finish(purpose)?;
        refuse_in_sandbox(state, &identity, country)?;
        let (keys, reference_digest) = digest_all(asker, state, &identity, sent.client_reference.as_deref())?;
        asker.may_ask_for(purpose)?;
        Ok(Self { keys, reference_digest, purpose, reference: sent.client_reference })
    }

    /// A row of a batch: the purpose is the batch's.
    pub fn row(
        asker: &Asker<'_>,
        state: &AppState,
        country: Country,
        purpose: Purpose,
        sent: WireLookup<'a>,
    ) -> Result<Self, Problem> {
        let mut fields = Fields::default();
        if sent.purpose.is_some() {
            fields.wrong("/purpose", "all rows have the purpose of the batch");
        }
        let identity = sent.check(&mut fields, country);
        fields.check()?;
        refuse_in_sandbox(state, &identity, country)?;
        let (keys, reference_digest) = digest_all(asker, state, &identity, sent.client_reference.as_deref())?;
        Ok(Self { keys, reference_digest, purpose, reference: sent.client_reference })
    }

    /// The strongest identifier of somebody who is only to be named.
    pub fn identifier(asker: &Asker<'_>, state: &AppState, sent: &WireLookup<'_>) -> Result<LookupKey, Problem> {
        Self::identifiers(asker, state, sent)?.first().copied().ok_or_else(no_key)
    }

    /// Every identifier of somebody who is only to be named, documents first.
    pub fn identifiers(asker: &Asker<'_>, state: &AppState, sent: &WireLookup<'_>) -> Result<Vec<LookupKey>, Problem> {
        let mut fields = Fields::default();
        if sent.purpose.is_some() {
            fields.wrong("/purpose", "nothing is looked up");
        }
        let identity = sent.check(&mut fields, asker.country()?);
        fields.check()?;
        let (keys, _) = digest_all(asker, state, &identity, None)?;
        let mut keys: Vec<LookupKey> = keys.into_iter().flatten().collect();
        keys.sort_by_key(|key| !key.kind.is_document());
        Ok(keys)
    }

    /// A token alone.
    pub fn token(asker: &Asker<'_>, state: &AppState, token: Token, purpose: Purpose) -> Result<Self, Problem> {
        asker.may_ask_for(purpose)?;
        let identity = Identity { phone: None, document: None, token: Some(token) };
        let (keys, reference_digest) = digest_all(asker, state, &identity, None)?;
        Ok(Self { keys, reference_digest, purpose, reference: None })
    }

    /// The keys, strongest first: at most three, at least one.
    pub fn keys(&self) -> impl Iterator<Item = &LookupKey> {
        self.keys.iter().flatten()
    }

    /// What the register says.
    pub fn ask(&self, asker: &Asker<'_>, state: &AppState) -> Result<Verdict, Problem> {
        let mut held = [LookupKey { kind: KeyKind::Phone, digest_version: 0, key: MatchKey(0) }; 3];
        let mut count = 0;
        for key in self.keys() {
            held[count] = *key;
            count += 1;
        }
        let second = u32::try_from(asker.now.seconds()).unwrap_or(u32::MAX);
        let verdict = state.engine.index().decide(
            &held[..count],
            asker.directory.binding(asker.entry.key.jurisdiction, asker.now),
            second,
        );
        // whatever the index cannot answer is no answer: 503
        verdict.map_err(|error| Problem::new(Code::NotReady, error.to_string()))
    }

    /// Whom the asker will have asked about. It needs nothing of the register, so it is done while what the register
    /// will read comes near.
    pub fn name(&self, asker: &Asker<'_>) -> Result<Name, Problem> {
        // the token of the strongest key: a document before a phone, what was supplied before what a token names
        let strongest = self.keys().find(|k| k.kind.is_document()).or_else(|| self.keys().next()).ok_or_else(no_key)?;
        let generation = |key| asker.directory.generation(asker.entry.key.operator_no, key);
        let subject = |k: &LookupKey| {
            let (kind, digest_version, key) = (k.kind, k.digest_version, k.key);
            Subject { kind, digest_version, generation: generation(key), key }
        };
        let named = subject(strongest);
        let (bst, token_key_version) = token_of(asker.entry, *strongest, named.generation)?;
        let mut further = FurtherKeys::default();
        let others = self.keys().filter(|key| *key != strongest);
        further.iter_mut().zip(others).for_each(|(place, key)| *place = Some(subject(key)));
        Ok(Name { bst, token_key_version, subject: named, further })
    }

    /// What an answer says, and its record of evidence.
    pub fn conclude(
        &self,
        asker: &Asker<'_>,
        name: Name,
        verdict: &Verdict,
        fresh: &NodeFreshness,
        route: Route,
    ) -> Conclusion {
        let Name { bst, token_key_version, subject, further } = name;
        let decision = decide(verdict.status, self.purpose);
        let row = Row {
            at: asker.now,
            credential: asker.credential(),
            basis: Basis {
                as_of: fresh.as_of,
                register_version: fresh.register_version,
                degraded: fresh.state == NodeState::Degraded,
            },
            purpose: self.purpose,
            status: verdict.status,
            decision,
            grade: verdict.grade,
            route,
            token_key_version,
            reference: self.reference_digest,
        };
        Conclusion { bst, decision, record: LookupRecord { row, subject }, further }
    }

    /// The answer as it is shown.
    pub fn view<'b>(
        &'b self,
        asker: &Asker<'_>,
        verdict: &Verdict,
        conclusion: &'b Conclusion,
        id: &'b str,
    ) -> LookupAnswer<'b> {
        let risk = crate::extractors::holds(asker.entry, Scope::RiskRead) && self.purpose != Purpose::Marketing;
        let basis = conclusion.record.row.basis;
        LookupAnswer {
            decision: conclusion.decision.as_str(),
            status: verdict.status.as_str(),
            excluded: conclusion.decision != Decision::Allow,
            bst: conclusion.bst.as_str(),
            risk_level: risk.then(|| self.risk_level(asker)),
            requires_screening: false,
            last_assessment: None,
            exclusion: (verdict.status == Status::Excluded).then(|| exclusion(verdict, risk)),
            r#match: MatchPart { grade: verdict.grade.as_str() },
            purpose: self.purpose.as_str(),
            as_of: basis.as_of,
            valid_until: basis.as_of.plus(VALID_MICROS),
            register_version: basis.register_version,
            degraded: basis.degraded,
            client_reference: self.reference.as_deref(),
            lookup_id: id,
        }
    }
}

impl Question<'_> {
    /// It stays unknown until a model version validated by the regulator is promoted and has scored the person.
    fn risk_level(&self, asker: &Asker<'_>) -> &'static str {
        let keys = self.keys().map(|key| key.key);
        let level = asker.directory.risk_level(asker.entry.key.jurisdiction, keys);
        level.map_or("unknown", RiskLevel::as_str)
    }
}

/// The asker's token of a person, and what it is made of.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bst: Token,
    token_key_version: u8,
    subject: Subject,
    further: FurtherKeys,
}

/// What is known once the register has spoken.
pub(crate) struct Conclusion {
    /// The asker's token of the person.
    pub bst: Token,
    /// What is told.
    pub decision: Decision,
    /// What is kept of it.
    pub record: LookupRecord,
    /// By what else was asked.
    pub further: FurtherKeys,
}

impl WireLookup<'_> {
    /// Everything but the purpose.
    fn check(&self, fields: &mut Fields, country: Country) -> Identity {
        if self.date_of_birth.as_deref().is_some_and(|date| !is_date(date)) {
            fields.wrong("/date_of_birth", "not a date of the form YYYY-MM-DD");
        }
        let names = match &self.names {
            Some(Names::Several(names)) => names.as_slice(),
            Some(Names::One(name)) => std::slice::from_ref(name),
            None => &[],
        };
        if names.len() > NAMES_MAX || names.iter().any(|name| name.chars().count() > NAME_CHARS_MAX) {
            fields.wrong("/names", "more than 10 names, or one longer than 100 characters");
        }
        if self.check_type.as_deref().is_some_and(|t| t != "exclusion") {
            fields.wrong("/check_type", "only exclusion can be checked");
        }
        if self.client_reference.as_deref().is_some_and(|t| t.chars().count() > REFERENCE_CHARS_MAX) {
            fields.wrong("/client_reference", "longer than 64 characters");
        }
        self.identity(fields, country)
    }
}

fn no_key() -> Problem {
    Problem::new(Code::Internal, "there is no key to make a token of")
}

/// The token of a key that its caller gets now, and the version of the key it is made with.
pub(crate) fn token_of(entry: &KeyEntry, key: LookupKey, generation: u8) -> Result<(Token, u8), Problem> {
    let current = entry.token_keys.first().ok_or_else(no_key)?;
    let made = token::encode(current, key.kind, key.digest_version, generation, key.key);
    Ok((made.map_err(|_| no_key())?, current.version()))
}

fn refuse_in_sandbox(state: &AppState, identity: &Identity, country: Country) -> Result<(), Problem> {
    if !state.options.sandbox {
        return Ok(());
    }
    crate::sandbox::refuse(identity.phone.as_ref(), identity.document.as_ref(), country)
}

/// Everything that is digested, under the keys of one moment.
fn digest_all(
    asker: &Asker<'_>,
    state: &AppState,
    identity: &Identity,
    reference: Option<&str>,
) -> Result<([Option<LookupKey>; 3], u64), Problem> {
    let ring = state.engine.keys();
    let (digests, family) = (&ring.digest, state.options.family.as_str());
    let digest_version = digests.current().version();
    let key = |kind, key| LookupKey { kind, digest_version, key };
    let opened = identity.token.as_ref().map(|token| open(asker, digests, token)).transpose()?;
    let document = identity.document.as_ref().map(|d| key(KeyKind::from(d.kind()), digests.document(family, d)));
    let phone = identity.phone.as_ref().map(|p| key(KeyKind::Phone, digests.phone(family, p)));
    for key in [&document, &opened, &phone].into_iter().flatten() {
        state.engine.index().prefetch(key.key);
    }
    let reference = reference.map_or(0, |text| digests.opaque(family, OpaqueKind::Reference, text.as_bytes()).tag64());
    Ok(([document, opened, phone], reference))
}

/// The key of a token: not ours is 422, no longer live 410.
fn open(asker: &Asker<'_>, digests: &DigestKeys, token: &Token) -> Result<LookupKey, Problem> {
    let (opened, live) = open_any(asker, digests, token)?;
    if !live {
        let errors = vec![FieldError { pointer: "/bst".into(), detail: "no longer live".into() }];
        return Err(Problem {
            errors,
            ..Problem::new(Code::TokenNotLive, "look the person up by document or phone for a new token")
        });
    }
    Ok(LookupKey { kind: opened.kind, digest_version: opened.digest_version, key: opened.key })
}

/// A token of the asker's own, of whatever version and generation; and whether these are still taken.
pub(crate) fn open_any(
    asker: &Asker<'_>,
    digests: &DigestKeys,
    token: &Token,
) -> Result<(token::Opened, bool), TokenError> {
    let (opened, made_by_live) = match token::open(&asker.entry.token_keys, token) {
        Ok(opened) => (opened, true),
        Err(TokenError::Unknown) => (token::open(&asker.entry.retired_token_keys, token)?, false),
        Err(error) => return Err(error),
    };
    let version = digests.version(opened.digest_version).is_some();
    let generation = asker.directory.generation(asker.entry.key.operator_no, opened.key);
    Ok((opened, made_by_live && version && opened.generation == generation))
}

fn exclusion(verdict: &Verdict, risk: bool) -> ExclusionPart {
    let second = |s: u32| (s != 0).then(|| Ts(i64::from(s) * models::ts::SECOND));
    ExclusionPart {
        effective_at: verdict.informative.and_then(|i| second(i.effective_second)),
        ends_at: second(verdict.lapse_second).filter(|_| risk),
        period: verdict.informative.and_then(|i| Period::from_code(i.period_code)).filter(|_| risk).map(Period::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_decides_who_is_answered() {
        let table = [
            (NodeState::Fresh, Purpose::Registration, None),
            (NodeState::Fresh, Purpose::Marketing, None),
            (NodeState::Degraded, Purpose::Login, None),
            (NodeState::Degraded, Purpose::Withdrawal, None),
            (NodeState::Degraded, Purpose::Registration, Some(Code::Degraded)),
            (NodeState::Degraded, Purpose::Marketing, Some(Code::Degraded)),
            (NodeState::Stale, Purpose::Login, Some(Code::NotReady)),
            (NodeState::Loading, Purpose::Withdrawal, Some(Code::NotReady)),
        ];
        for (state, purpose, refused) in table {
            let fresh = NodeFreshness { state, as_of: Ts(0), register_version: 1 };
            let got = require_fresh(fresh, purpose).err().map(|p| p.code);
            assert_eq!(got, refused, "{state:?} {}", purpose.as_str());
            assert!(got.is_none_or(|code| code.status() == 503));
        }
    }
}
