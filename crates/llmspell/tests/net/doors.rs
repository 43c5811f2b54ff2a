//! All spellings of an address and all ways to reach one, with grants that look similar: no connection is made without
//! a grant. A canary listens on loopback, and must be reached only by the control request at the end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use llmspell::capability::{ConnectPermit, HttpRequest, Incoming, Net, Outgoing};
use llmspell::effect::Permit;
use llmspell::{Context, Error, ErrorKind, Grant, NetRule, Permissions, Result, Sockets};

use crate::server::{Server, answer};

/// Resolves names from a table; everything else is the real network.
#[derive(Default)]
struct Names {
    table: HashMap<String, Vec<IpAddr>>,
    sockets: Sockets,
}

impl Names {
    fn new(table: &[(&str, &[&str])]) -> Self {
        let row = |(name, addresses): &(&str, &[&str])| {
            ((*name).to_owned(), addresses.iter().map(|address| address.parse().unwrap()).collect())
        };
        Self { table: table.iter().map(row).collect(), sockets: Sockets::default() }
    }
}

impl Net for Names {
    fn resolve(&self, _: &Permit, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
        let found = self.table.get(name).cloned();
        let missing = Error::new(ErrorKind::Network, format!("{name} cannot be found"));
        async { found.ok_or(missing) }.boxed()
    }

    fn exchange(&self, dial: ConnectPermit, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
        self.sockets.exchange(dial, outgoing)
    }
}

fn names() -> Names {
    Names::new(&[
        ("good.test", &["127.0.0.1"]),
        ("metadata.test", &["169.254.169.254"]),
        ("mixed.test", &["93.184.216.34", "127.0.0.1"]),
        ("mixed-other-way.test", &["127.0.0.1", "93.184.216.34"]),
        ("mapped.test", &["::ffff:127.0.0.1"]),
        ("nat64.test", &["64:ff9b::7f00:1"]),
        ("sixtofour.test", &["2002:7f00:1::"]),
        ("compatible.test", &["::127.0.0.1"]),
        ("loopback6.test", &["::1"]),
        ("private.test", &["10.0.0.1"]),
        ("any.test", &["0.0.0.0"]),
        ("nowhere.test", &[]),
        ("localhost.", &["127.0.0.1"]),
        ("a.b.parent.test", &["127.0.0.1"]),
        ("www.parent.test", &["127.0.0.1"]),
        ("parent.test", &["127.0.0.1"]),
    ])
}

fn context(grants: &str) -> Context {
    let net = match grants {
        "all" => Grant::All,
        list => list.split_whitespace().map(|rule| rule.parse::<NetRule>().unwrap()).collect(),
    };
    let permissions = Permissions { net, ..Permissions::default() };
    Context::builder().permissions(permissions).net(Arc::new(names())).build()
}

/// Returns the result of a fetch: the body, or the error's kind, message and hints.
async fn fetch(url: &str, grants: &str) -> String {
    match context(grants).net().fetch(HttpRequest::new("GET", url)).await {
        Ok((response, _)) => String::from_utf8_lossy(&response.body).into_owned(),
        Err(error) => format!("{}: {} | {}", error.kind(), error.message(), error.hints().join("; ")),
    }
}

#[tokio::test]
async fn no_spelling_reaches_what_was_not_granted() {
    let canary = Server::start(|_| answer(200, "", "canary")).await;
    let port = canary.port;
    // URL, grants, and the refusal. PORT is the canary's port.
    let table = [
        // Not granted at all, in every spelling of one address.
        ("http://127.0.0.1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://2130706433:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://0x7f000001:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://0x7f.0.0.1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://0X7F.1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://017700000001:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://0177.0.0.01:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://127.1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://127.0.1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://127.0.0.1.:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://１２７.０.０.１:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://127。0．0｡1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://①②⑦.⓪.⓪.①:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://%31%32%37%2e0%2e0%2e1:PORT/", "", "denied 127.0.0.1:PORT"),
        ("http://0:PORT/", "", "denied 0.0.0.0:PORT"),
        ("http://[::1]:PORT/", "", "denied [::1]:PORT"),
        ("http://[0:0:0:0:0:0:0:1]:PORT/", "", "denied [::1]:PORT"),
        ("http://[::ffff:127.0.0.1]:PORT/", "", "denied [::ffff:7f00:1]:PORT"),
        ("http://localhost:PORT/", "", "denied localhost:PORT"),
        ("http://LOCALHOST:PORT/", "", "denied localhost:PORT"),
        ("http://ｌｏｃａｌｈｏｓｔ:PORT/", "", "denied localhost:PORT"),
        ("http://sub.localhost:PORT/", "", "denied sub.localhost:PORT"),
        ("HTTP:\\\\127.0.0.1:PORT\\", "", "denied 127.0.0.1:PORT"),
        ("http:127.0.0.1:PORT", "", "denied 127.0.0.1:PORT"),
        ("http:///127.0.0.1:PORT/", "", "denied 127.0.0.1:PORT"),
        // Something similar is granted.
        ("http://127.0.0.1:PORT/", "127.0.0.1:1", "denied 127.0.0.1:PORT"),
        ("http://127.0.0.1:PORT/", "127.0.0.2", "denied 127.0.0.1:PORT"),
        ("http://127.0.0.1:PORT/", "localhost", "denied 127.0.0.1:PORT"),
        ("http://[::1]:PORT/", "127.0.0.1", "denied [::1]:PORT"),
        ("http://localhost:PORT/", "127.0.0.1 [::1]", "denied localhost:PORT"),
        ("http://localhost:PORT/", "localhost:1", "denied localhost:PORT"),
        ("http://sub.localhost:PORT/", "localhost", "denied sub.localhost:PORT"),
        ("http://localhost.:PORT/", "localhost", "denied localhost.:PORT"),
        ("http://good.test.:PORT/", "good.test 127.0.0.1", "denied good.test.:PORT"),
        ("http://good.test.evil.test:PORT/", "good.test", "denied good.test.evil.test:PORT"),
        ("http://xgood.test:PORT/", "good.test", "denied xgood.test:PORT"),
        ("http://evil.test:PORT/good.test", "good.test", "denied evil.test:PORT"),
        ("http://evil.test:PORT/?good.test", "good.test", "denied evil.test:PORT"),
        ("http://evil.test:PORT#good.test", "good.test", "denied evil.test:PORT"),
        ("http://evil.test:PORT\\.good.test/", "*.good.test", "denied evil.test:PORT"),
        ("http://parent.test:PORT/", "*.parent.test 127.0.0.1", "denied parent.test:PORT"),
        ("http://a.b.parent.test:PORT/", "*.parent.test 127.0.0.1", "denied a.b.parent.test:PORT"),
        ("http://.parent.test:PORT/", "*.parent.test 127.0.0.1", "denied .parent.test:PORT"),
        // The name is granted, but resolves to an address that is not.
        ("http://good.test:PORT/", "good.test", "leads good.test:PORT 127.0.0.1"),
        ("http://good.test:PORT/", "good.test 127.0.0.1:1", "leads good.test:PORT 127.0.0.1"),
        ("http://good.test:PORT/", "good.test 127.0.0.2 localhost", "leads good.test:PORT 127.0.0.1"),
        ("http://www.parent.test:PORT/", "*.parent.test", "leads www.parent.test:PORT 127.0.0.1"),
        ("http://metadata.test/", "metadata.test", "leads metadata.test:80 169.254.169.254"),
        ("http://mixed.test:PORT/", "mixed.test", "leads mixed.test:PORT 127.0.0.1"),
        (
            "http://mixed-other-way.test:PORT/",
            "mixed-other-way.test",
            "leads mixed-other-way.test:PORT 127.0.0.1",
        ),
        ("http://loopback6.test:PORT/", "loopback6.test 127.0.0.1", "leads loopback6.test:PORT ::1"),
        ("http://private.test:PORT/", "private.test", "leads private.test:PORT 10.0.0.1"),
        ("http://any.test:PORT/", "any.test", "leads any.test:PORT 0.0.0.0"),
        ("http://localhost.:PORT/", "localhost.", "leads localhost.:PORT 127.0.0.1"),
        // An address embedded in another one is refused even if it is granted.
        ("http://[::ffff:127.0.0.1]:PORT/", "[::ffff:127.0.0.1]", "never [::ffff:7f00:1]:PORT"),
        ("http://[::127.0.0.1]:PORT/", "[::127.0.0.1]", "never [::7f00:1]:PORT"),
        ("http://[64:ff9b::127.0.0.1]:PORT/", "[64:ff9b::7f00:1]", "never [64:ff9b::7f00:1]:PORT"),
        ("http://[2002:7f00:1::]:PORT/", "[2002:7f00:1::]", "never [2002:7f00:1::]:PORT"),
        ("http://mapped.test:PORT/", "mapped.test 127.0.0.1 [::ffff:127.0.0.1]", "never mapped.test:PORT"),
        ("http://nat64.test:PORT/", "nat64.test 127.0.0.1", "never nat64.test:PORT"),
        ("http://sixtofour.test:PORT/", "sixtofour.test 127.0.0.1", "never sixtofour.test:PORT"),
        ("http://compatible.test:PORT/", "compatible.test 127.0.0.1", "never compatible.test:PORT"),
        // Not a URL to fetch, whatever is granted.
        ("http://good.test@127.0.0.1:PORT/", "all", "parse"),
        ("http://good.test:secret@127.0.0.1:PORT/", "all", "parse"),
        ("http://127.0.0.1:PORT@good.test/", "all", "parse"),
        ("http://good.test%00.evil.test:PORT/", "all", "parse"),
        ("http://127.0.0.1\t:PORT/", "all", "parse"),
        ("http://127.0.0.1:PORT/\r\nHost: good.test", "all", "parse"),
        ("\nhttp://127.0.0.1:PORT/", "all", "parse"),
        ("http://1.2.3.4.5:PORT/", "all", "parse"),
        ("http://256.0.0.1:PORT/", "all", "parse"),
        ("http://[::1%25lo]:PORT/", "all", "parse"),
        ("http://127.0.0.1:99999/", "all", "parse"),
        ("//127.0.0.1:PORT/", "all", "parse"),
        ("127.0.0.1:PORT", "all", "parse"),
        ("ftp://127.0.0.1:PORT/", "all", "parse"),
        ("file:///etc/passwd", "all", "parse"),
        ("gopher://127.0.0.1:PORT/", "all", "parse"),
        ("data:text/plain,hello", "all", "parse"),
        ("http://", "all", "parse"),
        ("", "all", "parse"),
        ("http://nowhere.test:PORT/", "nowhere.test", "network"),
    ];
    for (url, grants, expected) in table {
        let with_port = |text: &str| text.replace("PORT", &port.to_string());
        let came = fetch(&with_port(url), grants).await;
        let expected = with_port(expected);
        let fits = match expected.split(' ').collect::<Vec<_>>()[..] {
            ["denied", host] => {
                came == format!(
                    "permission.denied: the spell was not granted {host} | run it with --allow-net={host}"
                )
            }
            ["leads", host, address] => {
                let flag = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
                let port = host.rsplit_once(':').unwrap().1;
                came.starts_with(&format!("permission.denied: {host} leads to {address}, "))
                    && came.ends_with(&format!("run the spell with --allow-net={flag}:{port}"))
            }
            ["never", _] => came.starts_with("permission.denied") && came.contains("cannot be granted"),
            [kind] => came.starts_with(&format!("{kind}: ")),
            _ => false,
        };
        assert!(fits, "{url} with {grants:?} came to {came:?}, not {expected:?}");
        // Each URL that fits in a header is also tried as the target of a redirect.
        if url.bytes().all(|byte| byte.is_ascii_graphic())
            && url != "http:127.0.0.1:PORT"
            && !expected.starts_with("parse")
            && grants != "all"
        {
            let target = with_port(url);
            let door = Server::start(move |_| answer(302, &format!("location: {target}\r\n"), "")).await;
            let came = fetch(&door.url("/"), &format!("{grants} 127.0.0.1:{}", door.port)).await;
            assert!(
                came.starts_with("permission.denied: redirected by ")
                    || came.contains("leads to")
                    || came.contains("cannot be granted")
                    || came.starts_with("network"),
                "{url}: {came}"
            );
            assert_eq!(door.seen().len(), 1);
        }
    }
    assert_eq!(canary.seen(), Vec::<String>::new());
    assert_eq!(fetch(&canary.url("/"), &format!("127.0.0.1:{port}")).await, "canary");
    assert_eq!(canary.seen().len(), 1, "the control is the first to be heard");
}

#[tokio::test]
async fn what_was_granted_is_reached_by_name_and_by_address() {
    let server = Server::start(|_| answer(200, "", "hello")).await;
    for (url, grants) in [
        ("http://127.0.0.1:PORT/", "127.0.0.1"),
        ("http://0x7f.1:PORT/", "127.0.0.1:PORT"),
        ("http://localhost:PORT/", "localhost"),
        ("http://LocalHost:PORT/", "localhost:PORT"),
        ("http://app.localhost:PORT/", "app.localhost:PORT"),
        ("http://good.test:PORT/", "good.test 127.0.0.1"),
        ("http://good。test:PORT/", "GOOD.test:PORT 127.0.0.1:PORT"),
        ("http://www.parent.test:PORT/", "*.parent.test 127.0.0.1"),
        ("http://good.test:PORT/", "all"),
    ] {
        let with_port = |text: &str| text.replace("PORT", &server.port.to_string());
        assert_eq!(fetch(&with_port(url), &with_port(grants)).await, "hello", "{url} with {grants}");
    }
    let hosts: Vec<_> = server
        .seen()
        .iter()
        .map(|request| request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned())
        .collect();
    assert!(hosts[5].starts_with("good.test:"), "{hosts:?}");
}

#[tokio::test]
async fn a_connection_that_was_granted_to_one_run_serves_no_other() {
    // Two servers on one port, at different addresses, and one name for both.
    let first = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = tokio::net::TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    for (listener, body) in [(first, "first"), (second, "second")] {
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    use tokio::io::AsyncWriteExt;
                    // The connection stays open, so it could be used again.
                    while !crate::server::read_request(&mut socket).await.is_empty() {
                        let _ = socket.write_all(&answer(200, "", body)).await;
                    }
                });
            }
        });
    }
    let mut names = Names::default();
    let sockets = Arc::new(Sockets::default());
    struct Shared(HashMap<String, Vec<IpAddr>>, Arc<Sockets>);
    impl Net for Shared {
        fn resolve(&self, _: &Permit, name: &str) -> BoxFuture<'static, Result<Vec<IpAddr>>> {
            let found = self.0[name].clone();
            async { Ok(found) }.boxed()
        }
        fn exchange(&self, dial: ConnectPermit, outgoing: Outgoing) -> BoxFuture<'static, Result<Incoming>> {
            self.1.exchange(dial, outgoing)
        }
    }
    for (address, expected) in [("127.0.0.1", "first"), ("127.0.0.2", "second"), ("127.0.0.1", "first")] {
        names.table.insert("one.test".into(), vec![address.parse().unwrap()]);
        let net = Shared(names.table.clone(), Arc::clone(&sockets));
        let rules = ["one.test", address].map(|rule| rule.parse::<NetRule>().unwrap());
        let permissions = Permissions { net: rules.into_iter().collect(), ..Permissions::default() };
        let cx = Context::builder().permissions(permissions).net(Arc::new(net)).build();
        let request = HttpRequest::new("GET", format!("http://one.test:{port}/"));
        let (response, _) = cx.net().fetch(request).await.unwrap();
        assert_eq!(response.body, expected);
    }
}
