//! Where the GUI is reached: names, base path, TLS, proxies, and forms of other sites.

use std::net::SocketAddr;

use crate::common::browser::{Browser, PASSWORD, local, logged_in};
use crate::common::{Server, exchange};
use muster_ca::operator::Role;
use muster_server::web::Method;

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

#[tokio::test]
async fn a_form_from_another_site_does_nothing() {
    let (mut browser, server) = logged_in().await;
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
    let unknown = browser.get("/pki/api/v1/nothing").await;
    assert_eq!(
        (unknown.status, unknown.refusal().as_str()),
        (404, "there is nothing at this path")
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
