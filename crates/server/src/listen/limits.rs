//! How many connections there may be: what the limit of open files leaves.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files for the database, the log, standard streams, and what is not thought of.
const RESERVE: u64 = 256;
/// The local socket must answer when the network side is full.
const LOCAL: usize = 64;
/// More connections than this would cost more memory than they are worth.
const MOST: u64 = 40_000;
/// When the system says nothing sensible.
const FEWEST: u64 = 64;

/// How many connections each listener may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) api: usize,
    pub(super) public: usize,
    pub(super) web: usize,
    pub(super) local: usize,
}

/// Raises the soft limit of open files to the hard one, and divides what there is.
pub(super) fn places() -> Places {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let files = match raised {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let places = divide(files.unwrap_or(u64::MAX));
    tracing::debug!(?files, ?places, "connections");
    places
}

fn divide(files: u64) -> Places {
    let all = files.saturating_sub(RESERVE).clamp(FEWEST, MOST);
    let all = usize::try_from(all).unwrap_or(LOCAL);
    let (public, web) = (all / 4, all / 16);
    Places {
        api: all - public - web,
        public,
        web,
        local: LOCAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_there_are_is_divided() {
        assert_eq!(
            divide(1024),
            Places {
                api: 528,
                public: 192,
                web: 48,
                local: 64
            }
        );
        assert_eq!(
            divide(20_000),
            Places {
                api: 13_574,
                public: 4_936,
                web: 1_234,
                local: 64
            }
        );
        assert_eq!(divide(u64::MAX).api, 27_500);
        assert_eq!(divide(10).public, 16);
    }
}
