//! Bodies of requests: bounded, and read as leniently as Go's `encoding/json` does.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use muster_pki::pem;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::Failure;

/// The longest body that is taken.
const MAX_BODY: usize = 64 * 1024;
/// So much more is read and thrown away: whoever still writes would not read the answer.
const MAX_DRAINED: usize = 1024 * 1024;

/// A whole body within the limit.
pub(super) struct Bounded(pub(super) Bytes);

impl<S: Sync> FromRequest<S> for Bounded {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        read(request.into_body()).await.map(Self)
    }
}

async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MAX_DRAINED {
            break;
        }
        if length > MAX_BODY {
            continue;
        }
        // Nearly every body is one frame, and needs no copy.
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(before) => {
                whole.extend_from_slice(&before);
                whole.extend_from_slice(&data);
            }
        }
    }
    if length > MAX_BODY {
        return Err(Failure::too_large(format!(
            "the body is longer than {} KiB",
            MAX_BODY / 1024
        )));
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// The members of every request that has a body. What is absent or `null` is empty, as in Go.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    pub(super) csr: Cow<'a, str>,
    pub(super) ott: Cow<'a, str>,
    pub(super) not_before: Cow<'a, str>,
    pub(super) not_after: Cow<'a, str>,
    pub(super) serial: Cow<'a, str>,
    pub(super) reason: Cow<'a, str>,
    pub(super) reason_code: i64,
    pub(super) passive: bool,
}

impl<'a> Fields<'a> {
    /// Reads the first JSON value of a body; what follows it is passed over.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Failure> {
        let mut json = serde_json::Deserializer::from_slice(body);
        json.deserialize_map(Object)
            .map_err(|why| Failure::bad(format!("the body is not the JSON that belongs here: {why}")))
    }

    /// The request's DER.
    pub(super) fn csr(&self) -> Result<Vec<u8>, Failure> {
        if matches!(&*self.csr, "" | "null") {
            return Err(Failure::bad("missing csr"));
        }
        let blocks = pem::decode_all(&self.csr).map_err(|why| Failure::bad(format!("invalid csr: {why}")))?;
        let first = blocks.into_iter().next();
        first
            .map(|block| block.der)
            .ok_or_else(|| Failure::bad("invalid csr: it is not PEM"))
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(Text)? {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            let text = match () {
                () if is("csr") => &mut fields.csr,
                () if is("ott") => &mut fields.ott,
                () if is("notBefore") => &mut fields.not_before,
                () if is("notAfter") => &mut fields.not_after,
                () if is("serial") => &mut fields.serial,
                () if is("reason") => &mut fields.reason,
                () if is("reasonCode") => {
                    fields.reason_code = map.next_value::<Option<i64>>()?.unwrap_or_default();
                    continue;
                }
                () if is("passive") => {
                    fields.passive = map.next_value::<Option<bool>>()?.unwrap_or_default();
                    continue;
                }
                () => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *text = map.next_value_seed(Text)?;
        }
        Ok(fields)
    }
}

/// A text, borrowed from the body if nothing in it is escaped.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn names_in_any_case_and_unknown_members_are_taken() {
        let body = br#"{"CSR":"a\nb","ott":"t","notbefore":null,"templateData":{"a":[1,{}]},"reasoncode":4,"passive":true} junk"#;
        let fields = Fields::read(body).unwrap();
        assert_eq!(fields.csr, "a\nb");
        assert!(matches!(fields.ott, Cow::Borrowed("t")));
        assert_eq!(
            (fields.not_before.as_ref(), fields.reason_code, fields.passive),
            ("", 4, true)
        );
    }

    #[test]
    fn what_is_not_json_or_of_another_type_is_refused() {
        for bad in [
            "",
            "{",
            "[]",
            "null",
            "7",
            r#"{"csr":7}"#,
            r#"{"passive":"yes"}"#,
            r#"{"reasonCode":1.5}"#,
            "{\"csr\":\"a",
        ] {
            assert!(Fields::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = format!("{{\"x\":{}", "[".repeat(60_000));
        assert!(Fields::read(deep.as_bytes()).is_err());
    }

    /// Whatever is sent is read or refused, in a second's worth of attempts; `BOLERO_RANDOM_TEST_TIME_MS` gives it longer.
    #[test]
    fn any_bytes_as_a_body() {
        const WORDS: [&str; 22] = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"csr\"",
            "\"OTT\"",
            "\"serial\"",
            "\"reasonCode\"",
            "\"passive\"",
            "\"x\"",
            "null",
            "true",
            "1",
            "1e9",
            "-1",
            "\"\\ud800\"",
            "\"-----BEGIN A-----\\n\"",
            " ",
            "\u{0}",
        ];
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<u8>)>()
            .for_each(|(bytes, choice)| {
                let text: String = choice
                    .iter()
                    .map(|at| WORDS[usize::from(*at) % WORDS.len()])
                    .collect();
                for body in [
                    bytes.as_slice(),
                    text.as_bytes(),
                    format!("{{{text}}}").as_bytes(),
                ] {
                    if let Ok(fields) = Fields::read(body) {
                        let _ = fields.csr();
                    }
                }
            });
    }
}
