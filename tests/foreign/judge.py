"""What Python's cryptography and pkilint say about the files in a directory.

    judge.py cryptography DIR | pkilint DIR

DIR holds root.pem, issuing.pem, certificates/NAME.pem and unlinted/NAME.pem (one certificate each; pkilint does not see the
latter) and crls/NAME.pem; a certificate on the CRL is also named in revoked.txt, one name a line. Prints what is wrong, one line each; exits 1 if there was something.
"""

import contextlib
import datetime
import io
import json
import pathlib
import sys


def certificates(directory):
    return sorted((directory / "certificates").glob("*.pem"))


def crls(directory):
    return sorted((directory / "crls").glob("*.pem"))


def by_cryptography(directory):
    from cryptography import x509

    root = x509.load_pem_x509_certificate((directory / "root.pem").read_bytes())
    issuing = x509.load_pem_x509_certificate((directory / "issuing.pem").read_bytes())
    issuing.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    revoked = (directory / "revoked.txt").read_text().split()
    paths = [*certificates(directory), *sorted((directory / "unlinted").glob("*.pem"))]
    leaves = {path.stem: x509.load_pem_x509_certificate(path.read_bytes()) for path in paths}
    for name, leaf in leaves.items():
        try:
            leaf.verify_directly_issued_by(issuing)
            for extension in leaf.extensions:
                extension.value.public_bytes()
            verify_chain(leaf, issuing, root)
        except Exception as why:
            yield f"{name}: {why!r}"
    for path in crls(directory):
        crl = x509.load_pem_x509_crl(path.read_bytes())
        issuer = next(ca for ca in (root, issuing) if ca.subject == crl.issuer)
        if not crl.is_signature_valid(issuer.public_key()):
            yield f"{path.stem}: its signature is wrong"
        crl.extensions.get_extension_for_class(x509.CRLNumber)
        crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        if path.stem != "issuing":
            continue
        for name, leaf in leaves.items():
            listed = crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
            if (listed is not None) != (name in revoked):
                yield f"{name}: the CRL says {listed}"
            elif listed is not None:
                listed.extensions.get_extension_for_class(x509.CRLReason)


def verify_chain(leaf, issuing, root):
    """With the strict rules of WebPKI for the CAs, and for leaves where these can be: they want a name and no Ed25519."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.x509 import verification
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if isinstance(leaf.public_key(), ed25519.Ed25519PublicKey):
        return
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = verification.PolicyBuilder().store(verification.Store([root])).time(now)
    names = [extension.value for extension in leaf.extensions if extension.oid == x509.SubjectAlternativeName.oid]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if not names:
        builder = builder.extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
    if ExtendedKeyUsageOID.CLIENT_AUTH in usages:
        builder.build_client_verifier().verify(leaf, [issuing])
    if ExtendedKeyUsageOID.SERVER_AUTH in usages:
        for dns in names[0].get_values_for_type(x509.DNSName):
            builder.build_server_verifier(x509.DNSName(dns.replace("*", "any"))).verify(leaf, [issuing])


def by_pkilint(directory):
    from pkilint.bin import lint_crl, lint_pkix_cert

    lines = [(path, lint_pkix_cert.main, ["lint"]) for path in certificates(directory)]
    lines += [(directory / f"{name}.pem", lint_pkix_cert.main, ["lint"]) for name in ("root", "issuing")]
    lines += [(path, lint_crl.main, ["lint", "-t", "CRL", "-p", "PKIX"]) for path in crls(directory)]
    for path, lint, arguments in lines:
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                lint([*arguments, "-f", "JSON", "-s", "ERROR", str(path)])
        except SystemExit as end:
            if end.code not in (0, None) and not output.getvalue():
                yield f"{path.stem}: pkilint ended with {end.code}"
                continue
        for found in json.loads(output.getvalue() or "{}").get("results", []):
            for finding in found["finding_descriptions"]:
                yield f"{path.stem}: {finding['severity']} {finding['code']} {finding.get('message')} at {found['node_path']}"
        if not output.getvalue().strip():
            yield f"{path.stem}: pkilint said nothing at all"


def main():
    judge = {"cryptography": by_cryptography, "pkilint": by_pkilint}[sys.argv[1]]
    wrong = list(judge(pathlib.Path(sys.argv[2])))
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
