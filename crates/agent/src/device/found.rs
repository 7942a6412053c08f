//! What lies in a directory where no device has enrolled: what `muster agent sign`, `muster cert issue` or `step` put there for this
//! very site is gone on with, and what belongs to somebody else stays as it is.

use std::path::Path;

use muster_pki::cert::Certificate;

use super::anchors::{comes_from, is_in};
use super::files::{ANCHORS, read_certificates, read_pair};
use super::settings::has_enrolled;
use crate::pair::Pair;
use crate::{Error, disk};

/// Whether anything lies there.
pub(super) fn lies_there(dir: &Path, name: &str) -> bool {
    dir.join(ANCHORS).exists() || dir.join(format!("{name}.crt")).exists()
}

/// Refuses a directory whose `ca.crt` is another CA's, or whose `NAME.crt` comes from one.
pub(super) fn may_use(dir: &Path, name: &str, roots: &[Certificate]) -> Result<(), Error> {
    let place = dir.display();
    let refuse = |what: String| {
        Err(Error::new(format!(
            "{what} (choose another directory with --dir, or move that file away if nothing needs it)"
        )))
    };
    let cas = read(&dir.join(ANCHORS))?;
    let is_ours = |cas: &Vec<Certificate>| cas.first().is_some_and(|first| is_in(first, roots));
    if cas.as_ref().is_some_and(|cas| !is_ours(cas)) {
        return refuse(format!(
            "{ANCHORS} in {place} begins with another certificate than a root of this CA"
        ));
    }
    let chain = read(&dir.join(format!("{name}.crt")))?;
    let cas = cas.unwrap_or_default();
    if chain.is_some_and(|chain| !comes_from(&chain, &cas, roots)) {
        return refuse(format!("{name}.crt in {place} does not come from this CA"));
    }
    Ok(())
}

/// The pair of this name that lies there, though no device has enrolled.
pub(super) fn pair(dir: &Path, name: &str) -> Result<Option<Pair>, Error> {
    if has_enrolled(dir) {
        return Ok(None);
    }
    read_pair(&dir.join(format!("{name}.crt")), &dir.join(format!("{name}.key")))
}

/// `None` if there is nothing, as in a file of blanks or zero bytes; what cannot be read is no certificate of ours.
fn read(path: &Path) -> Result<Option<Vec<Certificate>>, Error> {
    let is_something = |byte: &u8| *byte != 0 && !byte.is_ascii_whitespace();
    let lies_there = disk::read(path)?.is_some_and(|bytes| bytes.iter().any(is_something));
    lies_there.then(|| read_certificates(path)).transpose()
}
