//! In front of the application: who may come in at all, before anybody looks who it is; then single lookups take the lane
//! at once, everything else goes the general way.
//!
//! The routing of a general framework (request object, routers, boxed services, extractors) costs about as much as all
//! the rest of a lookup. The path of the product is known, so it is compared first. The application has the same lane
//! on the same path: whatever does not come through here, a test server or another method, is answered alike.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::{Request, Response};
use actix_service::{Service, ServiceFactory};
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceResponse, Url};
use actix_web::http::Method;
use futures_util::future::LocalBoxFuture;
use models::evidence::Route;
use models::operator::Scope;

use crate::lookup::lane::{Kind, Lane};
use crate::pressure::{Class, Door, PARKED};
use crate::problem::{Code, Problem};
use crate::rate::AddressSlot;
use crate::routes::{LOOKUP_PATH, METRICS_PATH, route_no};

/// Makes a worker's [`Front`].
pub struct FrontFactory<A> {
    app: A,
    lane: Rc<Lane>,
    kind: Kind,
}

impl<A> FrontFactory<A> {
    /// In front of an application.
    pub fn new(app: A, lane: Rc<Lane>) -> Self {
        let kind = Kind { scope: Scope::Lookup, route: Route::Single, path: route_no(LOOKUP_PATH) };
        Self { app, lane, kind }
    }
}

impl<A> ServiceFactory<Request> for FrontFactory<A>
where
    A: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>,
    A::Future: 'static,
    A::Service: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = Front<A::Service>;
    type InitError = A::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (app, lane, kind) = (self.app.new_service(config), Rc::clone(&self.lane), self.kind);
        Box::pin(async move {
            let door = Door::open(lane.state());
            Ok(Front { app: app.await?, lane, kind, door })
        })
    }
}

/// The service of one worker.
pub struct Front<S> {
    app: S,
    lane: Rc<Lane>,
    kind: Kind,
    door: Door,
}

/// A request under way.
pub enum Answering<F> {
    /// A lookup.
    Lane(LocalBoxFuture<'static, Response<BoxBody>>),
    /// Everything else.
    App(Pin<Box<F>>),
}

impl<F: Future<Output = Result<ServiceResponse<BoxBody>, Error>>> Future for Answering<F> {
    type Output = Result<Response<BoxBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Lane(lane) => lane.as_mut().poll(cx).map(Ok),
            Self::App(app) => app.as_mut().poll(cx).map(|answered| answered.map(Response::from)),
        }
    }
}

/// What those on call ask, and the floor of the benches.
const ON_CALL: [&str; 4] = ["/health", "/health/live", "/health/ready", "/bench/bare"];

impl<S> Front<S> {
    /// `path` is the one that the router will see.
    fn admit(&self, req: &Request, path: &str, class: Class) -> Result<(), Problem> {
        if let Some(address) = self.lane.state().options.proxies.caller(req.head()) {
            self.admit_address(req, address, path)?;
        }
        if self.door.admits(class) {
            return Ok(());
        }
        Err(Problem::new(Code::Overloaded, "the node is overloaded and serves what matters more"))
    }

    fn admit_address(&self, req: &Request, address: IpAddr, path: &str) -> Result<(), Problem> {
        let state = self.lane.state();
        // those on call must get through from wherever the flood comes, also where it asks what they ask
        if ON_CALL.contains(&path) {
            return Ok(());
        }
        if path == METRICS_PATH {
            return state.gate.pass_scrape(address).map_err(|seconds| {
                state.metrics.rate_limited_metrics.inc();
                Problem::rate_limited("figures are shown to an address a few times a second", seconds)
            });
        }
        // a proxy brings many callers over one connection
        let is_own = req.head().peer_addr.is_some_and(|peer| peer.ip() == address);
        let slot = req.conn_data::<AddressSlot>().filter(|_| is_own);
        state.gate.pass_address(address, slot).map_err(|seconds| {
            state.metrics.rate_limited_unauthenticated.inc();
            Problem::rate_limited("too many requests from this address", seconds)
        })
    }
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Answering<S::Future>;

    actix_service::forward_ready!(app);

    fn call(&self, mut req: Request) -> Self::Future {
        // what the router will see: a path may be written in several ways
        let rewritten = req.path().contains('%').then(|| Url::new(req.uri().clone()));
        let path = rewritten.as_ref().map_or(req.path(), Url::path);
        let class = Class::of(req.method(), path);
        if let Err(problem) = self.admit(&req, path, class) {
            let lane = Rc::clone(&self.lane);
            return Answering::Lane(Box::pin(async move {
                if class == Class::Lookup && problem.code == Code::Overloaded {
                    actix_web::rt::time::sleep(PARKED).await;
                }
                lane.refuse(req.head(), problem).into()
            }));
        }
        if req.path() != LOOKUP_PATH || *req.method() != Method::POST {
            return Answering::App(Box::pin(self.app.call(req)));
        }
        let (lane, kind) = (Rc::clone(&self.lane), self.kind);
        Answering::Lane(Box::pin(async move {
            let payload = req.take_payload();
            lane.answer(kind, req.head(), payload).await.into()
        }))
    }
}
