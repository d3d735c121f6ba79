//! The site map: every address that exists, with who may use it. The router is made of this table and of
//! nothing else, so an address without a policy cannot be written.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    middleware,
    routing::{self, MethodRouter},
};
use bbt_domain::access::Act;

use super::{Site, assets, gate, headers, pages};

/// Who may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Everybody, and nobody is asked who they are: what pages need to look right, even when the store fails.
    Asset,
    /// Everybody.
    Public,
    /// Those who signed in and may do this.
    SignedIn(Act),
}

/// One row.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "for the test that walks the table"))]
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) policy: Policy,
    handler: MethodRouter<Arc<Site>>,
}

impl Route {
    fn get<H, T>(path: &'static str, policy: Policy, handler: H) -> Self
    where
        H: Handler<T, Arc<Site>>,
        T: 'static,
    {
        Self { method: "GET", path, policy, handler: routing::get(handler) }
    }

    fn post<H, T>(path: &'static str, policy: Policy, handler: H) -> Self
    where
        H: Handler<T, Arc<Site>>,
        T: 'static,
    {
        Self { method: "POST", path, policy, handler: routing::post(handler) }
    }
}

/// The table.
pub(super) fn site_map() -> Vec<Route> {
    use Policy::{Asset, Public, SignedIn};
    vec![
        Route::get("/", Public, pages::home),
        Route::get("/login", Public, pages::login::show),
        Route::post("/login", Public, pages::login::submit),
        Route::post("/logout", SignedIn(Act::SessionUse), pages::login::sign_out),
        Route::post("/language", Public, pages::language::choose),
        // sets and schools
        Route::get("/overview", SignedIn(Act::FleetRead), pages::overview::show),
        Route::get("/sets", SignedIn(Act::FleetRead), pages::sets::list),
        Route::get("/sets/{id}", SignedIn(Act::FleetRead), pages::set::show),
        Route::post("/sets/{id}/place", SignedIn(Act::SetWrite), pages::set::place),
        Route::post("/sets/{id}/standing", SignedIn(Act::SetWrite), pages::set::stand),
        Route::post("/sets/{id}/cases", SignedIn(Act::CaseSettle), pages::set::settle),
        Route::get("/usage", SignedIn(Act::UsageRead), pages::usage::show),
        Route::get("/schools", SignedIn(Act::FleetRead), pages::schools::list),
        Route::post("/schools", SignedIn(Act::SchoolWrite), pages::schools::add),
        Route::get("/schools/{code}", SignedIn(Act::FleetRead), pages::school::show),
        Route::post("/schools/{code}/rooms", SignedIn(Act::SetWrite), pages::school::add_room),
        // devices
        Route::get("/devices", SignedIn(Act::FleetRead), pages::devices::list),
        Route::get("/devices/{id}", SignedIn(Act::FleetRead), pages::device::show),
        Route::post("/devices/{id}/standing", SignedIn(Act::DeviceRevoke), pages::device::forms::stand),
        Route::post("/devices/{id}/disk", SignedIn(Act::DeviceApprove), pages::device::forms::freeze),
        Route::get("/devices/{id}/siblings", SignedIn(Act::FleetRead), pages::admissions::siblings),
        Route::post(
            "/devices/{id}/siblings",
            SignedIn(Act::DeviceApprove),
            pages::admissions::approve_siblings,
        ),
        Route::get("/admissions", SignedIn(Act::FleetRead), pages::admissions::list),
        Route::post("/admissions/{id}/decide", SignedIn(Act::DeviceApprove), pages::admissions::decide),
        Route::post("/admissions/{id}/undo", SignedIn(Act::DeviceApprove), pages::admissions::undo),
        Route::get("/refusals", SignedIn(Act::AuditRead), pages::refusals::list),
        Route::get("/faults", SignedIn(Act::FaultRead), pages::faults::list),
        Route::get("/faults/{id}", SignedIn(Act::FaultRead), pages::faults::show),
        Route::get("/inquiries", SignedIn(Act::FaultRead), pages::inquiries::list),
        Route::get("/inquiries/{id}", SignedIn(Act::FaultRead), pages::inquiries::show),
        Route::post("/inquiries/{id}/answer", SignedIn(Act::InquiryAnswer), pages::inquiries::answer),
        Route::post("/inquiries/{id}/escalate", SignedIn(Act::InquiryAnswer), pages::inquiries::escalate),
        Route::get("/tickets", SignedIn(Act::FaultRead), pages::tickets::list),
        Route::get("/tickets/{id}", SignedIn(Act::FaultRead), pages::tickets::show),
        Route::post("/tickets/{id}/act", SignedIn(Act::TicketWork), pages::tickets::act),
        Route::get(assets::PATH, Asset, assets::serve),
    ]
}

/// Makes the router of the table.
pub(super) fn build(site: Arc<Site>) -> Router {
    let gated = |policy| middleware::from_fn_with_state(gate::Gate::new(site.clone(), policy), gate::pass);
    let mut router = Router::new();
    for route in site_map() {
        router = router.route(route.path, route.handler.route_layer(gated(route.policy)));
    }
    // An address that does not exist, and one that does but not for this method, get the same page.
    router
        .method_not_allowed_fallback(pages::nowhere.layer(gated(Policy::Public)))
        .fallback(pages::nowhere.layer(gated(Policy::Public)))
        .layer(middleware::map_response(headers::guard))
        .with_state(site)
}
