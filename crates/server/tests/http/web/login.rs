//! How somebody gets in to the GUI, and out again.

use crate::common::Server;
use crate::common::browser::{Browser, PASSWORD, code, local, logged_in};
use muster_ca::enrol::who::Origin;
use muster_ca::operator::Role;
use zeroize::Zeroizing;

#[tokio::test]
async fn a_session_is_new_at_login_and_gone_after_logout() {
    let (mut browser, server) = Browser::and_server().await;
    // Fixation: a session that somebody else chose stays worth nothing.
    let chosen = "ms_chosenBySomebodyElse".to_owned();
    browser.cookies.push(("muster_session".into(), chosen.clone()));
    browser.log_in("admin", PASSWORD).await;
    let first = browser.session().unwrap().to_owned();
    assert_ne!(first, chosen);
    let mut thief = Browser::at(&server);
    thief.cookies.push(("muster_session".into(), chosen));
    assert_eq!(thief.get("/").await.status, 303);

    browser.log_in("admin", PASSWORD).await;
    let second = browser.session().unwrap().to_owned();
    assert_ne!(first, second);

    let mut thief = Browser::at(&server);
    thief.cookies.push(("muster_session".into(), second));
    assert_eq!(thief.get("/").await.status, 200, "until its owner logs out");
    let out = browser.post("/logout", "").await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert_eq!(browser.session(), None);
    assert_eq!(thief.get("/").await.status, 303);

    // A new password ends every session.
    browser.log_in("admin", PASSWORD).await;
    assert_eq!(browser.get("/").await.status, 200);
    server
        .edge
        .ca()
        .set_password(local(), "admin", "another horse battery")
        .await
        .unwrap();
    assert_eq!(browser.get("/").await.status, 303);
    assert_eq!(browser.log_in("admin", PASSWORD).await.status, 401);
    assert_eq!(browser.log_in("admin", "another horse battery").await.status, 303);
    server.edge.ca().remove_operator(local(), "admin").await.unwrap();
    assert_eq!(browser.get("/").await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down_and_locks_nobody_out() {
    let (mut browser, server) = logged_in().await;
    let mut stranger = Browser::at(&server);
    let mut let_through = 0;
    for attempt in 0..1000 {
        let answer = stranger
            .log_in("admin", &format!("a guess number {attempt}"))
            .await;
        match answer.status {
            401 => let_through += 1,
            429 => assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!((10..=20).contains(&let_through), "{let_through}");
    // Not even with the right password, or the limit would tell that it is.
    assert_eq!(stranger.log_in("admin", PASSWORD).await.status, 429);
    // The browser in which the true owner has logged in before is not held up.
    browser.post("/logout", "").await;
    assert_eq!(browser.log_in("admin", PASSWORD).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn the_setup_link_works_once() {
    let server = Server::start().await;
    let ca = server.edge.ca().clone();
    let before = ca.open_setup().await.unwrap().unwrap();
    let secret = ca.open_setup().await.unwrap().unwrap();
    std::fs::write(server.path("setup-link"), "a link").unwrap();
    let mut browser = Browser::at(&server);
    let told = browser.get("/login").await.text();
    assert!(told.contains("setup-link"), "{told}");
    assert_eq!(browser.get(&format!("/setup/{}", *before)).await.status, 401);
    assert_eq!(browser.get("/setup/guess").await.status, 401);

    let path = format!("/setup/{}", *secret);
    let page = browser.get(&path).await;
    assert_eq!(page.status, 200);
    let page = page.text();
    assert!(page.contains("<svg class=\"qr\""));
    let totp = page
        .split("name=\"totp\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let form = |name: &str, password: &str, repeated: &str, code: &str| {
        format!("name={name}&password={password}&repeated={repeated}&totp={totp}&code={code}")
    };
    let good = "correct+horse+battery";
    for (form, why) in [
        (
            form("alice", "too+short", "too+short", ""),
            "at least 12 characters",
        ),
        (
            form("alice", good, "correct+horse+batterx", ""),
            "are not the same",
        ),
        (
            form("alice", good, good, "000000x"),
            "is not the one that the app shows",
        ),
        (form("%3Cscript%3E", good, good, ""), "an operator&#39;s name"),
    ] {
        let refused = browser.post(&path, &form).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains(why), "{}", refused.text());
        assert!(!refused.text().contains("<script>") && !refused.text().contains("correct horse"));
    }
    let done = browser.post(&path, &form("alice", good, good, "")).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/login")));
    assert!(!server.path("setup-link").exists());
    assert_eq!(browser.get(&path).await.status, 401);
    assert_eq!(
        browser.post(&path, &form("bob", good, good, "")).await.status,
        401
    );
    assert!(ca.open_setup().await.unwrap().is_none());
    assert_eq!(browser.log_in("alice", PASSWORD).await.status, 303);
    assert!(
        ca.one_operator(local(), "alice")
            .await
            .is_ok_and(|one| one.role == Role::Admin)
    );
    server.finish().await;
}

#[tokio::test]
async fn a_one_time_code_is_asked_for_and_good_once() {
    let server = Server::start().await;
    let ca = server.edge.ca().clone();
    let secret = ca.open_setup().await.unwrap().unwrap();
    let totp = ca.new_totp_secret();
    let first = muster_ca::first_login::FirstLogin {
        name: "alice".into(),
        password: Zeroizing::new(PASSWORD.into()),
        totp: Some((totp.to_vec(), code(&totp, ca.now().as_second()))),
    };
    ca.set_up(&secret, first, Origin::default()).await.unwrap();
    let mut browser = Browser::at(&server);
    assert_eq!(
        browser.log_in("alice", PASSWORD).await.status,
        401,
        "without a code"
    );
    let form = |code: &str| format!("name=alice&password=correct+horse+battery&code={code}");
    let now = code(&totp, ca.now().as_second());
    assert_eq!(browser.post("/login", &form(&now)).await.status, 303);
    let again = browser.post("/login", &form(&now)).await;
    assert_eq!(again.status, 401);
    assert!(again.text().contains("used already"), "{}", again.text());
    server.finish().await;
}

#[tokio::test]
async fn a_place_to_go_next_is_on_this_server() {
    let (mut browser, server) = Browser::and_server().await;
    for next in [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
    ] {
        let form = format!(
            "name=admin&password=correct+horse+battery&next={}",
            next.replace('\\', "%5C")
        );
        let done = browser.post("/login", &form).await;
        let to = done.header("location").unwrap();
        assert!(to == "/" || to == "/https://evil.example", "{to}");
    }
    for next in ["../other", "devices/%252e%252e/other"] {
        let form = format!("name=admin&password=correct+horse+battery&next={next}");
        let done = browser.post("/login", &form).await;
        assert_eq!(done.header("location"), Some("/"), "{next}");
    }
    let page = browser
        .get("/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        .await;
    assert!(!page.text().contains("<script>alert"), "{}", page.text());
    let form = "theme=dark&back=x%0d%0aSet-Cookie:%20a=b";
    let done = browser.post("/theme", form).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/")));
    assert!(browser.get("/login").await.text().contains("data-theme=\"dark\""));
    server.finish().await;
}
