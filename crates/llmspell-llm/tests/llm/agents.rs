//! Agents, with models that request wrong things, and with resources that run out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::stream::BoxStream;
use llmspell_core::agent::{AgentEvent, AgentStep};
use llmspell_core::capability::Console;
use llmspell_core::chat::{
    ChatRequest, Content, Delta, FinishReason, Message, ModelInfo, Part, Reply, Role, ToolCall,
};
use llmspell_core::effect::Permit;
use llmspell_core::{Budget, CallInfo, Context, Error, ErrorKind, Result, Value};
use llmspell_llm::{
    AgentEnd, AgentObserver, AgentReply, AgentSpec, Attempt, Client, Mock, ModelAgent, ObserverDecision,
    Overflow, Provider, Schema, Tool, ToolMode,
};
use serde_json::{Value as Json, json};

fn context(mock: &Mock) -> Context {
    Context::builder().models(Arc::new(Client::builder().mock(mock.clone()).build().unwrap())).build()
}

/// A tool that returns its text, or fails if the text is `fail`.
fn say() -> Tool {
    let takes = Schema::read(&json!({"text": "string"})).unwrap();
    Tool::new("say", "Says a text.", takes, |_, arguments: Json| async move {
        match arguments["text"].as_str().unwrap() {
            "fail" => Err(Error::runtime("there is no paper").hint("fill it in")),
            "long" => Ok(Value::from("x".repeat(100))),
            text => Ok(Value::from(format!("said {text}"))),
        }
    })
    .unwrap()
}

fn spec() -> AgentSpec {
    let request =
        ChatRequest { provider: Some("mock".into()), model: Some("echo".into()), ..ChatRequest::default() };
    AgentSpec { request, tools: vec![say()], ..AgentSpec::named("clerk") }
}

/// Records events as lines, and stops the agent at one of them.
#[derive(Default)]
struct Notes {
    lines: Mutex<Vec<String>>,
    streams: bool,
    stop_at: Option<&'static str>,
}

impl AgentObserver for Notes {
    fn observe(&self, event: AgentEvent) -> LocalBoxFuture<'_, Result<ObserverDecision>> {
        let line = match event.step {
            AgentStep::Text { text } => format!("text {text}"),
            AgentStep::Reasoning { text } => format!("thought {text}"),
            AgentStep::ToolCall { id, name, arguments } => format!("{id} {name} {arguments}"),
            AgentStep::ToolResult { id, content, is_error, .. } => {
                format!("{id} {} {content}", if is_error { "failed:" } else { "=" })
            }
            AgentStep::Shortened { policy, count, .. } => format!("{policy} {count}"),
            AgentStep::Usage { .. } => "usage".to_owned(),
        };
        let stop = self.stop_at.is_some_and(|at| line.contains(at));
        self.lines.lock().unwrap().push(format!("{} {line}", event.turn));
        Box::pin(std::future::ready(Ok(if stop { ObserverDecision::Stop } else { ObserverDecision::GoOn })))
    }

    fn streams(&self) -> bool {
        self.streams
    }
}

impl Notes {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

async fn run(agent: &ModelAgent, cx: &Context, notes: &Notes) -> Result<Option<AgentReply>> {
    match agent.run(cx, Message::user("go"), notes).await? {
        AgentEnd::Answered(reply) => Ok(Some(*reply)),
        AgentEnd::Stopped => Ok(None),
    }
}

/// Runs an agent with a mock. Returns its result and the recorded lines.
async fn play(mock: Mock, spec: AgentSpec) -> (Result<AgentReply>, Vec<String>) {
    let cx = context(&mock);
    let agent = ModelAgent::new(&cx, spec).unwrap();
    let notes = Notes::default();
    let result = run(&agent, &cx, &notes).await.map(Option::unwrap);
    (result, notes.lines())
}

fn calls(calls: &[(&str, Json)]) -> Vec<(String, Json)> {
    calls.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.clone())).collect()
}

#[tokio::test]
async fn r16_r17_what_the_model_does_wrong_it_is_told_and_may_do_better() {
    let mock = Mock::new()
        .reply_tool_calls(
            "let me see",
            calls(&[
                ("sing", json!({})),
                ("say", json!({"text": 5})),
                ("say", json!("{\"text\": ")),
                ("say", json!({"text": "fail"})),
                ("say", json!({"text": "hi"})),
            ]),
        )
        .reply("done");
    let (result, lines) = play(mock, spec()).await;
    let mut results: Vec<_> =
        lines.iter().filter(|line| line.contains(" = ") || line.contains("failed:")).collect();
    results.sort();
    assert_eq!(
        results,
        [
            "1 call_1_1 failed: there is no tool `sing`; there are: say",
            "1 call_1_2 failed: tool `say`: $.text: expected string, got integer 5",
            "1 call_1_3 failed: tool `say`: the arguments are no JSON object (invalid JSON: EOF while parsing a value at line 1 column 9): `{\"text\": `",
            "1 call_1_4 failed: there is no paper (fill it in)",
            "1 call_1_5 = said hi",
        ]
    );
    let reply = result.unwrap();
    assert_eq!((reply.text.as_str(), reply.turns, reply.tool_calls), ("done", 2, 2));
}

/// Returns these answers in order, and records its requests.
struct Replies(Mutex<VecDeque<Reply>>, Mutex<Vec<ChatRequest>>);

impl Provider for Replies {
    fn chat(&self, attempt: Attempt) -> BoxFuture<'static, Result<Reply>> {
        self.1.lock().unwrap().push((*attempt.request).clone());
        let reply = self.0.lock().unwrap().pop_front().unwrap();
        Box::pin(async { Ok(reply) })
    }

    fn stream(&self, _: Attempt) -> BoxFuture<'static, Result<BoxStream<'static, Result<Delta>>>> {
        unreachable!("nobody streams")
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ModelInfo>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Runs an agent with these answers. Returns its result and the requests to the model.
async fn answered(replies: Vec<Reply>, spec: AgentSpec) -> (Result<AgentReply>, Vec<ChatRequest>) {
    let provider = Arc::new(Replies(Mutex::new(replies.into()), Mutex::default()));
    let client = Client::builder().custom("p", provider.clone()).build().unwrap();
    let cx = Context::builder().models(Arc::new(client)).build();
    let request =
        ChatRequest { provider: Some("p".into()), model: Some("m".into()), ..ChatRequest::default() };
    let agent = ModelAgent::new(&cx, AgentSpec { request, ..spec }).unwrap();
    let result = run(&agent, &cx, &Notes::default()).await.map(Option::unwrap);
    let asked = provider.1.lock().unwrap().clone();
    (result, asked)
}

fn call(id: &str, arguments: Json) -> ToolCall {
    ToolCall { id: id.into(), name: "say".into(), arguments, signature: None, provider: None }
}

/// Returns the tool results in a message.
fn told(message: &Message) -> Vec<String> {
    let Content::Parts(results) = &message.content else { panic!("no results") };
    let line = |part: &Part| match part {
        Part::ToolResult { id, content, is_error } => format!("{id} {is_error} {content}"),
        other => format!("{other:?}"),
    };
    results.iter().map(line).collect()
}

#[tokio::test]
async fn r17_two_calls_of_one_id_both_run_and_have_ids_of_their_own() {
    let calls = ["one", "two"].map(|text| call("c", json!({"text": text}))).to_vec();
    let wanted = Reply { tool_calls: calls, ..Reply::default() };
    let done = Reply { text: "done".into(), ..Reply::default() };
    let (result, asked) = answered(vec![wanted, done], spec()).await;
    assert_eq!(result.unwrap().tool_calls, 2);
    assert_eq!(told(&asked[1].messages[2]), ["c false said one", "c_2 false said two"]);
}

#[tokio::test]
async fn r18_an_answer_that_was_cut_or_refused_says_so_and_is_not_taken_for_a_whole_one() {
    let cut =
        |text: &str| Reply { text: text.into(), finish_reason: FinishReason::Length, ..Reply::default() };
    let (result, _) = answered(vec![cut("half")], spec()).await;
    assert_eq!(result.unwrap().finish_reason, FinishReason::Length);

    for (finish_reason, kind) in [
        (FinishReason::Length, ErrorKind::EmptyResponse),
        (FinishReason::ContentFilter, ErrorKind::ContentFiltered),
        (FinishReason::Refusal, ErrorKind::EmptyResponse),
    ] {
        let (result, _) = answered(vec![Reply { finish_reason, ..Reply::default() }], spec()).await;
        assert_eq!(result.unwrap_err().kind(), kind, "{finish_reason:?}");
    }
    let output = Some(Schema::read(&json!({"name": "string"})).unwrap());
    let (result, _) = answered(vec![cut("{\"name\": \"Ada\"}")], AgentSpec { output, ..spec() }).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::OutputInvalid);

    let half = Reply { tool_calls: vec![call("c", json!("{\"text\": \"he"))], ..cut("") };
    let (result, asked) =
        answered(vec![half, Reply { text: "done".into(), ..Reply::default() }], spec()).await;
    assert_eq!(result.unwrap().text, "done");
    let told = told(&asked[1].messages[2]);
    assert_eq!(
        told,
        [
            r#"c true tool `say`: the arguments are no JSON object (invalid JSON: EOF while parsing a string at line 1 column 12): `{"text": "he`"#
        ]
    );
}

#[tokio::test]
async fn a_thousand_calls_that_were_made_up_are_answered_shortly_and_once() {
    let wanted = (0..1000).map(|number| (format!("made_up_{number}"), json!({"text": "x".repeat(50)})));
    let (result, lines) = play(
        Mock::new().reply_tool_calls("", wanted).reply("sorry"),
        AgentSpec { context_window: Some(100_000), ..spec() },
    )
    .await;
    let told: Vec<_> = lines.iter().filter(|line| line.contains("failed:")).collect();
    assert_eq!(told.len(), 1000);
    assert_eq!(told[0], "1 call_1_1 failed: there is no tool `made_up_0`; there are: say");
    assert_eq!(told[64], "1 call_1_65 failed: not run: an answer may call at most 64 tools");
    assert!(told.iter().all(|line| line.len() < 120));
    assert_eq!((result.as_ref().unwrap().turns, result.unwrap().tool_calls), (2, 0));
}

#[tokio::test]
async fn an_agent_that_never_answers_ends_and_keeps_what_was_said() {
    let mut mock = Mock::new();
    for _ in 0..3 {
        mock = mock.reply_tool_call("say", json!({"text": "hi"}));
    }
    let mock = mock.reply("at last");
    let cx = context(&mock);
    let agent = ModelAgent::new(&cx, AgentSpec { max_turns: 3, ..spec() }).unwrap();
    let error = run(&agent, &cx, &Notes::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TurnLimit);
    assert_eq!(error.message(), "agent `clerk` has no answer after 3 turns");
    assert_eq!(agent.messages().len(), 7);
    assert_eq!(run(&agent, &cx, &Notes::default()).await.unwrap().unwrap().text, "at last");
    assert_eq!(agent.messages().len(), 9);
}

#[tokio::test]
async fn a_turn_that_failed_was_not_said_and_those_before_it_were() {
    let failing = Error::new(ErrorKind::BadRequest, "no");
    let mock =
        Mock::new().error(failing.clone()).reply_tool_call("say", json!({"text": "hi"})).error(failing);
    let cx = context(&mock);
    let agent = ModelAgent::new(&cx, spec()).unwrap();
    for kept in [0, 3] {
        assert_eq!(run(&agent, &cx, &Notes::default()).await.unwrap_err().kind(), ErrorKind::BadRequest);
        assert_eq!(agent.messages().len(), kept);
    }
}

#[tokio::test]
async fn an_agent_spends_no_more_than_its_budget_and_the_run_goes_on() {
    let mut mock = Mock::new();
    for _ in 0..9 {
        mock = mock.reply_tool_call("say", json!({"text": "hi"}));
    }
    let cx = context(&mock);
    let budget = Some(Budget { model_calls: Some(2), ..Budget::default() });
    let agent = ModelAgent::new(&cx, AgentSpec { budget, ..spec() }).unwrap();
    let error = run(&agent, &cx, &Notes::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert_eq!(error.message(), "agent `clerk` reached its model_calls limit of 2: 2 made, 0 left");
    assert!(cx.models().chat(ChatRequest::prompt("hi")).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_has_to_be_data_is_and_one_that_is_none_is_asked_for_again() {
    let output = || Some(Schema::read(&json!({"name": "string", "age": "integer?"})).unwrap());
    let mock = Mock::new()
        .reply_tool_call("say", json!({"text": "hi"}))
        .reply("```json\n{'name': 'Ada', 'age': 'old',}\n```")
        .reply("{\"name\": \"Ada\", \"age\": \"36\"}");
    let (result, _) = play(mock.clone(), AgentSpec { output: output(), ..spec() }).await;
    let reply = result.unwrap();
    assert_eq!((reply.output, reply.turns), (Some(json!({"name": "Ada", "age": 36})), 3));
    let asked = mock.requests();
    assert!(
        asked[0].system.as_ref().unwrap().contains("\"additionalProperties\":false"),
        "{:?}",
        asked[0].system
    );
    let told = asked[2].messages.last().unwrap().joined_text().into_owned();
    assert!(told.contains(r#"$.age: expected integer, got string "old""#), "{told}");

    let (result, _) =
        play(Mock::new().reply("no").reply("no").reply("no"), AgentSpec { output: output(), ..spec() }).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutputInvalid);
    assert_eq!(error.call().unwrap().attempts, 3);
}

#[tokio::test]
async fn what_was_said_is_made_shorter_as_the_agent_has_it() {
    let long = "word ".repeat(60);
    let mock = |ending: &str| {
        let mut mock = Mock::new();
        for _ in 0..4 {
            mock = mock.reply_tool_call("say", json!({"text": long}));
        }
        mock.reply(ending)
    };
    let spec = |overflow| AgentSpec { context_window: Some(800), overflow, ..spec() };

    let (result, lines) = play(mock("done"), spec(Overflow::DropResults)).await;
    assert_eq!(result.unwrap().text, "done");
    assert!(lines.iter().any(|line| line.starts_with("5 drop_results 2")), "{lines:?}");

    let (result, _) = play(mock("done"), spec(Overflow::Fail)).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextExceeded);
    assert!(error.message().starts_with("what agent `clerk` would tell the model has about"), "{error}");

    let summing = Mock::new()
        .reply_tool_call("say", json!({"text": long}))
        .reply_tool_call("say", json!({"text": long}))
        .reply_tool_call("say", json!({"text": long}))
        .reply_tool_call("say", json!({"text": long}))
        .reply("It was said.")
        .reply(r#"{"name": "Ada"}"#);
    let output = Some(Schema::read(&json!({"name": "string"})).unwrap());
    let (result, lines) = play(summing.clone(), AgentSpec { output, ..spec(Overflow::Summarize) }).await;
    assert_eq!(result.unwrap().output, Some(json!({"name": "Ada"})));
    assert!(lines.iter().any(|line| line.starts_with("5 summarize 5")), "{lines:?}");
    assert_eq!(summing.requests()[4].system, None, "a summary is prose, and no schema is told of");
    let last = summing.requests().pop().unwrap();
    assert_eq!(last.messages[0].joined_text(), "[What was said before, summed up]\nIt was said.");
    assert_eq!(last.messages[1].role, Role::Assistant);
}

#[tokio::test]
async fn a_transcript_that_the_provider_refuses_as_too_long_is_made_shorter_once() {
    let refused = |numbers: Option<(u64, u64)>| {
        let error = Error::new(ErrorKind::ContextExceeded, "too long");
        error.with_call(CallInfo {
            limit_tokens: numbers.map(|(limit, _)| limit),
            prompt_tokens: numbers.map(|(_, prompt)| prompt),
            ..CallInfo::default()
        })
    };
    // Three results of tools, then the refusal. The last result stays.
    let mock = |errors: Vec<Error>| {
        let called = (0..3)
            .fold(Mock::new(), |mock, _| mock.reply_tool_call("say", json!({"text": "word ".repeat(60)})));
        errors.into_iter().fold(called, Mock::error).reply("done")
    };
    let spec = |overflow| AgentSpec { context_window: None, overflow, ..spec() };
    for (numbers, dropped) in [(None, 2), (Some((9_800, 10_000)), 1), (Some((4_000, 10_000)), 2)] {
        let (result, lines) = play(mock(vec![refused(numbers)]), spec(Overflow::DropResults)).await;
        assert_eq!(result.unwrap().text, "done", "{numbers:?}");
        let shortened = format!("4 drop_results {dropped}");
        assert!(lines.contains(&shortened), "{numbers:?}: {lines:?}");
    }
    for (errors, overflow) in [(1, Overflow::Fail), (2, Overflow::DropResults)] {
        let (result, lines) = play(mock(vec![refused(None); errors]), spec(overflow)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ContextExceeded, "{overflow:?}: {lines:?}");
    }
    // There is nothing to shorten.
    let (result, lines) = play(Mock::new().error(refused(None)), spec(Overflow::DropResults)).await;
    assert_eq!(result.unwrap_err().message(), "too long", "{lines:?}");
}

#[tokio::test]
async fn what_was_made_shorter_for_a_question_without_an_answer_does_not_hold_the_question() {
    let mut mock = Mock::new();
    for _ in 0..4 {
        mock = mock.reply_tool_call("say", json!({"text": "word ".repeat(60)}));
    }
    let mock = mock.reply("word ".repeat(60)).error(Error::new(ErrorKind::BadRequest, "no"));
    let cx = context(&mock);
    let agent = ModelAgent::new(&cx, AgentSpec { context_window: Some(800), ..spec() }).unwrap();
    run(&agent, &cx, &Notes::default()).await.unwrap();
    let (said, notes) = (agent.messages().len(), Notes::default());
    assert_eq!(run(&agent, &cx, &notes).await.unwrap_err().kind(), ErrorKind::BadRequest);
    assert!(notes.lines()[0].starts_with("1 drop_results"), "{:?}", notes.lines());
    assert_eq!(agent.messages().len(), said);
    assert_eq!(agent.messages().last().unwrap().role, Role::Assistant);
}

#[tokio::test]
async fn a_long_result_is_cut_where_everyone_sees_it() {
    let mock = Mock::new().reply_tool_call("say", json!({"text": "long"})).reply("done");
    let (_, lines) = play(mock, AgentSpec { max_result: 10, ..spec() }).await;
    assert!(
        lines.contains(&"1 call_1 = xxxxxxxxxx\n[cut: 10 of 100 bytes are shown]".to_owned()),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_model_without_tools_calls_them_in_its_text() {
    let mock = Mock::new()
        .reply("Let me. <tool_call>{\"name\": \"say\", \"arguments\": {\"text\": \"hi\"}}</tool_call>")
        .reply("<tool_call>{\"name\": \"say\", \"arguments\": ")
        .reply("done");
    let (result, lines) = play(mock.clone(), AgentSpec { tool_mode: Some(ToolMode::Text), ..spec() }).await;
    let reply = result.unwrap();
    assert_eq!((reply.text.as_str(), reply.turns, reply.tool_calls), ("done", 3, 1));
    assert!(lines.contains(&"1 call_1 = said hi".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("2 call_1 failed: there is no tool ``")), "{lines:?}");
    let asked = mock.requests();
    assert!(asked[0].tools.is_empty() && asked[0].system.as_ref().unwrap().contains("\"name\":\"say\""));
    assert_eq!(asked[1].messages[2].joined_text(), "<tool_response>said hi</tool_response>\n");
}

#[tokio::test]
async fn a_model_that_is_known_to_call_no_tools_is_refused_them_unless_it_is_said_how() {
    let cx = context(&Mock::new());
    let make = |model: &str, tool_mode| {
        let request = ChatRequest {
            provider: Some("mistral".into()),
            model: Some(model.into()),
            ..ChatRequest::default()
        };
        ModelAgent::new(&cx, AgentSpec { request, tool_mode, ..spec() }).map(drop)
    };
    let error = make("open-mistral-nemo", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.message(), "the model mistral/open-mistral-nemo calls no tools");
    for tool_mode in [ToolMode::Text, ToolMode::Native] {
        make("open-mistral-nemo", Some(tool_mode)).unwrap();
    }
    make("a-model-nobody-knows", None).unwrap();
}

#[tokio::test]
async fn whoever_listens_may_stop_and_what_was_said_is_kept() {
    for (streams, stop_at, kept) in [(true, "one", 2), (false, "one", 0), (false, "say", 0)] {
        let mock = Mock::new().reply_tool_calls("one two three", calls(&[("say", json!({"text": "hi"}))]));
        let cx = context(&mock);
        let agent = ModelAgent::new(&cx, spec()).unwrap();
        let notes = Notes { streams, stop_at: Some(stop_at), ..Notes::default() };
        assert!(run(&agent, &cx, &notes).await.unwrap().is_none());
        assert_eq!(agent.messages().len(), kept, "{streams} {stop_at}");
        assert!(!notes.lines().iter().any(|line| line.contains(" = ")));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_answer_run_at_once_and_are_answered_in_their_order() {
    let slow = Tool::new(
        "wait",
        "Waits.",
        Schema::read(&json!({"ms": "integer"})).unwrap(),
        |_, arguments: Json| async move {
            let span = std::time::Duration::from_millis(arguments["ms"].as_u64().unwrap());
            tokio::time::sleep(span).await;
            Ok(Value::from(span.as_secs_f64()))
        },
    )
    .unwrap();
    let wanted = (0..10).map(|number| ("wait".to_owned(), json!({"ms": 100 - number})));
    let mock = Mock::new().reply_tool_calls("", wanted).reply("done");
    let cx = context(&mock);
    let agent = ModelAgent::new(&cx, AgentSpec { tools: vec![slow], ..spec() }).unwrap();
    let began = tokio::time::Instant::now();
    run(&agent, &cx, &Notes::default()).await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 100);
    let Content::Parts(results) = &agent.messages()[2].content else { panic!("no results") };
    let ids: Vec<_> = results
        .iter()
        .map(|part| match part {
            Part::ToolResult { id, .. } => id.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, (1..=10).map(|number| format!("call_1_{number}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_takes_too_long_has_failed() {
    let stuck =
        Tool::new("stick", "Waits for ever.", Schema::known(json!({})), |_, _| std::future::pending())
            .unwrap()
            .timeout(Some(std::time::Duration::from_secs(5)));
    let mock = Mock::new().reply_tool_call("stick", json!({})).reply("done");
    let (result, lines) = play(mock, AgentSpec { tools: vec![stuck], ..spec() }).await;
    assert_eq!(result.unwrap().text, "done");
    assert!(
        lines.contains(&"1 call_1 failed: tool `stick`: it took longer than its limit of 5 s".to_owned())
    );
}

#[tokio::test]
async fn a_tool_that_asks_runs_only_when_the_user_says_yes() {
    struct Says(Option<&'static str>, Arc<Mutex<Vec<String>>>);
    impl Console for Says {
        fn read_line(&self, _: Permit, prompt: String) -> BoxFuture<'static, Result<Option<String>>> {
            self.1.lock().unwrap().push(prompt);
            let line = self.0.map(str::to_owned);
            Box::pin(async { Ok(line) })
        }
    }
    for (says, told) in [
        (Some("y"), "1 call_1 = said hi\u{202e}"),
        (Some(""), "1 call_1 failed: tool `say`: it was not run: the user said no"),
        (Some("yes please"), "1 call_1 failed: tool `say`: it was not run: the user said no"),
        (None, "1 call_1 failed: tool `say`: it was not run: the user said no"),
    ] {
        let mock = Mock::new().reply_tool_call("say", json!({"text": "hi\u{202e}"})).reply("done");
        let asked = Arc::default();
        let client = Client::builder().mock(mock).build().unwrap();
        let cx = Context::builder()
            .models(Arc::new(client))
            .console(Arc::new(Says(says, Arc::clone(&asked))))
            .build();
        let agent = ModelAgent::new(&cx, AgentSpec { tools: vec![say().confirm(true)], ..spec() }).unwrap();
        let notes = Notes::default();
        run(&agent, &cx, &notes).await.unwrap();
        assert!(notes.lines().contains(&told.to_owned()), "{says:?}: {:?}", notes.lines());
        assert_eq!(*asked.lock().unwrap(), [r#"Run the tool `say` with {"text":"hi\u{202e}"}? [y/N] "#]);
    }
    let mock = Mock::new().reply_tool_call("say", json!({"text": "hi"})).reply("done");
    let (_, lines) = play(mock, AgentSpec { tools: vec![say().confirm(true)], ..spec() }).await;
    assert!(
        lines.contains(
            &"1 call_1 failed: tool `say`: it was not run: nobody is there to confirm it".to_owned()
        )
    );
}
