use std::time::Duration;

use bbt_domain::{
    access::{Actor, Role},
    ids::UserId,
};
use bbt_store::{
    Tx,
    people::{Person, person_add},
};
use http::StatusCode;

use super::county::{County, LOGIN, PASSWORD};

const SESSION: &str = "__Host-bbt";

#[tokio::test]
async fn a_stranger_is_sent_to_sign_in_and_comes_back_to_the_page_asked_for() {
    let county = County::new().await;
    let mut browser = county.browser();
    let page = browser.get("/devices?q=a").await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, "/login?next=/devices%3Fq%3Da")
    );
    let page = browser.get("/login?next=/devices%3Fq%3Da").await;
    page.assert_has(r#"name="next" value="/devices?q=a""#);
    let page =
        browser.post("/login", &[("login", LOGIN), ("password", PASSWORD), ("next", "/devices?q=a")]).await;
    assert_eq!(page.header("location"), "/devices?q=a");
    assert_eq!(browser.get("/devices?q=a").await.status, StatusCode::OK);
    assert_eq!(browser.get("/").await.header("location"), "/overview");
}

#[tokio::test]
async fn nobody_is_sent_to_another_site_after_signing_in() {
    let county = County::new().await;
    let mut browser = county.browser();
    browser.get("/login").await;
    let fields = [("login", LOGIN), ("password", PASSWORD), ("next", "//evil.example/")];
    assert_eq!(browser.post("/login", &fields).await.header("location"), "/overview");
}

#[tokio::test]
async fn the_right_password_opens_a_session_in_a_cookie_that_stays_here() {
    let county = County::new().await;
    let page = county.browser().sign_in(LOGIN, PASSWORD).await;
    let cookie = page.set_cookie(SESSION).expect("a session cookie");
    let (secret, flags) = cookie.split_once(';').unwrap();
    assert_eq!(secret.len(), SESSION.len() + 1 + 64, "256 bits in hex");
    assert_eq!(flags.trim(), "Path=/; Secure; HttpOnly; SameSite=Lax");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_read_the_same() {
    let county = County::new().await;
    let mut answers = Vec::new();
    for (login, password) in [(LOGIN, "wrong"), ("nobody", PASSWORD), (LOGIN, "")] {
        let mut browser = county.browser();
        browser.cookies.insert("__Host-bbt-visitor".into(), "same".into());
        let page = browser.sign_in(login, password).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        assert!(page.set_cookie(SESSION).is_none());
        answers.push(page.body.replace(login, "LOGIN"));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_owner_elsewhere_is_not() {
    let county = County::new().await;
    let mut guesser = county.browser();
    for _ in 0..3 {
        assert_eq!(guesser.sign_in(LOGIN, "wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    let page = guesser.sign_in(LOGIN, PASSWORD).await;
    assert_eq!((page.status, page.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    let mut owner = county.browser();
    owner.address = [192, 0, 2, 8];
    assert_eq!(owner.sign_in(LOGIN, PASSWORD).await.status, StatusCode::SEE_OTHER);
    county.clock.advance(Duration::from_secs(1));
    assert_eq!(guesser.sign_in(LOGIN, PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_ends_after_half_an_hour_untouched() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    county.clock.advance(Duration::from_secs(29 * 60));
    assert_eq!(browser.get("/devices").await.status, StatusCode::OK);
    county.clock.advance(Duration::from_secs(29 * 60));
    assert_eq!(browser.get("/devices").await.status, StatusCode::OK, "the visit before prolonged it");
    county.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(browser.get("/devices").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours_however_busy() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    for _ in 0..12 * 3 - 1 {
        county.clock.advance(Duration::from_secs(20 * 60));
        assert_eq!(browser.get("/devices").await.status, StatusCode::OK);
    }
    county.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(browser.get("/devices").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn signing_in_again_ends_the_session_before() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let before = browser.cookies.clone();
    let page = browser.post("/login", &[("login", LOGIN), ("password", PASSWORD)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_ne!(browser.cookies[SESSION], before[SESSION]);
    let mut thief = county.browser();
    thief.cookies = before;
    assert_eq!(thief.get("/devices").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_server() {
    let county = County::new().await;
    let mut browser = county.signed_in().await;
    let before = browser.cookies.clone();
    assert_eq!(browser.post("/logout", &[]).await.header("location"), "/login");
    browser.cookies = before;
    assert_eq!(browser.get("/devices").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_damaged_stored_password_is_a_fault_of_ours_and_not_a_wrong_password() {
    let county = County::new().await;
    let person = Person {
        id: UserId::from_bytes([9; 16]),
        login: "damaged".into(),
        role: Role::CountyAdmin,
        password: "not a hash".into(),
        language: String::new(),
    };
    let now = county.context.now();
    let add = move |tx: &mut Tx<'_>| person_add(tx, &Actor::Local, &person, now);
    county.context.store.write(add).await.unwrap();
    let page = county.browser().sign_in("damaged", "x").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    page.assert_has("系统内部出错");
}

#[tokio::test]
async fn the_language_is_chosen_before_signing_in_and_kept_by_the_account() {
    let county = County::new().await;
    let mut browser = county.browser();
    browser.get("/login").await.assert_has(r#"<html lang="zh-CN">"#);
    let page = browser.post("/language", &[("lang", "en"), ("next", "/login?next=/refusals")]).await;
    assert_eq!(page.header("location"), "/login?next=/refusals");
    browser.get("/login").await.assert_has(r#"<html lang="en">"#);

    let mut browser = county.signed_in().await;
    browser.post("/language", &[("lang", "en"), ("next", "/devices")]).await;
    let mut elsewhere = county.signed_in().await;
    elsewhere.get("/devices").await.assert_has(r#"<html lang="en">"#);
    let page = elsewhere.post("/language", &[("lang", "tlh")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}
