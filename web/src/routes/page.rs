//! The regulator's screen and the reader of the contract: plain files, compiled in, no third-party host.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{Method, header};
use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse};

use crate::links::{COOKIE, SESSION_MICROS};
use crate::parse;
use crate::problem::Problem;
use crate::state::AppState;

/// Everything from here, nothing inline, no frame, no form.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(media_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

/// The screen. With `?t=` of a one-time link it signs the browser in and goes on without it, so that the token stays
/// in no history.
pub async fn index(state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    // people come with what mailers and portals hang on to links: only `t` means something
    let pairs = Query::<Vec<(String, String)>>::from_query(req.query_string());
    let pairs = pairs.map(Query::into_inner).unwrap_or_default();
    // whoever only looks at the link (a mail scanner, a preview) must not use it up
    let Some(token) = parse::parameter(&pairs, "t").filter(|_| req.method() != Method::HEAD) else {
        return Ok(file("text/html; charset=utf-8", include_str!("../page/index.html")));
    };
    let mut response = HttpResponse::SeeOther();
    match state.links.redeem(token, state.engine.now()) {
        Some(session) => response.insert_header((header::LOCATION, "/")).cookie(session_cookie(&state, session)),
        None => response.insert_header((header::LOCATION, "/?link=used")),
    };
    Ok(response.finish())
}

fn session_cookie(state: &AppState, session: String) -> Cookie<'static> {
    Cookie::build(COOKIE, session)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(state.options.secure_cookies)
        .max_age(Duration::microseconds(SESSION_MICROS))
        .finish()
}

/// Styles of both pages.
pub async fn css() -> HttpResponse {
    file("text/css; charset=utf-8", include_str!("../page/page.css"))
}

/// The screen's script.
pub async fn js() -> HttpResponse {
    file("text/javascript; charset=utf-8", include_str!("../page/page.js"))
}

/// Drawing and number formats of the screen.
pub async fn sparkline_js() -> HttpResponse {
    file("text/javascript; charset=utf-8", include_str!("../page/sparkline.js"))
}

/// The contract for people.
pub async fn docs() -> HttpResponse {
    file("text/html; charset=utf-8", include_str!("../page/docs.html"))
}

/// Its script.
pub async fn docs_js() -> HttpResponse {
    file("text/javascript; charset=utf-8", include_str!("../page/docs.js"))
}

#[cfg(test)]
mod tests {
    /// Third-party hosts, inline scripts and inline styles would all be refused by the policy: find them here first.
    #[test]
    fn pages_need_nothing_from_elsewhere() {
        let files = [
            ("index.html", include_str!("../page/index.html")),
            ("docs.html", include_str!("../page/docs.html")),
            ("page.css", include_str!("../page/page.css")),
            ("page.js", include_str!("../page/page.js")),
            ("sparkline.js", include_str!("../page/sparkline.js")),
            ("docs.js", include_str!("../page/docs.js")),
        ];
        for (name, text) in files {
            let foreign = text.replace("http://www.w3.org/2000/svg", "");
            for banned in ["http://", "https://", "//cdn", " style=\"", " onclick=", "@import", "innerHTML", "eval("] {
                assert!(!foreign.contains(banned), "{name} holds {banned}");
            }
        }
    }
}
