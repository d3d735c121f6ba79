//! What must hold for every address: policy, headers, tokens.

use axum::body::Body;
use http::{Request, StatusCode, header};

use super::county::{County, LOGIN, PASSWORD, encoded, form};
use crate::web::{
    assets,
    router::{Policy, site_map},
};

const UUID: &str = "07070707-0707-0707-0707-070707070707";

fn example(path: &str) -> String {
    path.replace("{id}", UUID).replace("{code}", "2153000123").replace("{file}", "console.css")
}

#[tokio::test]
async fn every_address_that_is_not_public_asks_a_stranger_to_sign_in() {
    let county = County::new().await;
    for route in site_map() {
        let request = Request::builder().method(route.method).uri(example(route.path));
        let page = county.browser().send(request.body(Body::empty()).unwrap()).await;
        let sent_away = page.status == StatusCode::SEE_OTHER && page.header("location").starts_with("/login");
        match route.policy {
            Policy::SignedIn(_) => assert!(sent_away, "{} {}: {page:?}", route.method, route.path),
            Policy::Public | Policy::Asset => {
                assert!(!sent_away || route.path == "/", "{} {}: {page:?}", route.method, route.path);
            }
        }
    }
}

#[tokio::test]
async fn every_form_needs_the_token_of_its_own_browser() {
    let county = County::new().await;
    let mut stranger = county.browser();
    stranger.get("/login").await;
    for route in site_map().iter().filter(|route| route.method == "POST") {
        for token in [None, Some(""), Some(stranger.form_token.as_str())] {
            let mut browser = county.signed_in().await;
            let mut fields = vec![("lang", "en"), ("login", LOGIN), ("password", PASSWORD)];
            fields.extend(token.map(|token| ("form_token", token)));
            let page = browser.send(form(&example(route.path)).body(encoded(&fields)).unwrap()).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{} with {token:?}", route.path);
            page.assert_has("没有任何内容被修改");
            assert_eq!(browser.get("/devices").await.status, StatusCode::OK, "still signed in");
        }
    }
}

#[tokio::test]
async fn a_form_of_another_site_is_refused_even_with_the_token() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let token = browser.form_token.clone();
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let request = form("/logout").header(header::HOST, "county:8443").header(name, value);
        let page = browser.send(request.body(encoded(&[("form_token", &token)])).unwrap()).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{name}");
    }
    assert_eq!(browser.get("/devices").await.status, StatusCode::OK, "still signed in");
}

#[tokio::test]
async fn nobody_is_signed_in_with_the_form_of_another_browser() {
    let county = County::new().await;
    let mut attacker = county.browser();
    attacker.get("/login").await;
    let mut victim = county.browser();
    victim.get("/login").await;
    victim.form_token = attacker.form_token;
    let page = victim.post("/login", &[("login", LOGIN), ("password", PASSWORD)]).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_form_that_is_too_large_or_no_form_is_refused() {
    let county = County::new().await;
    let mut browser = county.browser();
    browser.get("/login").await;
    let page = browser.post("/login", &[("login", &"x".repeat(17 << 10))]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let json = Request::post("/login").header(header::CONTENT_TYPE, "application/json");
    let page = browser.send(json.body(Body::from("{}")).unwrap()).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_answer_carries_the_strict_headers() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let mut paths: Vec<_> = site_map().iter().map(|route| example(route.path)).collect();
    paths.extend(["/nowhere".into(), "/devices/%ff".into(), "/static/../x".into()]);
    for path in paths {
        for method in ["GET", "POST", "DELETE"] {
            let request = Request::builder().method(method).uri(&path);
            let page = browser.send(request.body(Body::empty()).unwrap()).await;
            let policy = page.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{method} {path}: {policy}");
            assert!(!policy.contains("script") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(page.header("x-content-type-options"), "nosniff", "{method} {path}");
            assert_eq!(page.header("referrer-policy"), "same-origin", "{method} {path}");
            assert_eq!(page.header("cross-origin-opener-policy"), "same-origin", "{method} {path}");
            assert_eq!(page.header("cache-control"), "no-store", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn pages_have_neither_scripts_nor_inline_styles_nor_foreign_addresses() {
    let county = County::new().await;
    let device = county.device(7).await;
    let set = county.set_of(device).await.code;
    let mut browser = county.signed_in().await;
    let pages = site_map().into_iter().filter(|route| route.method == "GET" && route.path != assets::PATH);
    let pages = pages.map(|route| example(route.path));
    for path in pages.chain([format!("/sets/{set}"), "/nowhere".to_owned()]) {
        let body = browser.get(&path).await.body;
        for forbidden in
            ["<script", " style=", "<style", " onclick", "javascript:", "http://", "href=\"https:"]
        {
            assert!(!body.contains(forbidden), "{forbidden} in {path}");
        }
    }
}

#[tokio::test]
async fn the_style_sheet_may_be_kept_for_ever_under_its_own_name_only() {
    let county = County::new().await;
    let mut browser = county.browser();
    let body = browser.get("/login").await.body;
    let url = body.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let page = browser.get(&url).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/css; charset=utf-8");
    assert_eq!(page.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(page.set_cookie("__Host-bbt-visitor").is_none());
    assert_eq!(browser.get("/static/console.0000000000000000.css").await.status, StatusCode::NOT_FOUND);
}
