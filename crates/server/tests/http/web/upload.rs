//! A form with a file, as a browser without scripts sends it.

use crate::common::browser::logged_in;
use muster_backends::signer::generate;
use muster_pki::key::KeyKind;

#[tokio::test]
async fn a_request_comes_as_a_file_without_a_script() {
    let (browser, server) = logged_in().await;
    let key = generate(KeyKind::P256).unwrap();
    let csr = muster_pki::csr::Csr::build("site-1", &[], &key).unwrap();
    let csr_pem = muster_pki::pem::encode(muster_pki::pem::CSR, &csr).unwrap();
    for (name, file) in [("site-1", csr.as_slice()), ("site-2", csr_pem.as_bytes())] {
        let mut body = Vec::new();
        for (field, value) in [
            ("name", name.as_bytes()),
            ("profile", b"client"),
            ("validity", b""),
            ("sans", b""),
            ("key", b"csr"),
            ("csr", b""),
            ("csr_file", file),
        ] {
            let file = if field == "csr_file" {
                "; filename=\"a.csr\""
            } else {
                ""
            };
            let head = format!("--line\r\nContent-Disposition: form-data; name=\"{field}\"{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--line--\r\n");
        let headers = format!(
            "Content-Type: multipart/form-data; boundary=line\r\nOrigin: http://{}\r\n",
            browser.host
        );
        let mut request = browser.request("POST", "/issue", &headers, "").into_bytes();
        let text = String::from_utf8(request).unwrap();
        let text = text.replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        request = text.into_bytes();
        request.extend_from_slice(&body);
        let stream = tokio::net::TcpStream::connect(browser.address).await.unwrap();
        let answer = crate::common::exchange(stream, &request).await;
        assert_eq!(answer.status, 303, "{name}: {}", answer.text());
        assert!(answer.header("location").unwrap().starts_with("/certificates/"));
    }
    server.finish().await;
}
