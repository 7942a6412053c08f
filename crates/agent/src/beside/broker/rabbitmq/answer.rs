//! What RabbitMQ asks (rabbitmq_auth_backend_http): who comes in, and what each may do.
//!
//! It is asked by name when a session begins, whatever the handshake said before, so who was half-way in is refused. Topics come
//! as AMQP has them, with dots for slashes: a name or a rule with a dot of its own could be taken for another one, and gets nothing.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::beside::access::{AccessList, Way};
use crate::beside::http::form;

/// The agent's own user, which no device can be called.
pub(super) const AGENT: &str = "muster-agent";
const ALLOW: &str = "allow";
const DENY: &str = "deny";
/// Where MQTT messages go.
const EXCHANGE: &str = "amq.topic";

/// A question.
struct Question(Vec<(String, String)>);

impl Question {
    fn of(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The answer to a question, and the topic if it was one that was refused.
pub(super) fn answer(
    list: &AccessList,
    secret: &str,
    path: &str,
    body: &[u8],
) -> (&'static str, Option<(String, String)>) {
    let question = Question(form(body));
    let name = question.of("username");
    if name == AGENT {
        return (own(secret, path, &question), None);
    }
    let allowed = list.lets_in(name)
        && match path {
            // A password says that it is no certificate.
            "/user" => !name.is_empty() && question.of("password").is_empty(),
            "/vhost" => question.of("vhost") == "/" && question.of("client_id") == name,
            "/resource" => may_use(name, &question),
            "/topic" => return topic(list, name, &question),
            _ => false,
        };
    (if allowed { ALLOW } else { DENY }, None)
}

/// The agent itself may do what ends sessions.
fn own(secret: &str, path: &str, question: &Question) -> &'static str {
    let known = verify_slices_are_equal(question.of("password").as_bytes(), secret.as_bytes()).is_ok();
    match path {
        "/user" if known => "allow administrator",
        "/vhost" => ALLOW,
        _ => DENY,
    }
}

/// Its own queues, and the exchange of all.
fn may_use(name: &str, question: &Question) -> bool {
    let (what, permission) = (question.of("name"), question.of("permission"));
    match question.of("resource") {
        "exchange" => what == EXCHANGE && matches!(permission, "read" | "write"),
        "queue" => {
            let own = what.strip_prefix("mqtt-subscription-");
            let own = own.and_then(|rest| rest.strip_prefix(name));
            own.is_some_and(|rest| matches!(rest, "qos0" | "qos1"))
        }
        _ => false,
    }
}

fn topic(list: &AccessList, name: &str, question: &Question) -> (&'static str, Option<(String, String)>) {
    let way = match question.of("permission") {
        "write" => Way::Publish,
        "read" => Way::Subscribe,
        _ => return (DENY, None),
    };
    let key = question.of("routing_key");
    let filter = key.replace('.', "/").replace('*', "+");
    let sound = question.of("name") == EXCHANGE && !name.contains(['.', '*']);
    if sound && list.lets_in(name) && list.allows_dotless(name, way, &filter) {
        (ALLOW, None)
    } else {
        (DENY, Some((name.to_owned(), filter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(list: &AccessList, path: &str, body: &str) -> &'static str {
        answer(list, "secret", path, body.as_bytes()).0
    }

    #[test]
    fn a_device_comes_in_by_its_name_and_uses_its_own() {
        let list = r#"{"default":{"publish":["fleet/%u/#"],"subscribe":["fleet/%u/#"]},"devices":{},"denied":["canary"],"shut_out":["out"]}"#;
        let list = AccessList::read(list).unwrap_or_default();
        let says = |path: &str, body: &str| says(&list, path, body);
        assert_eq!(says("/user", "username=dev-1"), ALLOW);
        assert_eq!(says("/user", "username=dev-1&password=x"), DENY, "no certificate");
        for out in ["/user", "/vhost"] {
            assert_eq!(says(out, "username=out&vhost=%2F&client_id=out"), DENY);
        }
        assert_eq!(says("/vhost", "username=dev-1&vhost=%2F&client_id=dev-1"), ALLOW);
        assert_eq!(says("/vhost", "username=dev-1&vhost=%2F&client_id=dev-10"), DENY);
        assert_eq!(
            says("/vhost", "username=dev-1&vhost=%2F"),
            DENY,
            "AMQP has no client id"
        );
        let queue = |name: &str| {
            let body = format!("username=dev-1&resource=queue&permission=read&name=mqtt-subscription-{name}");
            says("/resource", &body)
        };
        assert_eq!(
            (queue("dev-1qos1"), queue("dev-10qos1"), queue("dev-1qos1x")),
            (ALLOW, DENY, DENY)
        );
        let topic = |name: &str, key: &str| {
            let body = format!("username={name}&name=amq.topic&permission=write&routing_key={key}");
            says("/topic", &body)
        };
        assert_eq!(
            (
                topic("dev-1", "fleet.dev-1.up"),
                topic("dev-1", "fleet.dev-10.up")
            ),
            (ALLOW, DENY)
        );
        assert_eq!(
            (topic("dev-1", "fleet.*.up"), topic("dev-1", "%23")),
            (DENY, DENY)
        );
        // With a dot in it, a name could be two levels of a topic.
        assert_eq!(topic("dev.1", "fleet.dev.1.up"), DENY);
        assert_eq!(topic("canary", "fleet.canary.up"), DENY);
    }

    #[test]
    fn the_agents_own_name_needs_its_secret() {
        let list = AccessList::default();
        assert_eq!(
            says(&list, "/user", "username=muster-agent&password=secret"),
            "allow administrator"
        );
        for wrong in ["", "&password=", "&password=secre", "&password=secret1"] {
            assert_eq!(
                says(&list, "/user", &format!("username=muster-agent{wrong}")),
                DENY
            );
        }
        assert_eq!(
            says(
                &list,
                "/topic",
                "username=muster-agent&name=amq.topic&permission=write"
            ),
            DENY
        );
    }
}
