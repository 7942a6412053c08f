//! The GUI from outside: who gets in, who does not, and what every page carries.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::net::SocketAddr;

use common::browser::{Browser, PASSWORD, code, local};
use common::{Answer, Server, exchange};
use muster_ca::enrol::who::Origin;
use muster_ca::operator::Role;
use muster_server::web::{Method, Needs};
use zeroize::Zeroizing;

#[tokio::test]
async fn whoever_logs_in_sees_the_dashboard() {
    let (mut browser, server) = Browser::and_server().await;
    let sent_away = browser.get("/?a=b").await;
    assert_eq!(sent_away.status, 303);
    assert_eq!(sent_away.header("location"), Some("/login?next=%3Fa%3Db"));

    let page = browser.get("/login").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Test &#60;CA&#62;"), "{}", page.text());
    let refused = browser.log_in("admin", "wrong horse battery").await;
    assert_eq!(refused.status, 401);
    let stranger = browser.log_in("nobody", "wrong horse battery").await;
    assert_eq!(stranger.status, 401);
    let told = |answer: &Answer| {
        answer
            .text()
            .contains("the name, the password or the code is not right")
    };
    assert!(told(&refused) && told(&stranger));
    assert_eq!(browser.session(), None);

    let done = browser.log_in("admin", PASSWORD).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/")));
    let cookies = done.headers("set-cookie");
    let session = cookies
        .iter()
        .find(|cookie| cookie.starts_with("muster_session="))
        .unwrap();
    assert!(
        session.contains("HttpOnly") && session.contains("SameSite=Strict"),
        "{session}"
    );
    assert!(!session.contains("Secure"), "plain HTTP on loopback: {session}");
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Dashboard") && page.text().contains("admin"));
    server.finish().await;
}

#[tokio::test]
async fn the_dashboard_says_until_when_everything_works() {
    let (mut browser, server) = Browser::and_server().await;
    let site = server.enrol("site-9").await;
    browser.log_in("admin", PASSWORD).await;
    let page = browser.get("/").await.text();
    let end = site.parsed().not_after();
    let end = jiff::Timestamp::from_second(end.as_second()).unwrap().to_string();
    assert!(page.contains("Everything keeps working until"), "{page}");
    assert!(page.contains(&format!("datetime=\"{end}\"")), "{page}");
    assert!(page.contains("Then the certificate of site-9 ends"), "{page}");
    assert!(
        page.contains("unless somebody sees to it"),
        "step promises nothing: {page}"
    );
    assert!(
        page.contains("Certificates do not say where their revocation list is"),
        "{page}"
    );
    assert!(page.contains("Certificate issued: site-9"), "{page}");
    // Whoever may not read the audit log reads nothing of it here.
    let ca = server.edge.ca();
    ca.add_operator(local(), "looker", Role::Viewer).await.unwrap();
    ca.set_password(local(), "looker", PASSWORD).await.unwrap();
    browser.log_in("looker", PASSWORD).await;
    let page = browser.get("/").await.text();
    assert!(page.contains("Everything keeps working until") && !page.contains("Certificate issued"));
    server.finish().await;
}

#[tokio::test]
async fn every_page_carries_what_keeps_a_browser_in_check() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    for path in ["/", "/login", "/nothing", "/setup/guess"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
        let text = page.text();
        assert!(
            !text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick="),
            "{path}"
        );
        assert!(
            !text.contains("//fonts") && !text.contains("src=\"http"),
            "{path}"
        );
    }
    assert_eq!(browser.get("/nothing").await.status, 404);
    // What a page asks for is there, and stays the same for ever.
    let page = browser.get("/").await.text();
    let files: Vec<_> = page
        .split('"')
        .filter(|part| part.starts_with("/static/"))
        .map(str::to_owned)
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = browser.get(&file).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(
            answer.header("cache-control").unwrap().contains("immutable"),
            "{file}"
        );
    }
    server.finish().await;
}

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
async fn a_form_from_another_site_does_nothing() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let own = format!("Origin: http://{}\r\n", browser.host);
    let forged = [
        String::new(),
        "Origin: null\r\n".into(),
        "Origin: http://evil.example\r\n".into(),
        format!("Origin: https://{}\r\n", browser.host),
        "Origin: http://localhost:1\r\n".into(),
        "Sec-Fetch-Site: cross-site\r\n".into(),
        "Sec-Fetch-Site: same-site\r\n".into(),
        "Sec-Fetch-Site: none\r\n".into(),
        format!("Sec-Fetch-Site: cross-site\r\n{own}"),
        "Sec-Fetch-Site: same-origin\r\nOrigin: http://evil.example\r\n".into(),
    ];
    let posts = || muster_server::web::table().filter(|(method, ..)| *method == Method::Post);
    assert!(posts().count() >= 4);
    for (_, path, _) in posts() {
        let path = format!("/{}", path.replace("{secret}", "x"));
        for from in &forged {
            let answer = browser.post_from(&path, "", from).await;
            assert_eq!(answer.status, 403, "{path} {from}");
        }
    }
    // Nor with a method that no page has.
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let request = browser.request(method, "/certificates", &forged[2], "");
        assert_eq!(browser.send(&request).await.status, 403, "{method}");
    }
    assert_eq!(browser.get("/").await.status, 200, "still logged in");
    let out = browser
        .post_from("/logout", "", "Sec-Fetch-Site: same-origin\r\n")
        .await;
    assert_eq!(out.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn only_known_names_are_answered() {
    let (mut browser, server) = Browser::and_server().await;
    for host in ["evil.example", "evil.example:8502", "", "localhost.evil.example"] {
        browser.host = host.into();
        for path in ["/", "/login", "/api/v1/status"] {
            assert_eq!(browser.get(path).await.status, 421, "{host} {path}");
        }
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]", "ca.example.org"] {
        browser.host = host.into();
        assert_eq!(browser.get("/login").await.status, 200, "{host}");
    }
    server.finish().await;
}

/// Every route that there is, with every role that must not have it: a page that is added later is tried, too.
#[tokio::test]
async fn a_role_goes_no_further_than_its_permissions() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    let roles = [Role::Admin, Role::Operator, Role::Viewer, Role::Auditor];
    for role in roles {
        let name = format!("some-{}", role.as_str());
        ca.add_operator(local(), &name, role).await.unwrap();
        ca.set_password(local(), &name, PASSWORD).await.unwrap();
    }
    for (method, path, needs) in muster_server::web::table() {
        let Needs::Permission(permission) = needs else {
            continue;
        };
        let path = format!("/{}", path.replace(['{', '}'], ""));
        let mut nobody = Browser::at(&server);
        let answer = ask(&mut nobody, method, &path).await;
        assert_eq!(answer.status, 303, "{path} without a session");
        assert!(answer.header("location").unwrap().starts_with("/login"), "{path}");
        for role in roles {
            if permission.is_given_to(role) {
                continue;
            }
            browser.log_in(&format!("some-{}", role.as_str()), PASSWORD).await;
            let answer = ask(&mut browser, method, &path).await;
            assert_eq!(answer.status, 403, "{path} as {role:?}");
        }
    }
    // The session counts for the GUI alone.
    browser.log_in("some-admin", PASSWORD).await;
    assert_eq!(browser.get("/api/v1/status").await.status, 401);
    let (_, key) = ca.add_operator(local(), "program", Role::Viewer).await.unwrap();
    let header = format!("Authorization: Bearer {}\r\n", *key);
    let request = browser.request("GET", "/api/v1/status", &header, "");
    assert_eq!(browser.send(&request).await.status, 200);
    server.finish().await;
}

/// Whoever looks at what only takes forms hears what it takes, and not that a role is missing.
#[tokio::test]
async fn what_only_takes_forms_cannot_be_looked_at() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    ca.add_operator(local(), "looker", Role::Viewer).await.unwrap();
    ca.set_password(local(), "looker", PASSWORD).await.unwrap();
    browser.log_in("looker", PASSWORD).await;
    let routes: Vec<_> = muster_server::web::table().collect();
    let mut tried = 0;
    for (_, path, _) in routes.iter().filter(|(method, ..)| *method == Method::Post) {
        let looked_at = |(method, other, _): &&(Method, &str, Needs)| *method == Method::Get && other == path;
        let address = format!("/{}", path.replace(['{', '}'], ""));
        if routes.iter().any(|route| looked_at(&route)) {
            continue;
        }
        let answer = browser.get(&address).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("POST")),
            "{address}"
        );
        assert!(
            answer.text().contains("only takes what a form sends"),
            "{address}: {}",
            answer.text()
        );
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
    server.finish().await;
}

async fn ask(browser: &mut Browser, method: Method, path: &str) -> Answer {
    match method {
        Method::Get => browser.get(path).await,
        Method::Post => browser.post(path, "").await,
    }
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down_and_locks_nobody_out() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
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

fn json_404(answer: &Answer) -> String {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (404, Some("application/json"))
    );
    let said: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    said["message"].as_str().unwrap().to_owned()
}

/// A browser asks for compressed answers, and gets what went wrong as a page in words of its own.
#[tokio::test]
async fn what_the_framework_refuses_is_a_page_like_any_other() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let headers = "Sec-Fetch-Site: same-origin\r\nAccept-Encoding: gzip\r\n";
    let request = browser.request("GET", "/devices/%FF", headers, "");
    let zipped = browser.send(&request).await;
    assert_eq!(
        (zipped.status, zipped.header("content-encoding")),
        (400, Some("gzip"))
    );
    let plain = browser.get("/devices/%FF").await.text();
    assert!(
        plain.contains("class=\"shell\"") || plain.contains("<h1"),
        "{plain}"
    );
    let refused = browser.post("/theme", "").await;
    let text = refused.text();
    assert!(
        refused.status == 422 && text.contains("not the form of this page") && !text.contains("deserialize"),
        "{} {text}",
        refused.status
    );
    let long = format!("theme={}", "x".repeat(300 << 10));
    let refused = browser.post("/theme", &long).await;
    assert!(
        refused.status == 413 && refused.text().contains("longer than 256 KiB"),
        "{} {}",
        refused.status,
        refused.text()
    );
    let unknown = browser.get("/api/v1/nothing").await;
    assert_eq!(json_404(&unknown), "there is nothing at this path");
    server.finish().await;
}

#[tokio::test]
async fn a_base_path_holds_everything() {
    let server = Server::start_web("127.0.0.1:0", "/pki/").await;
    server.edge.ca().set_first_password(PASSWORD).await.unwrap();
    let mut browser = Browser::at(&server);
    let root = browser.get("/").await;
    assert_eq!((root.status, root.header("location")), (308, Some("/pki/")));
    let sent_away = browser.get("/pki/").await;
    assert_eq!(sent_away.header("location"), Some("/pki/login"));
    let form = "name=admin&password=correct+horse+battery";
    let done = browser.post("/pki/login", form).await;
    assert_eq!(done.header("location"), Some("/pki/"));
    assert!(
        done.headers("set-cookie")
            .iter()
            .all(|cookie| cookie.contains("Path=/pki/;"))
    );
    let page = browser.get("/pki/").await;
    assert_eq!(page.status, 200);
    for part in page
        .text()
        .replace("aria-keyshortcuts=\"/\"", "")
        .split(['"', '\''])
        .filter(|part| part.starts_with('/') && !part.starts_with("/>"))
    {
        assert!(part.starts_with("/pki/"), "{part}");
    }
    assert_eq!(browser.get("/pki/api/v1/status").await.status, 401);
    assert_eq!(
        json_404(&browser.get("/pki/api/v1/nothing").await),
        "there is nothing at this path"
    );
    assert_eq!(browser.get("/login").await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn beyond_loopback_there_is_tls_and_nothing_else() {
    let server = Server::start_web("0.0.0.0:0", "/").await;
    server.edge.ca().set_first_password(PASSWORD).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.web.port()));
    let mut browser = Browser::at(&server);
    browser.address = address;
    let sent_on = browser.get("/login?next=x").await;
    assert_eq!(sent_on.status, 308);
    let there = format!("https://localhost:{}/login?next=x", server.web.port());
    assert_eq!(sent_on.header("location"), Some(there.as_str()));
    browser.host = "evil.example".into();
    assert_eq!(browser.get("/login").await.status, 421);

    browser.host = format!("localhost:{}", server.web.port());
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nOrigin: https://{}\r\n",
        browser.host
    );
    let body = "name=admin&password=correct+horse+battery";
    let request = browser.request("POST", "/login", &headers, body);
    let stream = server.tls_to(address, None).await.unwrap();
    let done = exchange(stream, request.as_bytes()).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let cookies = done.headers("set-cookie");
    let session = cookies
        .iter()
        .find(|cookie| cookie.contains("muster_session="))
        .unwrap();
    assert!(session.starts_with("__Host-muster_session="), "{session}");
    assert!(
        session.ends_with("; Secure") && session.contains("Path=/;"),
        "{session}"
    );
    server.finish().await;
}

/// A proxy that is declared may say what it saw; nobody else may.
#[tokio::test]
async fn a_proxy_is_believed_if_it_is_declared() {
    let server = Server::start_web("0.0.0.0:0", "/").await;
    server.edge.ca().set_first_password(PASSWORD).await.unwrap();
    let mut browser = Browser::at(&server);
    browser.host = "ca.example.org".into();
    let through = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7, 198.51.100.9\r\n";
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nOrigin: https://ca.example.org\r\n{through}"
    );
    let request = browser.request(
        "POST",
        "/login",
        &headers,
        "name=admin&password=correct+horse+battery",
    );
    let send = async |from: [u8; 4], request: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], server.web.port()));
        exchange(socket.connect(to).await.unwrap(), request.as_bytes()).await
    };
    assert_eq!(send([127, 0, 0, 1], &request).await.status, 308, "not declared");
    let done = send([127, 0, 0, 2], &request).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let cookies = done.headers("set-cookie");
    let cookie = cookies[0].split(';').next().unwrap();
    assert!(cookie.starts_with("__Host-muster_session="), "{cookie}");
    // Over TLS no name counts that a neighbour could plant.
    for (cookie, status) in [(cookie, 200), (cookie.trim_start_matches("__Host-"), 303)] {
        let request = browser.request("GET", "/", &format!("Cookie: {cookie}\r\n{through}"), "");
        assert_eq!(send([127, 0, 0, 2], &request).await.status, status, "{cookie}");
    }
    let page = muster_ca::list::AuditList::default();
    let entries = server.edge.ca().audit(local(), page).await.unwrap();
    assert_eq!(
        (entries.items[0].action.as_str(), entries.items[0].source.as_str()),
        ("operator.logged_in", "198.51.100.9")
    );
    // Programs come through it, too.
    let ca = server.edge.ca();
    let (_, key) = ca.add_operator(local(), "ci", Role::Operator).await.unwrap();
    let body = r#"{"name":"site-1","profile":"client"}"#;
    let headers = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\n{through}",
        *key
    );
    let request = browser.request("POST", "/api/v1/devices", &headers, body);
    let created = send([127, 0, 0, 2], &request).await;
    assert_eq!(created.status, 200, "{}", created.text());
    let page = muster_ca::list::AuditList::default();
    let entries = server.edge.ca().audit(local(), page).await.unwrap();
    assert_eq!(
        (entries.items[0].action.as_str(), entries.items[0].source.as_str()),
        ("device.created", "198.51.100.9")
    );
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

#[tokio::test]
async fn colours_are_chosen_and_given_back_to_the_system() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let pressed = |page: &str| {
        let buttons = page.split("name=\"theme\" value=\"").skip(1);
        let pressed = buttons.filter(|button| {
            button
                .split('>')
                .next()
                .unwrap()
                .contains("aria-pressed=\"true\"")
        });
        pressed
            .map(|button| button.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (choice, theme) in [
        ("", None),
        ("light", Some("light")),
        ("dark", Some("dark")),
        ("system", None),
    ] {
        if !choice.is_empty() {
            let done = browser
                .post("/theme", &format!("theme={choice}&back=devices%3Fq%3Da"))
                .await;
            assert_eq!(
                (done.status, done.header("location")),
                (303, Some("/devices?q=a"))
            );
        }
        let page = browser.get("/devices").await.text();
        let said = page.split("<html").nth(1).unwrap().split('>').next().unwrap();
        let expected = theme.map(|theme| format!("data-theme=\"{theme}\""));
        assert!(
            expected.map_or(!said.contains("data-theme"), |text| said.contains(&text)),
            "{choice}: {said}"
        );
        assert_eq!(pressed(&page), [theme.unwrap_or("system")]);
    }
    // To come back to what is shown this once would lose it, so only a script, which stays, may change the colours there.
    let page = browser.get("/tokens/-/new").await.text();
    assert!(page.contains("class=\"menu theme\""), "{page}");
    let made = browser
        .post("/tokens/-/new", "for=one&name=site-1&profile=client&lifetime=24h")
        .await
        .text();
    assert!(made.contains("class=\"menu theme only-script\""), "{made}");
    server.finish().await;
}
