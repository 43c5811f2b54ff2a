//! The world of spell tests: the mock provider, a user who types three lines, and a web with one host.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use llmspell::capability::{ConnectPermit, Console, Incoming, Models, Net, Outgoing};
use llmspell::effect::Permit;
use llmspell::llm::{Client, Mock};
use llmspell::{Outcome, Permissions, Result, Runtime, Spell};

/// A console whose user types three lines and leaves.
struct Typist(Mutex<Vec<&'static str>>);

impl Console for Typist {
    fn read_line(&self, _: Permit, _: String) -> BoxFuture<'static, Result<Option<String>>> {
        let line = self.0.lock().unwrap().pop().map(str::to_owned);
        Box::pin(async { Ok(line) })
    }
}

/// A web with one host that echoes its requests.
struct Echo;

impl Net for Echo {
    fn resolve(&self, _: &Permit, _: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14))]) })
    }

    fn exchange(&self, dial: ConnectPermit, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        let url = dial.url();
        let (status, headers, body) = match url.path() {
            "/json" | "/notes.json" => {
                (200, vec![("Content-Type", "application/json")], Bytes::from(r#"{"names":["Ada"]}"#))
            }
            "/bytes" | "/logo.png" => (200, Vec::new(), Bytes::from_static(b"a\xffb")),
            "/echo" | "/notes" | "/notes/1" => {
                (200, Vec::new(), Bytes::from(asked(url.path(), url.query(), &outgoing)))
            }
            _ => (404, Vec::new(), Bytes::from("no such page")),
        };
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let body = futures_util::stream::iter([Ok(body)]).boxed();
        Box::pin(async move { Ok(Incoming { status, headers, body }) })
    }
}

/// Formats the request in one line: method, URL, the spell's header fields, and the body.
fn asked(path: &str, query: Option<&str>, outgoing: &Outgoing) -> String {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let fields: String = outgoing.headers.iter().map(|(name, value)| format!(" [{name}: {value}]")).collect();
    format!("{} {path}{query}{fields} {}", outgoing.method, String::from_utf8_lossy(&outgoing.body))
}

/// Runs a spell. It may read and write the folders `granted`, `notes` and `out`, and reach the hosts `pages.example` and
/// `example.com`, which are one.
#[expect(clippy::disallowed_methods, reason = "lays out the world")]
pub(crate) fn run(spell: Spell, mock: Mock) -> Outcome {
    let world = tempfile::tempdir().expect("a temporary folder");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    std::fs::create_dir(world.path().join("notes")).expect("a folder of the world");
    std::fs::write(world.path().join("notes/today.md"), "remember the milk\n").expect("a file of the world");
    let runtime = runtime(world.path(), mock);
    let cast = runtime.run(spell).permissions(permissions(world.path()));
    tokio.block_on(cast.start().outcome())
}

fn runtime(world: &Path, mock: Mock) -> Runtime {
    let models = Client::builder().mock(mock).build().expect("a client with a mock");
    Runtime::builder()
        .workers(1)
        .storage(world.join("storage"))
        .working_dir(world)
        .models(Arc::new(models) as Arc<dyn Models>)
        .console(Arc::new(Typist(Mutex::new(vec!["three", "two", "one"]))))
        .net(Arc::new(Echo))
        .build()
        .expect("a runtime")
}

fn permissions(world: &Path) -> Permissions {
    let granted = || ["granted", "notes", "out"].map(|folder| world.join(folder)).into_iter().collect();
    let net = ["pages.example", "example.com:443"].map(|host| host.parse().expect("a host"));
    let net = net.into_iter().collect();
    Permissions { read: granted(), write: granted(), net, ..Permissions::default() }
}
