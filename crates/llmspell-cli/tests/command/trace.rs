//! `--trace` shows each effect as it happens, and `OTEL_EXPORTER_OTLP_ENDPOINT` exports the run as a trace.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::support::{finish, folder, read_request};

const SPELL: &str = r#"
print("begin")
local answers = promise.map({"one", "two"}, function(word)
    return assert(llm.chat(word, {temperature = 0.5}))
end):await()
local kept = spell.step("keep", function() storage.set("answers", answers) return 2 end)
llm.stream_chat("three", function(piece) end)
print(pcall(http.get, "http://127.0.0.1:1/?token=query-canary"))
pcall(llm.chat, "x", {model = "no-such-model"})
return kept
"#;

/// Returns the trace on stderr, without times, which vary.
fn traced(stderr: &str) -> Vec<String> {
    let is_time = |fact: &str| {
        let number = fact.trim_end_matches(['m', 's']);
        number != fact && number.parse::<f64>().is_ok()
    };
    let line = |line: &str| {
        let facts = line.split("  ").map(|fact| if is_time(fact) { "TIME" } else { fact });
        facts.collect::<Vec<_>>().join("  ")
    };
    stderr.lines().filter(|line| line.starts_with("trace: ")).map(line).collect()
}

#[test]
fn a_trace_shows_each_effect_as_it_happens() {
    let folder = folder(&[("spell.luau", SPELL)]);
    let words = ["run", "spell.luau", "--trace", "-q", "--allow-net=127.0.0.1"];
    let ran = folder.run(&words);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut lines = traced(&ran.stderr);
    // The two concurrent calls end in any order.
    lines[..4].sort();
    assert_eq!(
        lines,
        [
            "trace:  ┌ main.1#1  models.chat",
            "trace:  ┌ main.2#1  models.chat",
            "trace:  └ main.1#1  models.chat  mock/echo  5→3 tokens  free  TIME",
            "trace:  └ main.2#1  models.chat  mock/echo  5→3 tokens  free  TIME",
            "trace: · step(keep)#2  storage.set  answers  TIME",
            "trace: · step(keep)#1  spell.step  keep  TIME",
            "trace: ┌ main#1  models.stream",
            "trace: └ main#1  models.stream  mock/echo  6→3 tokens  free  TIME",
            "trace: ┌ main#2  net.fetch  http://127.0.0.1:1/?token=query-canary",
            "trace: └ main#2  net.fetch  http://127.0.0.1:1/?token=query-canary  network: cannot connect \
             to http://127.0.0.1:1: Connection refused (os error 111)  TIME",
            "trace: ┌ main#3  models.chat  no-such-model",
            "trace: └ main#3  models.chat  no-such-model  unknown_model: `mock` has no model `no-such-model`  TIME",
        ]
    );
}

/// A collector that reports what it received, once.
fn collector(answer: &'static str) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = channel();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (head, body) = read_request(&mut socket);
        sender.send((head, serde_json::from_str(&body).unwrap())).unwrap();
        let length = answer.len();
        write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}")
            .unwrap();
    });
    (format!("http://{address}"), received)
}

/// Formats a span: its ancestors' names, its own name, and its attributes except ids and paths.
fn drawn(spans: &[Value]) -> Vec<String> {
    let by_id = |id: &Value| spans.iter().find(|span| span["spanId"] == *id);
    let line = |span: &Value| {
        let mut names = vec![span["name"].as_str().unwrap()];
        let mut above = by_id(&span["parentSpanId"]);
        while let Some(span) = above {
            names.push(span["name"].as_str().unwrap());
            above = by_id(&span["parentSpanId"]);
        }
        names.reverse();
        let attributes = span["attributes"].as_array().unwrap().iter().filter_map(|attribute| {
            let name = attribute["key"].as_str().unwrap();
            let value = attribute["value"].as_object().unwrap().values().next().unwrap();
            let told = name.starts_with("gen_ai") || name.starts_with("http") || name.starts_with("url");
            // The mock numbers its answers in order of arrival.
            (told && name != "gen_ai.response.id")
                .then(|| format!("{}={value}", name.trim_start_matches("gen_ai.")))
        });
        let attributes: Vec<_> = attributes.collect();
        let failed =
            span["status"]["message"].as_str().map(|why| format!(" FAILED {why}")).unwrap_or_default();
        format!("{} {}{failed}", names.join(" > "), attributes.join(" ")).trim().to_owned()
    };
    let mut lines: Vec<_> = spans.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn a_run_is_exported_as_a_trace_without_what_was_said() {
    let folder =
        folder(&[("spell.luau", SPELL), (".env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9\n")]);
    let (endpoint, received) = collector("{}");
    let mut command = folder.command(&["run", "spell.luau", "-q", "--allow-net=127.0.0.1"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20b");
    command.env("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=blue");
    command.env("OTEL_SERVICE_NAME", "greeter");
    let ran = finish(&mut command);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (head, export) = received.recv().unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n") && head.contains("x-token: a b\r\n"), "{head}");
    let resource = &export["resourceSpans"][0];
    let of_resource = resource["resource"]["attributes"].to_string();
    assert!(of_resource.contains("greeter") && of_resource.contains("blue"), "{of_resource}");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    assert!(spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]));
    assert!(!export.to_string().contains("canary"), "no query");
    let chat = |task: &str| {
        format!(
            "spell spell > task {task} > chat echo operation.name=\"chat\" provider.name=\"mock\" \
             request.model=\"echo\" request.stream=false request.temperature=0.5 response.model=\"echo\" \
             response.finish_reasons={{\"values\":[{{\"stringValue\":\"stop\"}}]}} usage.input_tokens=\"5\" \
             usage.output_tokens=\"3\""
        )
    };
    assert_eq!(
        drawn(spans),
        [
            "spell spell > GET http.request.method=\"GET\" url.full=\"http://127.0.0.1:1/\" \
             FAILED cannot connect to http://127.0.0.1:1: Connection refused (os error 111)",
            "spell spell > chat echo operation.name=\"chat\" provider.name=\"mock\" request.model=\"echo\" \
             request.stream=true response.model=\"echo\" \
             response.finish_reasons={\"values\":[{\"stringValue\":\"stop\"}]} usage.input_tokens=\"6\" \
             usage.output_tokens=\"3\"",
            "spell spell > chat no-such-model operation.name=\"chat\" request.model=\"no-such-model\" \
             request.stream=false FAILED `mock` has no model `no-such-model`",
            "spell spell > step(keep)",
            "spell spell > step(keep) > spell.step",
            "spell spell > step(keep) > storage.set",
            "spell spell > task main.1",
            &chat("main.1"),
            "spell spell > task main.2",
            &chat("main.2"),
            "spell spell usage.input_tokens=\"16\" usage.output_tokens=\"9\"",
        ]
    );
}

#[test]
fn what_was_said_is_exported_only_where_that_is_asked_for() {
    let folder = folder(&[("spell.luau", "return llm.chat('secret question', {system = 'be brief'})")]);
    let (endpoint, received) = collector("{}");
    let mut command = folder.command(&["run", "spell.luau", "-q"]);
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{endpoint}/traces"));
    command.env("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
    assert_eq!(finish(&mut command).code, 0);
    let (head, export) = received.recv().unwrap();
    assert!(head.starts_with("POST /traces HTTP/1.1\r\n"), "{head}");
    let spans = &export["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let told = |name: &str| {
        let attributes = spans[0]["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|attribute| attribute["key"] == name).unwrap();
        serde_json::from_str::<Value>(found["value"]["stringValue"].as_str().unwrap()).unwrap()
    };
    let text = |text: &str| serde_json::json!([{"type": "text", "content": text}]);
    assert_eq!(told("gen_ai.system_instructions"), text("be brief"));
    assert_eq!(
        told("gen_ai.input.messages"),
        serde_json::json!([{"role": "user", "parts": text("secret question")}])
    );
    let answer = serde_json::json!([{
        "role": "assistant", "parts": text("mock: secret question"), "finish_reason": "stop",
    }]);
    assert_eq!(told("gen_ai.output.messages"), answer);
}

#[test]
fn a_collector_that_is_gone_or_refuses_is_a_warning_and_no_failure() {
    let folder = folder(&[("spell.luau", "return time.now() > 0")]);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (refusing, _received) =
        collector(r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too many"}}"#);
    for (endpoint, warning) in [
        (format!("http://{gone}"), "Connection refused (os error 111)"),
        (refusing, "it refuses 2 spans: too many"),
        ("nonsense".to_owned(), "relative URL without a base"),
    ] {
        let mut command = folder.command(&["run", "spell.luau"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let ran = finish(&mut command);
        let warning = format!("warning: the trace could not be exported: {warning}\n");
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (0, "true\n", warning));
    }
}
