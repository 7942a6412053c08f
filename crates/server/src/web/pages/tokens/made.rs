//! A token that was just made: its secret is shown this once.

use askama::Template;
use muster_ca::token::EnrolmentToken;

use super::whom;
use crate::web::components::{Copied, Icon, Qr, When, quoted};
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html};

#[derive(Template)]
#[template(path = "pages/tokens/made.html")]
struct Made<'a> {
    frame: Frame,
    whom: String,
    id: &'a str,
    secret: Copied,
    uses: u32,
    expires: When,
    qr: Qr,
    line: Copied,
    is_wave: bool,
}

pub(super) fn page(visit: &Visit, token: &EnrolmentToken, secret: &str) -> Answer {
    let name = token.device.as_ref().map_or("NAME", |name| name.as_str());
    html(&Made {
        frame: visit.frame("The token is made"),
        whom: whom(token),
        id: &token.id,
        secret: Copied::new("secret", secret, "Copy the secret"),
        uses: token.uses,
        expires: When::long(token.expires),
        qr: Qr::new(secret, "QR code of the token's secret"),
        line: Copied::new(
            "line",
            &line(&visit.web().settings().ca_url, name, secret),
            "Copy the line",
        ),
        is_wave: token.device.is_none(),
    })
}

/// What a device needs OpenSSL, curl and jq for, and the root certificate. The key is made there and stays there.
pub(super) fn line(url: &str, name: &str, secret: &str) -> String {
    let name = quoted(name);
    format!(
        "openssl ecparam -name prime256v1 -genkey -noout -out {name}.key && \
         openssl req -new -key {name}.key -subj /CN={name} | \
         jq -Rs --arg token {secret} '{{token: $token, csr: .}}' | \
         curl -fsS --cacert root_ca.crt -H 'content-type: application/json' -d @- {url}/api/v1/enrol | \
         jq -r '.pem, .issuing' > {name}.crt"
    )
}
