//! The lane of single lookups: one worker's way from the head of a request to its answer, without middleware.
//!
//! A complete lookup is to cost little more than a handler that does nothing, and the general way (scope, extractors,
//! middleware, extensions) costs as much again. So the lane does by itself what [`crate::request_id`] does around every
//! other handler: request id, quotas, problems, metrics, the sampled log line. Everything it touches belongs to its
//! worker or is only read.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use actors::evidence::{EvidenceRefusal, EvidenceWorker};
use models::evidence::Route;
use models::ids::KeyId;
use models::operator::Scope;

use super::answer::{ANSWER_BYTES, Times, sign, write_answer};
use super::question::{Asker, Question, require_fresh};
use super::wire::WireLookup;
use crate::extractors::caller::still_valid;
use crate::extractors::{admit, body};
use crate::parse;
use crate::problem::{Code, Problem};
use crate::rate::Quotas;
use crate::request_id::{self, RequestId};
use crate::routes::RouteNo;
use crate::state::{AppState, Worker, is_test_key};
use crate::trace::{About, OnPanic};

pub(crate) static X_MLINZI_SIGNATURE: HeaderName = HeaderName::from_static("x-mlinzi-signature");

/// What one worker answers lookups with.
pub struct Lane {
    state: AppState,
    worker: Worker,
    evidence: EvidenceWorker,
    times: RefCell<Times>,
    sandbox: Option<Box<Lane>>,
    /// What the lookup under way is about: set and taken within one go, between which nobody waits.
    about: Cell<About>,
}

/// Which kind of lookup a request is.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What the key must hold.
    pub scope: Scope,
    /// What the evidence calls it.
    pub route: Route,
    /// Number of the path, for metrics and logs.
    pub path: Option<RouteNo>,
}

impl Lane {
    /// For a worker.
    pub(crate) fn new(state: AppState, worker: Worker) -> Self {
        let evidence = state.engine.evidence().worker();
        let sandbox = state.sandbox().map(|sandbox| Box::new(Self::new(sandbox.clone(), worker.clone())));
        Self { state, worker, evidence, times: RefCell::default(), sandbox, about: Cell::default() }
    }

    /// The lane that the key of a request leads to.
    fn of(&self, head: &RequestHead) -> &Self {
        match &self.sandbox {
            Some(sandbox) if is_test_key(&head.headers) => sandbox,
            _ => self,
        }
    }

    pub(crate) fn state(&self) -> &AppState {
        &self.state
    }

    /// Answers a request that is not even looked at.
    pub(crate) fn refuse(&self, head: &RequestHead, problem: Problem) -> HttpResponse {
        let id = RequestId::of(&head.headers, self.state.engine.now());
        let kind = Kind { scope: Scope::Lookup, route: Route::Single, path: None };
        self.finish(kind, head, &id, None, Err(problem), Instant::now())
    }

    /// Answers a request that carries its lookup in the body. Who may not ask has no body read.
    pub async fn answer(&self, kind: Kind, head: &RequestHead, payload: Payload) -> HttpResponse {
        let started = Instant::now();
        let this = self.of(head);
        this.answer_here(kind, head, payload, started).await
    }

    async fn answer_here(&self, kind: Kind, head: &RequestHead, payload: Payload, started: Instant) -> HttpResponse {
        let now = self.state.engine.now();
        let id = RequestId::of(&head.headers, now);
        let _watch = OnPanic(|| request_id::panicked(head, kind.path, &id, &self.state, started.elapsed()));
        let mut quotas = None;
        let admitted = {
            let directory = self.state.engine.directory();
            admit(&self.state, &directory, head, now, &mut quotas).map(|(entry, _)| entry.key.id)
        };
        let answered = match admitted {
            Err(problem) => Err(problem),
            Ok(key) => {
                let body = body::read(&head.headers, payload, self.state.options.limits.lookup_bytes).await;
                body.and_then(|body| self.decide(kind, key, head, &body))
            }
        };
        self.finish(kind, head, &id, quotas, answered, started)
    }

    /// Answers a request whose lookup is a token in its path.
    pub(crate) fn answer_token(&self, kind: Kind, req: &HttpRequest) -> HttpResponse {
        self.of(req.head()).answer_token_here(kind, req)
    }

    fn answer_token_here(&self, kind: Kind, req: &HttpRequest) -> HttpResponse {
        let started = Instant::now();
        let now = self.state.engine.now();
        let id = RequestId::of(req.headers(), now);
        let _watch = OnPanic(|| request_id::panicked(req.head(), kind.path, &id, &self.state, started.elapsed()));
        let mut quotas = None;
        let directory = self.state.engine.directory();
        let admitted = admit(&self.state, &directory, req.head(), now, &mut quotas);
        let answered = admitted.and_then(|(entry, _)| {
            self.judge(kind, &Asker { entry, directory: &directory, now }, |asker| {
                let token = req.match_info().get("bst").unwrap_or_default().parse();
                let token = token.map_err(|error: models::token::TokenError| Problem::from(error))?;
                let pairs = parse::query(req, &["purpose"])?;
                let purpose = parse::parameter(&pairs, "purpose").and_then(parse::wire);
                let purpose =
                    purpose.ok_or_else(|| Problem::field("?purpose", "one of the known purposes is needed"))?;
                Question::token(asker, &self.state, token, purpose)
                    .and_then(|question| self.ask(kind, asker, &question, b""))
            })
        });
        self.finish(kind, req.head(), &id, quotas, answered, started)
    }

    /// The key was let in before its body came: it is looked at again, and so is the clock, because a body may take its
    /// time and a key may die meanwhile.
    fn decide(&self, kind: Kind, key: KeyId, head: &RequestHead, body: &[u8]) -> Result<HttpResponse, Problem> {
        let directory = self.state.engine.directory();
        let now = self.state.engine.now();
        let dead = || Problem::new(Code::Unauthenticated, "the key is not valid");
        let entry = directory.keys.get(&key).filter(|_| still_valid(&directory, key, now)).ok_or_else(dead)?;
        self.judge(kind, &Asker { entry, directory: &directory, now }, |asker| {
            let sent: WireLookup<'_> = parse::json_body(&head.headers, body)?;
            let question = Question::read(asker, &self.state, sent)?;
            self.ask(kind, asker, &question, body)
        })
    }

    fn judge(
        &self,
        kind: Kind,
        asker: &Asker<'_>,
        act: impl FnOnce(&Asker<'_>) -> Result<HttpResponse, Problem>,
    ) -> Result<HttpResponse, Problem> {
        self.about.set(About::caller(asker.entry.key.operator_no));
        let answered = asker.require(kind.scope).and_then(|()| act(asker));
        answered.inspect_err(|problem| self.state.metrics.refused(problem.code))
    }

    fn ask(
        &self,
        kind: Kind,
        asker: &Asker<'_>,
        question: &Question<'_>,
        body: &[u8],
    ) -> Result<HttpResponse, Problem> {
        let about = About { purpose: Some(question.purpose), ..About::caller(asker.entry.key.operator_no) };
        self.about.set(about);
        let fresh = require_fresh(self.state.engine.freshness_at(asker.now), question.purpose)?;
        let named = question.name(asker)?;
        let verdict = question.ask(asker, &self.state)?;
        let conclusion = question.conclude(asker, named, &verdict, &fresh, kind.route);
        // the last thing that can fail: what is recorded is told
        let id = self.evidence.record(conclusion.record, conclusion.further).map_err(no_evidence)?.to_text();
        let answer = question.view(asker, &verdict, &conclusion, id.as_str());
        let mut out = Vec::with_capacity(ANSWER_BYTES);
        let mut times = self.times.borrow_mut();
        write_answer(&mut out, &answer, &mut times);
        let signature = sign(&asker.entry.signing, id.as_str(), answer.as_of, &mut times, body, &out);
        self.state.metrics.answered(question.purpose, conclusion.decision);
        self.about.set(About { decision: Some(conclusion.decision), ..about });
        let mut response = HttpResponse::new(actix_web::http::StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(value) = HeaderValue::try_from(signature) {
            headers.insert(X_MLINZI_SIGNATURE.clone(), value);
        }
        Ok(response.set_body(actix_web::body::BoxBody::new(out)))
    }

    fn finish(
        &self,
        kind: Kind,
        head: &RequestHead,
        id: &RequestId,
        quotas: Option<Quotas>,
        answered: Result<HttpResponse, Problem>,
        started: Instant,
    ) -> HttpResponse {
        let (mut response, code) = match answered {
            Ok(response) => (response, None),
            Err(problem) => (request_id::problem_response(&problem, id, &self.state), Some(problem.code)),
        };
        let headers = response.headers_mut();
        // an answer to a program: what guards browsers would only be carried along
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // there is no need to tell whoever is far from the limit
        let near = |quotas: &Quotas| quotas.remaining <= quotas.rate_per_second / 2;
        request_id::identify(headers, id, quotas.filter(near));
        let (status, about) = (Some(response.status().as_u16()), self.about.take());
        let told = request_id::Told { route: kind.path, status, code, about, steps: Vec::new() };
        request_id::finish(head, told, id, &self.state, &self.worker, started.elapsed());
        response
    }
}

/// Without evidence no answer.
pub(crate) fn no_evidence(refusal: EvidenceRefusal) -> Problem {
    match refusal {
        EvidenceRefusal::Closed => Problem::new(Code::NotReady, "no evidence of an answer can be kept now"),
        EvidenceRefusal::Full => Problem::new(Code::Overloaded, "too much evidence waits to be stored"),
    }
}
