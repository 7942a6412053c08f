//! Validity: what the profile does not give, and what no calendar has.

use serde_json::json;

use crate::common::requester::csr;
use crate::world::World;

#[test]
fn a_validity_outside_the_profile_is_refused() {
    let world = World::start();
    let token = world.requester.token("site-001");
    let body = |not_before: &str, not_after: &str| {
        json!({ "csr": csr("site-001"), "ott": token, "notBefore": not_before, "notAfter": not_after })
            .to_string()
    };
    for (not_before, not_after, status, words) in [
        ("", "9000h", 403, "at most"),
        ("", "1m", 403, "at least"),
        ("", "-1h", 400, "past"),
        ("", "2001-01-01T00:00:00Z", 400, "past"),
        ("1h", "1m", 403, "at least"),
        ("2400h", "", 403, "30 days"),
        ("-48h", "", 403, "a day ago"),
        ("2h", "2001-01-01T00:00:00Z", 400, ""),
        ("9999-12-30T00:00:00Z", "", 403, "30 days"),
        ("9999-12-30T00:00:00Z", "1m", 403, "30 days"),
        ("", "9999-12-30T00:00:00Z", 403, "at most"),
        ("-009999-01-02T01:59:59Z", "", 403, "a day ago"),
        (
            "-009999-01-02T01:59:59Z",
            "9999-12-30T00:00:00Z",
            403,
            "a day ago",
        ),
        ("tomorrow", "", 400, "notBefore"),
        ("", "5", 400, "notAfter"),
        ("", "99999999999999999999h", 400, "notAfter"),
        ("", "NaNh", 400, "notAfter"),
        ("", "1e400h", 400, "notAfter"),
    ] {
        world.refuses(
            &format!("{not_before:?} to {not_after:?}"),
            &body(not_before, not_after),
            status,
            words,
        );
    }
    world.still_works(&token, "site-001");
}
