//! The `llm` bridge on scripted models.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use llmspell_core::bridge::{Arguments, BridgeSet, Handler};
use llmspell_core::capability::Models;
use llmspell_core::chat::{FinishReason, Reply};
use llmspell_core::{Context, Error, ErrorKind, Value};
use serde_json::json;

use crate::world::{Heard, Scripted, call, call_on, function, read, refusal, run_with, table, value};

#[tokio::test]
async fn a_question_may_be_a_text_a_list_or_a_request() {
    let prompts = [
        (Value::from("Hi"), "near/small: Hi"),
        (
            value(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])),
            "near/small: a | b",
        ),
        (
            value(json!({"messages": [{"role": "user", "content": "Hi"}], "model": "far/wide"})),
            "far/wide: Hi",
        ),
    ];
    for (prompt, asked) in prompts {
        let models = Arc::default();
        let answer = call(&run_with(&models), "llm.chat", vec![prompt]).await.unwrap();
        assert_eq!(answer, Value::from("Hello, Ada"));
        assert_eq!(models.asked(), [asked]);
    }
}

#[tokio::test]
async fn wrong_questions_are_explained() {
    let fields = "`messages`, `system`, `model`, `provider`, `temperature`, `top_p`, `max_tokens`, `stop`, `seed`, \
                  `reasoning`, `tools`, `output`, `cache`, `timeout`, `retries`, `fallback`";
    let options = fields.strip_prefix("`messages`, ").unwrap();
    let hi = || Value::from("Hi");
    let cases = [
        (
            vec![Value::from(5)],
            "argument 1 (`prompt`): expected string, list of messages or request table, found integer".to_owned(),
        ),
        (
            vec![],
            "argument 1 (`prompt`): expected string, list of messages or request table, found none".into(),
        ),
        (vec![table()], "argument 1 (`prompt`): expected at least one message, found none".into()),
        (
            vec![value(json!([{"role": "robot", "content": "Hi"}]))],
            "argument 1 (`prompt`): item 1: `role`: expected \"system\" or \"user\" or \"assistant\" or \"tool\", \
             found \"robot\""
                .into(),
        ),
        (
            vec![value(json!({"mesages": []}))],
            format!("argument 1 (`prompt`): `ChatRequest` has no field `mesages`; it has {fields}"),
        ),
        (
            vec![hi(), value(json!({"temprature": 1}))],
            format!("argument 2 (`options`): `ChatOptions` has no field `temprature`; it has {options}"),
        ),
        (
            vec![hi(), value(json!({"maxTokens": "many"}))],
            "argument 2 (`options`): `max_tokens`: expected integer, found string".into(),
        ),
        (vec![hi(), table(), hi()], "too many arguments: at most 2 are taken".into()),
    ];
    for (arguments, message) in cases {
        let result = call(&run_with(&Arc::default()), "llm.chat", arguments).await;
        assert_eq!(refusal(result), format!("argument: {message}"));
    }
}

#[tokio::test]
async fn options_count_more_than_the_request() {
    let models = Arc::<Scripted>::default();
    let request = value(json!({
        "messages": [{"role": "user", "content": "Hi"}],
        "system": "Be kind.", "temperature": 0.5, "stop": ["a"], "seed": 1
    }));
    let options = value(json!({"temperature": 1, "maxTokens": 9, "stop": ["b"]}));
    call(&run_with(&models), "llm.chat", vec![request, options]).await.unwrap();
    let sent = serde_json::to_value(&models.requests.lock().unwrap()[0]).unwrap();
    let expected = json!({
        "messages": [{"role": "user", "content": "Hi"}],
        "system": "Be kind.", "model": "small", "provider": "near",
        "temperature": 1.0, "max_tokens": 9, "stop": ["b"], "seed": 1
    });
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn complete_limits_the_tokens_and_generate_returns_everything() {
    let models = Arc::<Scripted>::default();
    let cx = run_with(&models);
    let text = call(&cx, "llm.complete", vec!["Once".into(), 7.into()]).await.unwrap();
    assert_eq!(text, Value::from("Hello, Ada"));
    assert_eq!(models.requests.lock().unwrap()[0].max_tokens, Some(7));

    let request = value(json!({"messages": [{"role": "user", "content": "Hi"}]}));
    let reply = call(&cx, "llm.generate", vec![request]).await.unwrap();
    let expected = value(json!({
        "text": "Hello, Ada", "model": "small", "provider": "near", "finish_reason": "stop",
        "usage": {
            "input_tokens": 3, "output_tokens": 2, "cached_tokens": 0, "reasoning_tokens": 0, "cost_usd": 0.5
        },
        "attempts": 1
    }));
    assert_eq!(reply, expected);
    let usage = call(&cx, "llm.usage", vec![]).await.unwrap();
    assert_eq!((usage.get("input_tokens"), usage.get("cost_usd")), (Some(&6.into()), Some(&1.0.into())));
}

#[tokio::test]
async fn an_answer_that_was_held_back_is_an_error() {
    let cases = [
        (FinishReason::Stop, Ok(Value::from(""))),
        (FinishReason::ContentFilter, Err("content_filtered: the provider withheld the answer")),
        (FinishReason::Refusal, Err("empty_response: the model declined to answer")),
        (FinishReason::Length, Err("empty_response: the model used up its tokens before it answered")),
        (
            FinishReason::ToolCalls,
            Err("empty_response: the model wants a tool to be called and says nothing"),
        ),
    ];
    for (finish_reason, expected) in cases {
        let reply = Reply { finish_reason, ..Reply::default() };
        let models = Arc::new(Scripted { pieces: vec![], reply, ..Scripted::default() });
        let result = call(&run_with(&models), "llm.chat", vec!["Hi".into()]).await;
        let shown = result.map_err(|error| format!("{}: {error}", error.kind()));
        assert_eq!(shown, expected.map_err(str::to_owned));
    }
}

#[tokio::test]
async fn the_choice_of_provider_and_model_holds_for_the_run() {
    // Each row: the choice, then the resulting provider/model or the error.
    let steps = [
        ("llm.set_provider", "far", "far/wide"),
        ("llm.set_model", "org/deep", "far/org/deep"),
        ("llm.set_model", "near/large", "near/large"),
        ("llm.set_model", "small", "near/small"),
        ("llm.set_model", "wide", "unknown_model: `near` has no model `wide`"),
        ("llm.set_provider", "moon", "no_provider: no provider `moon`; there are near, far"),
        ("llm.set_model", "far/wide", "far/wide"),
    ];
    let models = Arc::<Scripted>::default();
    let cx = run_with(&models);
    for (method, name, expected) in steps {
        let shown = match call(&cx, method, vec![name.into()]).await {
            Ok(_) => {
                let provider = call(&cx, "llm.get_provider", vec![]).await.unwrap();
                let model = call(&cx, "llm.get_model", vec![]).await.unwrap();
                format!("{}/{}", provider.as_str().unwrap(), model.as_str().unwrap())
            }
            failed => refusal(failed),
        };
        assert_eq!(shown, expected, "{method} {name}");
    }
    let options =
        [json!({}), json!({"provider": "far"}), json!({"model": "org/deep"}), json!({"provider": "near"})];
    for options in options {
        call(&cx, "llm.chat", vec!["Hi".into(), value(options)]).await.unwrap();
    }
    assert_eq!(models.asked(), ["far/wide: Hi", "far/wide: Hi", "far/org/deep: Hi", "near/small: Hi"]);
    assert_eq!(
        call(&run_with(&models), "llm.get_model", vec![]).await.unwrap(),
        Value::from("small"),
        "another run has not chosen"
    );
}

#[tokio::test]
async fn the_default_of_the_run_says_whose_models_are_meant() {
    let models = Arc::<Scripted>::default();
    let cx = Context::builder()
        .models(Arc::clone(&models) as Arc<dyn Models>)
        .default_model(Some("far/wide".into()))
        .build();
    for options in [json!({}), json!({"model": "thin"}), json!({"model": "near/large"})] {
        call(&cx, "llm.chat", vec!["Hi".into(), value(options)]).await.unwrap();
    }
    assert_eq!(models.asked(), ["far/wide: Hi", "far/thin: Hi", "near/large: Hi"]);
    let error = call(&cx, "llm.set_model", vec!["moon/dust".into()]).await;
    assert_eq!(refusal(error), "no_provider: no provider `moon`; there are near, far");
}

#[tokio::test]
async fn providers_and_models_are_listed_and_one_failure_hides_nothing() {
    let heard = Arc::<Heard>::default();
    let models: Arc<dyn Models> = Arc::<Scripted>::default();
    let cx = Context::builder().models(models).sink(Arc::clone(&heard) as _).build();
    assert_eq!(call(&cx, "llm.list_providers", vec![]).await.unwrap(), value(json!(["near", "far"])));

    let all = call(&cx, "llm.list_models", vec![]).await.unwrap();
    let expected = value(json!([
        {"id": "near/small", "name": "small", "provider": "near"},
        {"id": "near/large", "name": "large", "provider": "near"},
    ]));
    assert_eq!(all, expected);
    assert_eq!(heard.lines(), ["warn cannot list the models of a provider: `far` cannot be reached {}"]);

    let near = call(&cx, "llm.list_models_for_provider", vec!["near".into()]).await.unwrap();
    assert_eq!(near, expected);
    let far = call(&cx, "llm.list_models_for_provider", vec!["far".into()]).await;
    assert_eq!(refusal(far), "network: `far` cannot be reached");
}

#[tokio::test]
async fn tokens_are_counted_for_a_model() {
    let cx = run_with(&Arc::default());
    let cases = [(vec!["abc".into()], 3), (vec!["abc".into(), "near/large".into()], 30)];
    for (arguments, tokens) in cases {
        assert_eq!(call(&cx, "llm.count_tokens", arguments).await.unwrap(), Value::from(tokens));
    }
}

/// Returns a callback that records its chunks and returns these answers in turn.
fn noting(answers: Vec<llmspell_core::Result<Value>>) -> (Arc<Mutex<Vec<Value>>>, Value) {
    let chunks = Arc::<Mutex<Vec<Value>>>::default();
    let (noted, answers) = (Arc::clone(&chunks), Mutex::new(answers.into_iter()));
    let on_chunk = function(move |arguments| {
        noted.lock().unwrap().extend(arguments);
        answers.lock().unwrap().next().unwrap_or(Ok(Value::Nil))
    });
    (chunks, on_chunk)
}

#[tokio::test]
async fn a_stream_hands_over_each_piece_and_can_be_stopped() {
    let boom = || Error::runtime("boom").with_value(Value::from(7));
    let cases: [(_, &[&str], Result<(), &str>); 5] = [
        (vec![], &["Hello", ", Ada"], Ok(())),
        (vec![Ok(true.into())], &["Hello", ", Ada"], Ok(())),
        (vec![Ok(false.into())], &["Hello"], Ok(())),
        (vec![Ok("enough".into())], &["Hello"], Err("stopped: enough")),
        (vec![Ok(Value::Nil), Err(boom())], &["Hello", ", Ada"], Err("runtime: boom")),
    ];
    for (answers, expected, result) in cases {
        let models = Arc::<Scripted>::default();
        let (chunks, on_chunk) = noting(answers);
        let streamed = call(&run_with(&models), "llm.stream_chat", vec!["Hi".into(), on_chunk]).await;
        let expected: Vec<Value> = expected.iter().map(|text| Value::from(*text)).collect();
        assert_eq!(*chunks.lock().unwrap(), expected);
        match result {
            Ok(()) => assert_eq!(streamed.unwrap(), Value::Nil),
            Err(message) => {
                let error = streamed.unwrap_err();
                assert_eq!(format!("{}: {error}", error.kind()), message);
                match error.kind() {
                    ErrorKind::Stopped => {
                        assert_eq!(error.call().unwrap().partial.as_deref(), Some("Hello"));
                    }
                    _ => assert_eq!(error.value(), Some(&Value::from(7)), "the very error that was raised"),
                }
            }
        }
        assert_eq!(Arc::strong_count(&models.open), 1, "no stream is left open");
    }
}

#[tokio::test]
async fn a_cut_stream_says_what_had_arrived() {
    let cut = Error::new(ErrorKind::StreamInterrupted, "the connection was lost").with_retryable(true);
    let models = Arc::new(Scripted { pieces: vec![Ok("Hel"), Ok("lo"), Err(cut)], ..Scripted::default() });
    let (_, on_chunk) = noting(vec![]);
    let error = call(&run_with(&models), "llm.stream_chat", vec!["Hi".into(), on_chunk]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::StreamInterrupted, true));
    assert_eq!(error.call().unwrap().partial.as_deref(), Some("Hello"));
}

#[tokio::test]
async fn cancelling_a_run_ends_its_stream() {
    let models = Arc::new(Scripted { hangs: true, ..Scripted::default() });
    let cx = run_with(&models);
    let (chunks, on_chunk) = noting(vec![]);
    let mut streaming = Box::pin(call(&cx, "llm.stream_chat", vec!["Hi".into(), on_chunk]));
    assert!(streaming.as_mut().now_or_never().is_none(), "it waits for more");
    assert_eq!(chunks.lock().unwrap().len(), 2);
    assert_eq!(Arc::strong_count(&models.open), 2);
    cx.cancel();
    assert!(streaming.await.unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&models.open), 1);
}

/// Requests the next item, as a loop over the object does.
async fn next(cx: &Context, stream: &Value) -> llmspell_core::Result<Value> {
    let Value::Object(object) = stream else { panic!("{stream:?} is no object") };
    let Handler::Async(next) = &object.class().items.as_ref().unwrap().next.handler else {
        panic!("it waits")
    };
    next(cx.clone(), Arguments::new(vec![stream.clone()])).await
}

#[tokio::test]
async fn a_loop_over_a_cut_stream_says_so() {
    let cut = Error::new(ErrorKind::StreamInterrupted, "the connection was lost");
    let models = Arc::new(Scripted { pieces: vec![Ok("Hel"), Ok("lo"), Err(cut)], ..Scripted::default() });
    let cx = run_with(&models);
    let stream = call(&cx, "llm.stream", vec!["Hi".into()]).await.unwrap();
    assert!(models.asked().is_empty(), "nobody has asked for a piece");
    assert_eq!(next(&cx, &stream).await.unwrap(), "Hel".into());
    assert_eq!(next(&cx, &stream).await.unwrap(), "lo".into());
    let error = next(&cx, &stream).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StreamInterrupted);
    assert_eq!(error.call().unwrap().partial.as_deref(), Some("Hello"));
    assert_eq!(next(&cx, &stream).await.unwrap(), Value::Nil);
    assert_eq!(Arc::strong_count(&models.open), 1, "no stream is left open");
}

#[tokio::test]
async fn a_loop_that_is_left_stops_its_stream() {
    let models = Arc::new(Scripted { hangs: true, ..Scripted::default() });
    let cx = run_with(&models);
    let open = || async {
        let stream = call(&cx, "llm.stream", vec!["Hi".into()]).await.unwrap();
        next(&cx, &stream).await.unwrap();
        next(&cx, &stream).await.unwrap();
        assert_eq!(Arc::strong_count(&models.open), 2);
        stream
    };
    // Closed between two chunks.
    let stream = open().await;
    call_on(&cx, &stream, "stop", vec![]).await.unwrap();
    assert_eq!(Arc::strong_count(&models.open), 1);
    // Read by one task while another one waits, which is refused.
    let stream = open().await;
    let mut waiting = Box::pin(next(&cx, &stream));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(next(&cx, &stream).await.unwrap_err().kind(), ErrorKind::Conflict);
    call_on(&cx, &stream, "stop", vec![]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Value::Nil);
    assert_eq!(Arc::strong_count(&models.open), 1);
    // Closed by dropping the wait or the stream.
    let stream = open().await;
    assert!(next(&cx, &stream).now_or_never().is_none());
    assert_eq!(next(&cx, &stream).await.unwrap(), Value::Nil);
    drop(open().await);
    assert_eq!(Arc::strong_count(&models.open), 1);
    // Closed by the end of the run, whoever still holds the stream.
    let _stream = open().await;
    let bridges = BridgeSet::new();
    bridges.add(llmspell_bridges::llm::bridge()).unwrap();
    assert!(BridgeSet::clean_up(&bridges.list(), &cx).is_empty());
    assert_eq!(Arc::strong_count(&models.open), 1);
}

#[tokio::test]
async fn a_conversation_remembers_what_was_said() {
    let models = Arc::<Scripted>::default();
    let cx = run_with(&models);
    let start = value(json!({
        "system": "Be kind.", "model": "large", "messages": [{"role": "user", "content": "before"}]
    }));
    let talk = call(&cx, "llm.conversation", vec![start]).await.unwrap();
    assert_eq!(call_on(&cx, &talk, "send", vec!["one".into()]).await.unwrap(), "Hello, Ada".into());
    let other = call_on(&cx, &talk, "fork", vec![]).await.unwrap();
    let (_, on_chunk) = noting(vec![]);
    call_on(&cx, &talk, "stream", vec!["two".into(), on_chunk]).await.unwrap();
    let (_, enough) = noting(vec![Ok(false.into())]);
    call_on(&cx, &other, "stream", vec!["three".into(), enough]).await.unwrap();

    assert_eq!(
        models.asked(),
        [
            "near/large: before | one",
            "near/large: before | one | Hello, Ada | two",
            "near/large: before | one | Hello, Ada | three",
        ]
    );
    assert_eq!(models.requests.lock().unwrap()[1].system.as_deref(), Some("Be kind."));
    let expected = value(json!([
        {"role": "user", "content": "before"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Hello, Ada"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "Hello"},
    ]));
    assert_eq!(read(&cx, &other, "messages"), expected);
}

#[tokio::test]
async fn a_failed_turn_leaves_a_conversation_as_it_was() {
    let lost = Error::new(ErrorKind::Network, "lost");
    let models = Arc::new(Scripted { pieces: vec![Ok("Hel"), Err(lost)], ..Scripted::default() });
    let cx = run_with(&models);
    let talk = call(&cx, "llm.conversation", vec![]).await.unwrap();
    assert_eq!(refusal(call_on(&cx, &talk, "send", vec!["one".into()]).await), "network: lost");
    let (_, stop) = noting(vec![Ok("stop".into())]);
    assert_eq!(refusal(call_on(&cx, &talk, "stream", vec!["two".into(), stop]).await), "stopped: stop");
    assert_eq!(read(&cx, &talk, "messages"), value(json!([])));
}

#[tokio::test]
async fn a_conversation_answers_one_question_at_a_time() {
    let models = Arc::new(Scripted { hangs: true, ..Scripted::default() });
    let cx = run_with(&models);
    let talk = call(&cx, "llm.conversation", vec![]).await.unwrap();
    let (_, on_chunk) = noting(vec![]);
    let mut first = Box::pin(call_on(&cx, &talk, "stream", vec!["one".into(), on_chunk]));
    assert!(first.as_mut().now_or_never().is_none());
    let second = call_on(&cx, &talk, "send", vec!["two".into()]).await;
    assert_eq!(refusal(second), "conflict: this conversation is still answering");
    drop(first);
    call_on(&cx, &talk, "send", vec!["three".into()]).await.unwrap();
}

#[tokio::test]
async fn a_conversation_with_a_wrong_model_does_not_start() {
    let cx = run_with(&Arc::default());
    let result = call(&cx, "llm.conversation", vec![value(json!({"model": "huge"}))]).await;
    assert_eq!(refusal(result), "unknown_model: `near` has no model `huge`");
}
