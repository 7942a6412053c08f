//! Every page that links lead to.

use std::collections::BTreeSet;

use super::Answer;
use super::browser::Browser;

/// As many pages as are looked at.
const MOST: usize = 400;

/// Follows every link from the dashboard on, and shows each page.
pub async fn crawl(browser: &mut Browser, mut look: impl FnMut(&str, &Answer)) {
    let mut seen = BTreeSet::new();
    let mut ahead = vec!["/".to_owned()];
    while let Some(path) = ahead.pop() {
        if seen.len() > MOST || !seen.insert(path.clone()) {
            continue;
        }
        let page = browser.get(&path).await;
        look(&path, &page);
        let text = page.text();
        assert!(!text.is_empty() || path != "/", "{:?}", page.headers("location"));
        let links = attributes(&text, "href").map(|link| link.replace("&#38;", "&"));
        ahead.extend(links.filter(|link| link.starts_with('/') && !link.starts_with("/static/")));
    }
}

/// What the attributes of this name hold.
pub fn attributes(page: &str, name: &str) -> impl Iterator<Item = String> {
    page.split(&format!(" {name}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}
