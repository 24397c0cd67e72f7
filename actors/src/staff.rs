//! Commands about the directory: operators, licences, keys, sources. Rare, so one at a time.

use crate::api::{
    CreatedSource, EngineError, IdempotencyKey, IssuedKey, NewKey, NewOperator, NewSource, OperatorChange, SourceChange,
};
use crate::directory::{Directory, UNBORN};
use crate::idempotency;
use crate::register::{commit_error, new_id, unavailable};
use crate::secrets::{self, Keys, hex};
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use models::event::Event;
use models::feed::{ReaderSettings, Schedule, Source, SourceKind, SourceSet};
use models::ids::{KeyId, LicenceId, OperatorId, OperatorNo, SourceId, SourceNo};
use models::jurisdiction::Recognition;
use models::money::Currency;
use models::operator::{ApiKey, Licence, Operator, OperatorState, Scope};
use models::rule_input::RuleInput;
use models::token::{GENERATION_MAX, Opened};
use models::ts::{MINUTE, SECOND, Ts};
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Attachment, Clock, Store};
use tokio::sync::{Mutex, Semaphore};

/// Operators at most: their numbers are 16 bits, 0 is staff.
pub const OPERATORS_MAX: u16 = u16::MAX;
/// Sources an operator may have at most.
pub const SOURCES_PER_OPERATOR_MAX: usize = 256;
/// Currencies of its sources at most: each has windows of its own.
pub const CURRENCIES_PER_OPERATOR_MAX: usize = 8;
/// Replacements of tokens under way at most.
const TOKENS_WAITING_MAX: usize = 64;
/// Replaced tokens of an operator at most: whoever has lost more needs another token key.
pub const TOKENS_REPLACED_MAX: usize = 10_000;
/// Recognitions at most, past ones too.
pub const RECOGNITIONS_MAX: usize = 1_000;
/// Requests a second that a key may have at most.
pub const RATE_MAX: u32 = 100_000;
/// How far the clock may have been set back, or another node's be ahead, without that entries of the regulator wait for it.
const CLOCK_BACK_MAX: i64 = MINUTE;

/// Decides and commits directory commands.
pub struct Staff {
    store: Store,
    writer: WriterHandle,
    keys: Keys,
    directory: Arc<ArcSwap<Directory>>,
    /// Next free numbers of operators and sources.
    next: Mutex<(u16, u32)>,
    /// Tokens are replaced one after the other, and nobody else waits for it.
    tokens: Mutex<()>,
    /// Of these, how many may wait.
    tokens_waiting: Semaphore,
    /// How bearers of new keys begin.
    key_prefix: &'static str,
}

fn invalid(pointer: &'static str, detail: &str) -> EngineError {
    EngineError::Invalid { pointer, detail: detail.to_owned() }
}

/// What is expected of a source under another schedule; none where what is expected was not its schedule's.
fn follows(source: &Source, schedule: Option<&Schedule>) -> Option<u32> {
    let before = source.schedule.as_ref()?.expected_interval_seconds();
    schedule.filter(|_| source.expected_interval_seconds == before).map(Schedule::expected_interval_seconds)
}

fn is_code(text: &str) -> bool {
    (2..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(char::is_control)
}

impl Staff {
    /// `next` are the first free numbers of operators and sources; bearers of new keys begin with `key_prefix`.
    pub fn new(
        store: Store,
        writer: WriterHandle,
        keys: Keys,
        directory: Arc<ArcSwap<Directory>>,
        next: (u16, u32),
        key_prefix: &'static str,
    ) -> Self {
        Self {
            store,
            writer,
            keys,
            directory,
            next: Mutex::new(next),
            tokens: Mutex::default(),
            tokens_waiting: Semaphore::new(TOKENS_WAITING_MAX),
            key_prefix,
        }
    }

    async fn commit(&self, event: Event, attachments: Vec<Attachment>) -> Result<(), EngineError> {
        self.commit_all(vec![event], attachments).await
    }

    async fn commit_all(&self, events: Vec<Event>, attachments: Vec<Attachment>) -> Result<(), EngineError> {
        self.writer.commit(events, attachments).await.map(|_| ()).map_err(commit_error)
    }

    /// Puts an operator under supervision.
    pub async fn create_operator(
        &self,
        new: NewOperator,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<Operator, EngineError> {
        if !is_code(&new.code) {
            return Err(invalid("/code", "not 2 to 40 of a-z, 0-9 and -"));
        }
        if !is_name(&new.name) {
            return Err(invalid("/name", "empty, longer than 200 bytes, or with control characters"));
        }
        let mut next = self.next.lock().await;
        if let Some(earlier) = idempotency::earlier(&self.store, idempotency.as_ref(), now).await? {
            let id: OperatorId = earlier.result_id.parse().map_err(|_| EngineError::NotFound("operator"))?;
            let directory = self.directory.load();
            return directory
                .operator(id, new.jurisdiction)
                .map(|o| Operator::clone(o))
                .ok_or(EngineError::Unavailable("what the first request has made"));
        }
        if self.directory.load().operator_by_code.contains_key(&new.code) {
            return Err(EngineError::Conflict("an operator with this code exists".to_owned()));
        }
        if next.0 == OPERATORS_MAX {
            return Err(EngineError::Conflict("no operator number is free".to_owned()));
        }
        // never given twice: a commit that nobody has heard of may yet be there
        let operator_no = OperatorNo(next.0);
        next.0 += 1;
        let operator = Operator {
            operator_no,
            id: OperatorId(new_id()),
            code: new.code,
            name: new.name,
            jurisdiction: new.jurisdiction,
            state: OperatorState::Active,
            registered_at: now,
            version: 1,
        };
        let attachment = idempotency::attachment(idempotency.as_ref(), 201, operator.id, now);
        self.commit(Event::OperatorSet(operator.clone()), attachment.into_iter().collect()).await?;
        Ok(operator)
    }

    /// When that holds which the regulator enters now; asked under the lock. Rules order entries by their times, the store has
    /// them as they were committed: so none is from before the one that was committed last.
    async fn entered_at(&self, clock: &dyn Clock) -> Result<Ts, EngineError> {
        let last = self.store.operator_or_licence_set_last_at().await.map_err(unavailable)?;
        let now = clock.now();
        match last {
            Some(last) if last.0.saturating_sub(now.0) > CLOCK_BACK_MAX => {
                tracing::warn!(
                    "the last operator or licence was set in the future: entries from now on hold from now on"
                );
                Ok(now)
            }
            last => Ok(last.map_or(now, |last| last.max(now))),
        }
    }

    /// Changes an operator, if it still is what the caller saw. Its rules hear in the same commit whether it may trade.
    pub async fn change_operator(
        &self,
        no: OperatorNo,
        change: OperatorChange,
        idempotency: Option<IdempotencyKey>,
        clock: &dyn Clock,
    ) -> Result<Operator, EngineError> {
        let _one_at_a_time = self.next.lock().await;
        let now = self.entered_at(clock).await?;
        let current = self.operator(no)?;
        if idempotency::earlier(&self.store, idempotency.as_ref(), now).await?.is_some() {
            return Ok(Operator::clone(&current));
        }
        if change.expected_version.is_some_and(|version| version != current.version) {
            return Err(EngineError::Stale);
        }
        if change.name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(invalid("/name", "empty, longer than 200 bytes, or with control characters"));
        }
        let changed = Operator {
            name: change.name.unwrap_or_else(|| current.name.clone()),
            state: change.state.unwrap_or(current.state),
            version: current.version + 1,
            ..Operator::clone(&current)
        };
        if (changed.name == current.name) && (changed.state == current.state) {
            return Ok(Operator::clone(&current));
        }
        let mut events = vec![Event::OperatorSet(changed.clone())];
        if changed.state != current.state {
            let input = RuleInput::OperatorState { at: now, state: changed.state };
            events.push(self.directory.load().rule_input(no, changed.jurisdiction, input));
        }
        let attachment = idempotency::attachment(idempotency.as_ref(), 200, changed.id, now);
        self.commit_all(events, attachment.into_iter().collect()).await?;
        Ok(changed)
    }

    fn operator(&self, no: OperatorNo) -> Result<Arc<Operator>, EngineError> {
        self.directory.load().operators.get(&no).cloned().ok_or(EngineError::NotFound("operator"))
    }

    /// Adds or changes a licence; one with the same number is replaced. The operator's rules hear of it in the same commit.
    pub async fn set_licence(
        &self,
        mut licence: Licence,
        idempotency: Option<IdempotencyKey>,
        clock: &dyn Clock,
    ) -> Result<Licence, EngineError> {
        let _one_at_a_time = self.next.lock().await;
        let now = self.entered_at(clock).await?;
        let operator = self.operator(licence.operator_no)?;
        if let Some(earlier) = idempotency::earlier(&self.store, idempotency.as_ref(), now).await? {
            let directory = self.directory.load();
            let held = directory.licences.get(&licence.operator_no).map(Vec::as_slice).unwrap_or_default();
            let known = held.iter().find(|l| l.id.to_string() == earlier.result_id).map(|l| Licence::clone(l));
            return known.ok_or(EngineError::Unavailable("what the first request has made"));
        }
        if licence.jurisdiction != operator.jurisdiction {
            return Err(invalid("/jurisdiction", "not the operator's"));
        }
        if !is_name(&licence.number) {
            return Err(invalid("/number", "empty, longer than 200 bytes, or with control characters"));
        }
        if licence.valid_to.is_some_and(|to| to <= licence.valid_from) {
            return Err(invalid("/valid_to", "not after valid_from"));
        }
        let known = self
            .directory
            .load()
            .licences
            .get(&licence.operator_no)
            .and_then(|list| list.iter().find(|l| l.number == licence.number).map(|l| l.id));
        licence.id = known.unwrap_or_else(|| LicenceId(new_id()));
        let input = RuleInput::Licence { at: now, licence: Box::new(licence.clone()) };
        let heard = self.directory.load().rule_input(licence.operator_no, licence.jurisdiction, input);
        let attachment = idempotency::attachment(idempotency.as_ref(), 200, licence.id, now);
        self.commit_all(vec![Event::LicenceSet(licence.clone()), heard], attachment.into_iter().collect()).await?;
        Ok(licence)
    }

    /// Makes a key; its secrets are in the answer and nowhere else.
    pub async fn create_key(
        &self,
        new: NewKey,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<IssuedKey, EngineError> {
        self.check_key(&new, now)?;
        let key = ApiKey {
            id: KeyId(new_id()),
            operator_no: new.operator,
            jurisdiction: new.jurisdiction,
            label: new.label,
            secret_sha256: String::new(),
            scopes: new.scopes,
            purposes: new.purposes,
            allow_from: new.allow_from,
            rate_per_second: new.rate_per_second,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            rotated_from: None,
        };
        self.issue(key, Vec::new(), idempotency, now).await
    }

    fn check_key(&self, new: &NewKey, now: Ts) -> Result<(), EngineError> {
        if !is_name(&new.label) {
            return Err(invalid("/label", "empty, longer than 200 bytes, or with control characters"));
        }
        if new.scopes.is_empty() {
            return Err(invalid("/scopes", "none"));
        }
        if new.operator.is_some() && !new.scopes.iter().copied().all(Scope::for_operators) {
            return Err(invalid("/scopes", "one of them is for staff and tools only"));
        }
        if let Some(no) = new.operator {
            let operator = self.operator(no)?;
            if operator.jurisdiction != new.jurisdiction {
                return Err(EngineError::NotFound("operator"));
            }
        }
        if !(1..=RATE_MAX).contains(&new.rate_per_second) {
            return Err(invalid("/rate_per_second", "not from 1 to 100000"));
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(invalid("/expires_at", "not in the future"));
        }
        Ok(())
    }

    /// Secrets are in one answer only: a repeated request hears which key it has made, and no secret.
    async fn refuse_repeated(&self, idempotency: Option<&IdempotencyKey>, now: Ts) -> Result<(), EngineError> {
        let Some(earlier) = idempotency::earlier(&self.store, idempotency, now).await? else { return Ok(()) };
        let made = format!("this request has made {}, whose secrets were shown once", earlier.result_id);
        Err(EngineError::Conflict(made))
    }

    async fn issue(
        &self,
        mut key: ApiKey,
        mut events: Vec<Event>,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<IssuedKey, EngineError> {
        self.refuse_repeated(idempotency.as_ref(), now).await?;
        let random = || secrets::random::<32>().map_err(|_| EngineError::Unavailable("randomness"));
        let (secret, signing) = (hex(&random()?), random()?);
        key.secret_sha256 = hex(digest(&SHA256, secret.as_bytes()).as_ref());
        let ring = self.keys.hold();
        let sealed =
            ring.seal(&key.id.0.to_be_bytes(), &signing).map_err(|_| EngineError::Unavailable("the vault key"))?;
        // before the event is published, so that the first call with the key finds its signing secret
        self.directory.rcu(|old| {
            let mut new = Directory::clone(old);
            let unborn = ApiKey { revoked_at: Some(UNBORN), ..key.clone() };
            new.set_key(&self.keys.load(), unborn, &signing);
            new
        });
        let mut attachments = vec![Attachment::KeySecret { key_id: key.id, sealed }];
        attachments.extend(idempotency::attachment(idempotency.as_ref(), 201, key.id, now));
        events.push(Event::KeySet(key.clone()));
        if let Err(error) = self.writer.commit_in(ring.epoch, events, attachments).await.map_err(commit_error) {
            self.directory.rcu(|old| {
                let mut new = Directory::clone(old);
                new.keys.remove(&key.id);
                new
            });
            return Err(error);
        }
        let bearer = format!("{}{}_{secret}", self.key_prefix, key.id.to_string().trim_start_matches("key_"));
        let signing_secret = data_encoding::BASE64.encode(&signing);
        Ok(IssuedKey { key, bearer, signing_secret })
    }

    /// Follows a key with a new one; the old one lives on for the overlap.
    pub async fn rotate_key(
        &self,
        id: KeyId,
        overlap_seconds: u32,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<IssuedKey, EngineError> {
        // read, decided and committed under one lock: a rotation must not loosen what a revocation tightens
        let _one_at_a_time = self.next.lock().await;
        let old = self.directory.load().keys.get(&id).cloned().ok_or(EngineError::NotFound("key"))?;
        self.refuse_repeated(idempotency.as_ref(), now).await?;
        if !old.key.is_live(now) {
            return Err(EngineError::Conflict("the key is no longer live".to_owned()));
        }
        let key = ApiKey {
            id: KeyId(new_id()),
            created_at: now,
            rotated_from: Some(id),
            secret_sha256: String::new(),
            ..old.key.clone()
        };
        let end = now.plus(i64::from(overlap_seconds) * SECOND);
        let expires_at = Some(old.key.expires_at.map_or(end, |at| at.min(end)));
        let limited = Event::KeySet(ApiKey { expires_at, ..old.key.clone() });
        self.issue(key, vec![limited], idempotency, now).await
    }

    /// Kills a key.
    pub async fn revoke_key(&self, id: KeyId, now: Ts) -> Result<(), EngineError> {
        let _one_at_a_time = self.next.lock().await;
        let entry = self.directory.load().keys.get(&id).cloned().ok_or(EngineError::NotFound("key"))?;
        if entry.key.revoked_at.is_some() {
            return Ok(());
        }
        self.commit(Event::KeySet(ApiKey { revoked_at: Some(now), ..entry.key.clone() }), Vec::new()).await
    }

    /// Takes in an operator of another register, as it is there.
    pub async fn mirror_operator(&self, operator: Operator) -> Result<(), EngineError> {
        let mut next = self.next.lock().await;
        if self.directory.load().operators.get(&operator.operator_no).is_some_and(|known| **known == operator) {
            return Ok(());
        }
        next.0 = next.0.max(operator.operator_no.0.saturating_add(1));
        self.commit(Event::OperatorSet(operator), Vec::new()).await
    }

    /// Replaces an operator's token by one of the next generation, which it gives.
    pub async fn rotate_token(
        &self,
        operator: Option<OperatorNo>,
        token: Opened,
        reason: &'static str,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<u8, EngineError> {
        let _waits =
            self.tokens_waiting.try_acquire().map_err(|_| EngineError::Overloaded("replacements of tokens"))?;
        let _one_at_a_time = self.tokens.lock().await;
        if let Some(earlier) = idempotency::earlier(&self.store, idempotency.as_ref(), now).await? {
            let made: u8 =
                earlier.result_id.parse().map_err(|_| EngineError::Unavailable("what the first request has made"))?;
            if self.directory.load().generation(operator, token.key) != made {
                return Err(EngineError::Gone("the token that the first request has made was replaced since"));
            }
            return Ok(made);
        }
        if self.directory.load().replaced(operator) >= TOKENS_REPLACED_MAX {
            return Err(EngineError::Conflict(
                "as many tokens were replaced as can be: the regulator has to change the token key".to_owned(),
            ));
        }
        let Opened { key, digest_version, .. } = token;
        let live = self.directory.load().generation(operator, key);
        if live != token.generation {
            return Err(EngineError::Gone("the token was replaced already"));
        }
        if live >= GENERATION_MAX {
            return Err(EngineError::Conflict(
                "the token was replaced as often as it can be: the regulator has to change the token key".to_owned(),
            ));
        }
        let generation = live + 1;
        let operator_no = operator.unwrap_or(OperatorNo(0));
        let event = Event::TokenRotated { operator_no, digest_version, key, generation, reason: reason.to_owned() };
        let attachment = idempotency::attachment(idempotency.as_ref(), 201, generation, now);
        self.commit(event, attachment.into_iter().collect()).await?;
        Ok(generation)
    }

    /// Adds or changes a recognition. What held in the past stays as it was: a lookup was answered by it.
    pub async fn set_recognition(
        &self,
        new: Recognition,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<(), EngineError> {
        let _one_at_a_time = self.next.lock().await;
        if idempotency::earlier(&self.store, idempotency.as_ref(), now).await?.is_some() {
            return Ok(());
        }
        if new.jurisdiction == new.recognises {
            return Err(invalid("/recognises", "a jurisdiction's own exclusions bind in it anyway"));
        }
        if new.valid_to.is_some_and(|to| to <= new.valid_from) {
            return Err(invalid("/valid_to", "not after valid_from"));
        }
        let directory = self.directory.load_full();
        let named = |r: &&Recognition| {
            (r.jurisdiction, r.recognises, r.valid_from) == (new.jurisdiction, new.recognises, new.valid_from)
        };
        match directory.recognitions().iter().find(named) {
            Some(known) if *known == new => return Ok(()),
            Some(known) if known.valid_to.is_some_and(|to| to <= now) => {
                return Err(invalid("/valid_from", "of a recognition that is over: begin another one"));
            }
            Some(_) => {}
            None if new.valid_from < now => return Err(invalid("/valid_from", "in the past")),
            None if directory.recognitions().len() >= RECOGNITIONS_MAX => {
                return Err(EngineError::Conflict("there are as many recognitions as there may be".to_owned()));
            }
            None => {}
        }
        if new.valid_to.is_some_and(|to| to < now) {
            return Err(invalid("/valid_to", "in the past"));
        }
        let attachment = idempotency::attachment(idempotency.as_ref(), 200, new.valid_from.0, now);
        self.commit(Event::RecognitionSet(new), attachment.into_iter().collect()).await
    }

    /// Makes a source of an operator; one with the same name and settings is returned as it is.
    pub async fn create_source(
        &self,
        new: NewSource,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<CreatedSource, EngineError> {
        if !is_code(&new.name) {
            return Err(invalid("/name", "not 2 to 40 of a-z, 0-9 and -"));
        }
        if !(1..=3650).contains(&new.horizon_days) {
            return Err(invalid("/horizon_days", "not from 1 to 3650"));
        }
        let mut next = self.next.lock().await;
        self.operator(new.operator)?;
        // its name says as much, but the same key with another request is a conflict
        if let Some(earlier) = idempotency::earlier(&self.store, idempotency.as_ref(), now).await? {
            let id: SourceId = earlier.result_id.parse().map_err(|_| EngineError::NotFound("source"))?;
            let source = self.directory.load().sources.get(&id).map(|s| Source::clone(s));
            return Ok(CreatedSource {
                source: source.ok_or(EngineError::Unavailable("what the first request has made"))?,
                created: true,
            });
        }
        let twin = |s: &&Arc<Source>| s.operator_no == new.operator && s.name == new.name;
        if let Some(known) = self.directory.load().sources.values().find(twin) {
            let settings = |s: &Source| (s.clock, s.horizon_days, s.currency, s.expected_interval_seconds);
            let wanted = (new.clock, new.horizon_days, new.currency, new.expected_interval_seconds);
            let fetches_alike =
                known.reader == new.reader && known.schedule == new.schedule && known.mapping == new.mapping;
            let held_alike = known.integrity == new.integrity;
            return if settings(known) == wanted && known.class.data() == new.class && fetches_alike && held_alike {
                Ok(CreatedSource { source: Source::clone(known), created: false })
            } else {
                Err(EngineError::Conflict("a source with this name and other settings exists".to_owned()))
            };
        }
        {
            let directory = self.directory.load();
            let own: Vec<&Arc<Source>> = directory.sources.values().filter(|s| s.operator_no == new.operator).collect();
            if own.len() >= SOURCES_PER_OPERATOR_MAX {
                return Err(EngineError::Conflict("the operator has as many sources as it may".to_owned()));
            }
            let currencies: BTreeSet<Currency> = own.iter().map(|s| s.currency).chain([new.currency]).collect();
            if currencies.len() > CURRENCIES_PER_OPERATOR_MAX {
                return Err(EngineError::Conflict("the operator has as many currencies as it may".to_owned()));
            }
        }
        let source_no = SourceNo(next.1);
        next.1 += 1;
        let source = Source {
            source_no,
            id: SourceId(new_id()),
            operator_no: new.operator,
            name: new.name,
            kind: new.reader.as_ref().map_or(SourceKind::Push, ReaderSettings::kind),
            class: new.class.into(),
            clock: new.clock,
            horizon_days: new.horizon_days,
            expected_interval_seconds: new.expected_interval_seconds,
            currency: new.currency,
            created_at: now,
            reader: new.reader,
            schedule: new.schedule,
            mapping: new.mapping,
            paused: false,
            integrity: new.integrity,
        };
        let attachment = idempotency::attachment(idempotency.as_ref(), 201, source.id, now);
        self.commit(Event::SourceSet(source.clone().into()), attachment.into_iter().collect()).await?;
        Ok(CreatedSource { source, created: true })
    }

    /// Changes how a source fetches, or what its pushes are held to; `by` is whose key does so.
    pub async fn change_source(
        &self,
        id: SourceId,
        change: SourceChange,
        by: KeyId,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<Source, EngineError> {
        // one change after the other: each writes the whole source
        let _one = self.next.lock().await;
        let known = self.directory.load().sources.get(&id).cloned().ok_or(EngineError::NotFound("source"))?;
        if idempotency::earlier(&self.store, idempotency.as_ref(), now).await?.is_some() {
            return Ok(Source::clone(&known));
        }
        let of_fetching = change.paused.is_some() || change.schedule.is_some() || change.mapping.is_some();
        if known.reader.is_none() && of_fetching {
            return Err(EngineError::Conflict("records are pushed to this source".to_owned()));
        }
        if known.reader.is_some() && change.integrity.is_some() {
            return Err(EngineError::Conflict("the source fetches its records by itself".to_owned()));
        }
        let interval = change.expected_interval_seconds.or_else(|| follows(&known, change.schedule.as_ref()));
        let source = Source {
            expected_interval_seconds: interval.unwrap_or(known.expected_interval_seconds),
            paused: change.paused.unwrap_or(known.paused),
            schedule: change.schedule.or_else(|| known.schedule.clone()),
            mapping: change.mapping.unwrap_or_else(|| known.mapping.clone()),
            integrity: change.integrity.or(known.integrity),
            ..Source::clone(&known)
        };
        if source != *known {
            let attachment = idempotency::attachment(idempotency.as_ref(), 200, source.id, now);
            let set = SourceSet { source: source.clone(), by: Some(by) };
            self.commit(Event::SourceSet(set), attachment.into_iter().collect()).await?;
        }
        Ok(source)
    }
}
