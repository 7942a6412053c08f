//! Users and their own accounts, in the GUI: invitations, roles, API keys, passwords, one-time codes, sessions.

use crate::common::Answer;
use crate::common::browser::{Browser, PASSWORD, between, local, logged_in};
use muster_ca::operator::Role;

const NEW: &str = "another horse battery";

/// What a page shows once.
fn secret(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.header("cache-control"), Some("no-store"));
    between(&page.text(), "id=\"secret\">", "<").to_owned()
}

fn path_of(link: &str, browser: &Browser) -> String {
    let site = format!("http://{}", browser.host);
    link.strip_prefix(&site).unwrap().to_owned()
}

fn choice(password: &str) -> String {
    format!(
        "password={0}&repeated={0}&totp=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&code=",
        password.replace(' ', "+")
    )
}

#[tokio::test]
async fn a_person_comes_in_by_an_invitation_that_works_once() {
    let (mut admin, server) = logged_in().await;
    let made = admin.post("/users", "name=bob&role=viewer&kind=person").await;
    let link = path_of(&secret(&made), &admin);
    assert!(link.starts_with("/invitation/bob/"), "{link}");
    assert!(
        !admin.get("/users/bob").await.text().contains(&link),
        "shown once"
    );

    let mut bob = Browser::at(&server);
    assert_eq!(bob.get("/invitation/bob/guess").await.status, 401);
    assert_eq!(bob.get(&link.replace("bob", "admin")).await.status, 401);
    let page = bob.get(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<b>bob</b>") && !page.text().contains("id=\"name\""));
    let refused = bob.post(&link, &choice("too short")).await;
    assert_eq!(refused.status, 422);
    // The form cannot choose another name.
    let done = bob.post(&link, &format!("name=admin&{}", choice(NEW))).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/login")));
    assert_eq!(bob.post(&link, &choice(PASSWORD)).await.status, 401, "once");
    assert_eq!(bob.log_in("bob", NEW).await.status, 303);
    assert_eq!(bob.get("/users").await.status, 403);

    // A newer invitation voids the one before; using it ends what was.
    let first = path_of(&secret(&admin.post("/users/bob/invitation", "").await), &admin);
    let second = path_of(&secret(&admin.post("/users/bob/invitation", "").await), &admin);
    assert_eq!(bob.get("/").await.status, 200, "until it is used");
    assert_eq!(bob.get(&first).await.status, 401);
    assert_eq!(bob.post(&second, &choice(PASSWORD)).await.status, 303);
    assert_eq!(bob.get("/").await.status, 303);
    assert_eq!(bob.log_in("bob", PASSWORD).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn an_invitation_of_somebody_removed_lets_nobody_in() {
    let (mut admin, server) = logged_in().await;
    let made = admin.post("/users", "name=bob&role=admin&kind=person").await;
    let link = path_of(&secret(&made), &admin);
    let wrong = admin.post("/users/bob/remove", "confirm=bobby").await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("not the name"), "{}", wrong.text());
    let removed = admin.post("/users/bob/remove", "confirm=bob").await;
    assert_eq!(
        (removed.status, removed.header("location")),
        (303, Some("/users"))
    );
    assert_eq!(admin.get("/users/bob").await.status, 404);
    admin.post("/users", "name=bob&role=viewer&kind=person").await;
    assert_eq!(Browser::at(&server).get(&link).await.status, 401);
    server.finish().await;
}

#[tokio::test]
async fn an_api_key_is_shown_once_and_ends() {
    let (mut admin, server) = logged_in().await;
    let status = async |key: &str| {
        let header = format!("Authorization: Bearer {key}\r\n");
        let mut program = Browser::at(&server);
        let request = program.request("GET", "/api/v1/status", &header, "");
        program.send(&request).await.status
    };
    let first = secret(&admin.post("/users", "name=ci&role=operator&kind=program").await);
    assert_eq!(status(&first).await, 200);
    assert!(!admin.get("/users/ci").await.text().contains(&first));
    let second = secret(&admin.post("/users/ci/key", "").await);
    assert_eq!((status(&first).await, status(&second).await), (401, 200));
    let done = admin.post("/users/ci/key/revoke", "").await;
    assert_eq!((done.status, done.header("location")), (303, Some("/users/ci")));
    assert_eq!(status(&second).await, 401);
    server.finish().await;
}

#[tokio::test]
async fn a_role_changes_at_once_and_nobody_changes_their_own() {
    let (mut admin, server) = logged_in().await;
    let ca = server.edge.ca();
    ca.add_operator(local(), "bob", Role::Admin).await.unwrap();
    ca.set_password(local(), "bob", NEW).await.unwrap();
    let mut bob = Browser::at(&server);
    bob.log_in("bob", NEW).await;
    assert_eq!(bob.get("/users").await.status, 200);
    let done = admin.post("/users/bob/role", "role=viewer").await;
    assert_eq!(done.status, 303);
    assert_eq!(bob.get("/users").await.status, 403);
    assert_eq!(bob.get("/").await.status, 200);
    for (path, body) in [
        ("/users/admin/role", "role=viewer"),
        ("/users/admin/remove", "confirm=admin"),
    ] {
        let refused = admin.post(path, body).await;
        assert!([403, 422].contains(&refused.status), "{path}: {}", refused.status);
        assert!(
            refused.text().contains("another administrator"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(admin.get("/users").await.status, 200);
    assert_eq!(admin.post("/users/bob/role", "role=emperor").await.status, 400);
    assert_eq!(admin.post("/users/nobody/role", "role=viewer").await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn a_refused_name_comes_back_beside_its_field() {
    let (mut admin, server) = logged_in().await;
    for name in [
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "",
        "../x",
        "muster",
        "a+b",
        "admin",
    ] {
        let refused = admin
            .post("/users", &format!("name={name}&role=viewer&kind=person"))
            .await;
        assert_eq!(refused.status, 422, "{name}: {}", refused.text());
        assert!(refused.text().contains("name-refusal"), "{name}");
        assert!(!refused.text().contains("<script>alert"), "{name}");
    }
    server.finish().await;
}

#[tokio::test]
async fn an_own_password_is_changed_with_the_one_before() {
    let (mut admin, server) = logged_in().await;
    let mut elsewhere = Browser::at(&server);
    elsewhere.log_in("admin", PASSWORD).await;
    let form = |current: &str, new: &str, repeated: &str| {
        format!("current={current}&password={new}&repeated={repeated}").replace(' ', "+")
    };
    for (body, why) in [
        (
            form("a guessed password", NEW, NEW),
            "not the password that you log in with",
        ),
        (form(PASSWORD, NEW, PASSWORD), "not the same"),
        (form(PASSWORD, "short", "short"), "at least 12 characters"),
    ] {
        let refused = admin.post("/account/password", &body).await;
        assert_eq!(refused.status, 422, "{why}");
        assert!(refused.text().contains(why), "{}", refused.text());
    }
    let done = admin.post("/account/password", &form(PASSWORD, NEW, NEW)).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/login")));
    assert_eq!(elsewhere.get("/").await.status, 303, "every session has ended");
    assert_eq!(admin.get("/").await.status, 303);
    assert!(
        admin
            .get("/login")
            .await
            .text()
            .contains("Your password is changed.")
    );
    assert_eq!(admin.log_in("admin", NEW).await.status, 303);
    // A stolen session does not guess the password for long.
    let mut held_up = false;
    for _ in 0..40 {
        let refused = admin
            .post("/account/password", &form("a guessed password", NEW, NEW))
            .await;
        held_up |= refused.text().contains("too many attempts");
    }
    assert!(held_up);
    server.finish().await;
}

#[tokio::test]
async fn codes_are_turned_on_with_a_code_and_off_with_the_password() {
    let (mut admin, server) = logged_in().await;
    let page = admin.get("/account").await.text();
    let totp = between(&page, "name=\"totp\" value=\"", "\"").to_owned();
    let bytes = muster_ca::password::read_secret(&totp).unwrap();
    let password = PASSWORD.replace(' ', "+");
    let code = || crate::common::browser::code(&bytes, server.edge.ca().now().as_second());
    let wrong = format!("totp={totp}&code=12345x&code_password={password}");
    let refused = admin.post("/account/code", &wrong).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("code-refusal") && refused.text().contains(&totp));
    let guessed = format!("totp={totp}&code={}&code_password=guess", code());
    let refused = admin.post("/account/code", &guessed).await;
    assert!(
        refused.text().contains("code_password-refusal"),
        "{}",
        refused.text()
    );
    let right = format!("totp={totp}&code={}&code_password={password}", code());
    assert_eq!(admin.post("/account/code", &right).await.status, 303);
    assert_eq!(
        admin.log_in("admin", PASSWORD).await.status,
        401,
        "without a code"
    );
    let login = format!("name=admin&password={password}&code={}", code());
    assert_eq!(admin.post("/login", &login).await.status, 303);
    assert_eq!(
        admin
            .post("/account/code/remove", "code_password=guess")
            .await
            .status,
        422
    );
    let off = format!("code_password={password}");
    assert_eq!(admin.post("/account/code/remove", &off).await.status, 303);
    assert_eq!(admin.log_in("admin", PASSWORD).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn a_session_elsewhere_is_seen_and_ended() {
    let (mut admin, server) = logged_in().await;
    let mut elsewhere = Browser::at(&server);
    elsewhere.log_in("admin", PASSWORD).await;
    let page = admin.get("/account").await.text();
    assert_eq!(page.matches("action=\"/account/sessions/").count(), 2);
    assert_eq!(page.matches("this browser").count(), 1);
    let others = page
        .split("<tr>")
        .find(|row| row.contains("action=\"/account/sessions/") && !row.contains("this browser"))
        .unwrap();
    let path = between(others, "action=\"", "\"").to_owned();
    // Nobody ends another's.
    let ca = server.edge.ca();
    ca.add_operator(local(), "bob", Role::Admin).await.unwrap();
    ca.set_password(local(), "bob", NEW).await.unwrap();
    let mut bob = Browser::at(&server);
    bob.log_in("bob", NEW).await;
    assert_eq!(bob.post(&path, "").await.status, 404);
    assert_eq!(elsewhere.get("/").await.status, 200);
    assert_eq!(admin.post(&path, "").await.status, 303);
    assert_eq!(elsewhere.get("/").await.status, 303);
    assert_eq!(admin.get("/").await.status, 200);
    server.finish().await;
}

#[tokio::test]
async fn the_list_is_narrowed_sorted_paged_and_saved() {
    let (mut admin, server) = Browser::and_server().await;
    admin.log_in("admin", PASSWORD).await;
    let ca = server.edge.ca().clone();
    for (name, role) in [
        ("carol", Role::Viewer),
        ("bob", Role::Viewer),
        ("ci", Role::Operator),
    ] {
        ca.add_operator(local(), name, role).await.unwrap();
    }
    let shown = |page: &str| -> Vec<String> {
        let cells = page.split("<td class=\"key\"><a href=\"/users/").skip(1);
        cells
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    let page = admin.get("/users?role=viewer&sort=-name").await.text();
    assert_eq!(shown(&page), ["carol", "bob"]);
    assert!(page.contains("aria-sort=\"descending\""), "{page}");
    assert!(
        page.contains("muster user list --limit 50 --role viewer --sort=-name"),
        "{page}"
    );
    assert_eq!(shown(&admin.get("/users?q=C").await.text()), ["carol", "ci"]);
    let page = admin.get("/users?limit=3").await.text();
    assert_eq!(shown(&page), ["admin", "bob", "carol"]);
    let next = page.split("\" rel=\"next\"").next().unwrap();
    let next = next.rsplit("href=\"").next().unwrap().replace("&#38;", "&");
    let page = admin.get(&next).await.text();
    assert_eq!(shown(&page), ["ci"]);
    assert!(page.contains("rel=\"prev\""), "{page}");
    let page = admin.get("/users?show=role").await.text();
    assert!(
        page.contains("data-label=\"Role\"") && !page.contains("data-label=\"Since\""),
        "{page}"
    );
    let csv = admin.get("/users.csv?role=viewer&limit=1").await.text();
    assert!(
        csv.contains("name,role,created,logs_in,second_factor,has_key\nbob,viewer,"),
        "{csv}"
    );
    assert_eq!(csv.matches(',').count(), 3 * 5, "{csv}");
    let json = admin.get("/users.json?q=ci").await.text();
    assert!(
        json.contains(r#""name":"ci""#) && json.contains(r#""has_key":true"#),
        "{json}"
    );
    assert_eq!(admin.get("/users?sort=age").await.status, 400);
    server.finish().await;
}

#[tokio::test]
async fn several_are_removed_by_their_count() {
    let (mut admin, server) = logged_in().await;
    let ca = server.edge.ca().clone();
    for name in ["bob", "carol", "dave"] {
        ca.add_operator(local(), name, Role::Viewer).await.unwrap();
    }
    let list = admin.get("/users").await.text();
    assert_eq!(
        list.matches("name=\"name\" value=").count(),
        3,
        "nobody ticks themselves"
    );
    let asked = admin.post("/remove-users", "name=bob&name=carol").await;
    assert_eq!(asked.status, 200);
    let text = asked.text();
    assert!(
        text.contains("Remove 2 users?") && text.contains("for name in bob carol; do muster user remove"),
        "{text}"
    );
    let wrong = admin.post("/remove-users", "name=bob&name=carol&count=3").await;
    assert_eq!(wrong.status, 422);
    assert!(
        wrong.text().contains("2 are chosen, so nothing was done"),
        "{}",
        wrong.text()
    );
    for (form, status) in [
        ("", 400),
        ("name=nobody&count=1", 404),
        ("name=bob&name=nobody&count=2", 404),
        ("name=admin&count=1", 403),
    ] {
        let refused = admin.post("/remove-users", form).await;
        assert_eq!(refused.status, status, "{form}: {}", refused.text());
    }
    assert!(ca.one_operator(local(), "bob").await.is_ok(), "all or none");
    let done = admin.post("/remove-users", "name=bob&name=carol&count=2").await;
    assert_eq!((done.status, done.header("location")), (303, Some("/users")));
    for (name, there) in [("bob", false), ("carol", false), ("dave", true), ("admin", true)] {
        assert_eq!(ca.one_operator(local(), name).await.is_ok(), there, "{name}");
    }
    server.finish().await;
}

#[tokio::test]
async fn an_invitation_is_the_way_back_while_strangers_guess() {
    let (_, server) = Browser::and_server().await;
    let mut stranger = Browser::at(&server);
    while stranger.log_in("admin", "a stranger guesses").await.status != 429 {}
    let mut owner = Browser::at(&server);
    let refused = owner.log_in("admin", PASSWORD).await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.text().contains("muster user invite NAME"),
        "{}",
        refused.text()
    );
    let secret = server.edge.ca().invite(local(), "admin").await.unwrap();
    let link = format!("/invitation/admin/{}", *secret);
    assert_eq!(owner.post(&link, &choice(NEW)).await.status, 303);
    assert_eq!(owner.log_in("admin", NEW).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn a_name_is_no_path_and_no_option() {
    let (mut admin, server) = logged_in().await;
    for name in [".", "..", "-x", "_x", "@x", ""] {
        let refused = admin
            .post("/users", &format!("name={name}&role=viewer&kind=person"))
            .await;
        assert_eq!(refused.status, 422, "{name}");
    }
    for name in ["0x", "x-._@y"] {
        let made = admin
            .post("/users", &format!("name={name}&role=viewer&kind=person"))
            .await;
        assert_eq!(made.status, 200, "{name}");
    }
    server.finish().await;
}
