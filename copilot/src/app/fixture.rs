//! An [`App`] with two small corpora, for the tests of both interfaces.

use docsgate_grant::Keys;

use super::*;
use crate::search::tests::{chunk, index};

pub(crate) const KEY: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Serves `names`, with nothing loaded yet, to whom `guard` lets pass.
pub(crate) fn empty(names: &[&str], guard: Guard) -> App {
    App::new(Shared {
        live: LiveIndexes::new(names.iter().map(|name| (*name).to_owned())),
        guard,
        ranking: search::Settings::default(),
        answering: answer::Settings::default(),
        generator: None,
        metrics: Metrics::default(),
        traces: Traces::default(),
        unanswered: Unanswered::new(10),
        memory: SearchMemory::new(64 << 20),
        streams: Streams::new(1, 2),
    })
}

/// Documents for everybody and documents for members, behind grants signed with [`KEY`].
pub(crate) fn app() -> App {
    let app = empty(&["public", "member"], Guard::Grants(Keys::parse(KEY).unwrap()));
    let public = [
        chunk(
            "https://d/backup/",
            "Backups",
            "To restore a database, run the restore job with the date. Backups are nightly.",
        ),
        chunk("https://d/net/", "Networks", "Open a port with a rule. Networks are isolated."),
    ];
    let member = [
        chunk("https://m/zanzibar/", "Zanzibar", "The zanzibarium canary is fed on Tuesdays with quibblewort seeds."),
        chunk("https://m/port/", "Ports for members", "Members open a port by asking the quibblewort desk."),
    ];
    assert!(app.live.put(index("public", &public)) && app.live.put(index("member", &member)));
    app
}
