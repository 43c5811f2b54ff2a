//! The `llm` bridge: chat, structured output, embeddings, streams and conversations.

mod conversation;
mod embed;
mod extract;
mod prompt;
mod reading;
mod selection;
mod stream;

use llmspell_core::capability::{ModelListing, ModelRef};
use llmspell_core::chat::{ChatRequest, ModelInfo, Reply};
use llmspell_core::{Bridge, Callback, Context, LogLevel, Map, Result};
use llmspell_llm::text_of;
use llmspell_macros::bridge;

pub use conversation::Messages;
pub use embed::{EmbedOptions, Texts, Vectors};
pub use extract::{ExtractOptions, WrittenSchema};
pub use prompt::{ChatOptions, Prompt};
pub use reading::Reading;
pub(crate) use selection::Selection;

use crate::background_calls::BackgroundCalls;
use stream::Ending;

/// Calls language models.
///
/// A model is named `provider/model`, or by its own name if its provider is the selected one. By default, the first
/// available provider answers with its default model.
#[bridge]
#[since("0.1")]
pub mod llm {
    use llmspell_core::chat::{ChatRequest, Message, ModelInfo, Reply, Usage};
    use llmspell_core::{Callback, Context, Result, Value};

    use std::sync::Arc;

    use super::{
        ChatOptions, EmbedOptions, Ending, ExtractOptions, Messages, Prompt, Reading, Selection, Texts,
        Vectors, WrittenSchema,
    };

    /// Asks a model and returns its answer as text.
    ///
    /// The prompt is a text, a list of messages, or a whole request; `options` override the request. Fails with the
    /// provider's error (`err.kind` is `auth`, `rate_limited`, `network`, …), with `empty_response` when the model
    /// gave no answer, and with `content_filtered` when the provider withheld it. The reasoning of a model is never
    /// part of the text, also when a local model writes it between `<think>` tags.
    ///
    /// ```luau
    /// local answer, err = llm.chat("What is the capital of France?", {temperature = 0})
    /// assert(answer, err)
    ///
    /// local second = llm.chat({
    ///     {role = "user", content = "My name is Ada."},
    ///     {role = "assistant", content = "Hello, Ada."},
    ///     {role = "user", content = "What is my name?"},
    /// })
    /// assert(type(second) == "string")
    ///
    /// local third = llm.chat {system = "Answer in one word.", messages = {{role = "user", content = "Hello?"}}}
    /// assert(type(third) == "string")
    /// ```
    pub async fn chat(cx: Context, prompt: Prompt, options: Option<ChatOptions>) -> Result<String> {
        super::text(super::ask(&cx, prompt.with(options)).await?)
    }

    /// Continues a text with at most `max_tokens` tokens.
    ///
    /// Fails like `llm.chat`.
    ///
    /// ```luau
    /// local rest, err = llm.complete("Once upon a time", 20)
    /// assert(rest, err)
    /// ```
    pub async fn complete(
        cx: Context,
        prompt: String,
        max_tokens: Option<u32>,
        options: Option<ChatOptions>,
    ) -> Result<String> {
        let mut request = Prompt::from(prompt).with(options);
        request.max_tokens = max_tokens.or(request.max_tokens);
        super::text(super::ask(&cx, request).await?)
    }

    /// Asks a model and returns its answer with all details.
    ///
    /// `finish_reason` says why the model stopped: `stop`, `length`, `tool_calls`, `refusal` or `other`. `reasoning`
    /// is the model's reasoning, if it is known. `usage.cost_usd` is absent when the model's price is unknown. Fails
    /// with the provider's error, with `empty_response` when the model finished without a text or a tool call, and
    /// with `content_filtered` when the provider withheld the answer or stopped it: `err.partial` is the text so far.
    ///
    /// ```luau
    /// local reply, err = llm.generate {
    ///     messages = {{role = "user", content = "Name a colour."}},
    ///     max_tokens = 50,
    /// }
    /// assert(reply, err)
    /// assert(reply.finish_reason == "stop")
    /// assert(reply.usage.output_tokens > 0)
    /// ```
    pub async fn generate(cx: Context, request: Prompt) -> Result<Reply> {
        super::ask(&cx, request.with(None)).await
    }

    /// Asks a model for data that matches a schema, and returns the data.
    ///
    /// The schema is JSON Schema or the shorthand: `"string"`, `"integer?"` for an optional value, `"low|high"` for
    /// one of these words, `{"string"}` for a list, and a table for an object with exactly these fields. The provider
    /// enforces the schema if it supports structured output; otherwise JSON is extracted from the answer. If the data
    /// does not match, the model gets the validation error and is asked again, three times in total or as often as
    /// `attempts` says. Fails like `llm.chat`, and with `output_invalid` when no answer matches: `err.path` is the
    /// position, such as `$.items[0].name` with lists counted from 0. `err.expected` and `err.got` describe the
    /// mismatch, and `err.raw` is the model's text. `err.attempts` and `err.usage` say how many calls were made and
    /// what they used.
    ///
    /// ```luau
    /// local person, err = llm.extract("Say it in JSON: Ada is 36.", {name = "string", age = "integer?"})
    /// if err then
    ///     assert(err.kind == "output_invalid" and err.path == "$" and err.expected == "object")
    /// else
    ///     print(person.name, person.age)
    /// end
    /// ```
    pub async fn extract(
        cx: Context,
        prompt: Prompt,
        schema: WrittenSchema,
        options: Option<ExtractOptions>,
    ) -> Result<Value> {
        super::extract::extract(&cx, prompt, schema, options).await
    }

    /// Computes the embedding vector of a text, or one vector for each text of a list.
    ///
    /// Texts with similar meaning have similar vectors; compare them with `text.similarity`. Without `model`, the
    /// provider's default embedding model is used, whatever chat model is selected. Fails like `llm.chat`, and with
    /// `unsupported` when the provider has no embedding models; the hint then names the providers that have some.
    ///
    /// ```luau
    /// local vectors, err = llm.embed({"a cat sat on the mat", "a cat lay on a mat", "stock prices fell"})
    /// assert(vectors, err)
    /// assert(text.similarity(vectors[1], vectors[2]) > text.similarity(vectors[1], vectors[3]))
    ///
    /// local one = llm.embed("a cat sat on the mat")
    /// assert(#one == #vectors[1])
    /// ```
    pub async fn embed(cx: Context, texts: Texts, options: Option<EmbedOptions>) -> Result<Vectors> {
        super::embed::embed(&cx, texts, options.unwrap_or_default()).await
    }

    /// Asks a model and calls `on_chunk` with each part of the answer as it arrives.
    ///
    /// The stream stops when `on_chunk` returns `false`. When it returns a text, the stream stops with an error of
    /// the kind `stopped` and that message. An error that `on_chunk` raises reaches the caller. Fails like
    /// `llm.chat`; when the stream was interrupted, the kind is `stream_interrupted` and `err.partial` holds the text
    /// received so far.
    ///
    /// ```luau
    /// local text = ""
    /// local err = llm.stream_chat("Count to three.", function(chunk)
    ///     text ..= chunk
    /// end)
    /// assert(not err and #text > 0)
    ///
    /// err = llm.stream_chat("Count to three.", function(chunk)
    ///     return "that is enough"
    /// end)
    /// assert(err.kind == "stopped" and err.message == "that is enough")
    /// ```
    pub async fn stream_chat(
        cx: Context,
        prompt: Prompt,
        on_chunk: Callback,
        options: Option<ChatOptions>,
    ) -> Result<()> {
        match super::stream::relay(&cx, prompt.with(options), &on_chunk).await? {
            Ending::Whole(reply) => super::text_of(&reply).map(drop),
            Ending::Stopped(_) => Ok(()),
        }
    }

    /// Asks a model and returns its answer as a stream to loop over.
    ///
    /// The request is sent when the loop begins. Errors are raised from the loop, with `err.partial` as for
    /// `llm.stream_chat`, so an interrupted stream never looks complete. To stop early, JavaScript can leave the
    /// loop, and Luau calls `stream:stop()`. Otherwise the call stops when the stream is garbage-collected or the
    /// spell ends.
    ///
    /// ```luau
    /// local stream = assert(llm.stream("Count to three."))
    /// for chunk in stream do
    ///     print(chunk)
    /// end
    /// assert(#stream.text > 0 and stream.reply.finish_reason == "stop")
    /// ```
    pub fn stream(cx: &Context, prompt: Prompt, options: Option<ChatOptions>) -> Result<Stream> {
        Ok(Stream(Reading::new(cx, prompt.with(options))?))
    }

    /// Asks a model without waiting for the answer. Returns a number for the call.
    ///
    /// `on_done` is called with the answer, or `on_error` with the error. Without `on_error`, `on_done` gets nil and
    /// the error. Callbacks run whenever the spell waits, and at the latest before it ends. An error that a callback
    /// raises fails the spell.
    ///
    /// ```luau
    /// llm.chat_async("Name a colour.", function(answer)
    ///     print(answer)
    /// end, function(err)
    ///     print("no colour: " .. err)
    /// end)
    /// ```
    pub fn chat_async(
        cx: &Context,
        prompt: Prompt,
        on_done: Callback,
        on_error: Option<Callback>,
    ) -> Result<u64> {
        Ok(super::ask_beside(cx, prompt.with(None), on_done, on_error))
    }

    /// Continues a text with at most `max_tokens` tokens, without waiting for them. See `llm.chat_async`.
    ///
    /// ```luau
    /// llm.complete_async("Once upon a time", 20, function(rest, err)
    ///     assert(rest, err)
    /// end)
    /// ```
    pub fn complete_async(
        cx: &Context,
        prompt: String,
        max_tokens: Option<u32>,
        on_done: Callback,
        on_error: Option<Callback>,
    ) -> Result<u64> {
        let mut request = Prompt::from(prompt).with(None);
        request.max_tokens = max_tokens;
        Ok(super::ask_beside(cx, request, on_done, on_error))
    }

    /// Starts a conversation, which keeps its messages.
    ///
    /// Takes the same table as a request; `messages` are the earlier messages. Fails with `no_provider` or
    /// `unknown_model` when the provider or model does not exist.
    ///
    /// ```luau
    /// local talk, err = llm.conversation {system = "You are a friendly guide."}
    /// assert(talk, err)
    /// assert(talk:send("Where is the castle?"))
    /// assert(talk:send("And how old is it?"))
    /// assert(#talk.messages == 4)
    /// ```
    pub fn conversation(cx: &Context, request: Option<ChatRequest>) -> Result<Conversation> {
        Ok(Conversation(Messages::new(cx, request.unwrap_or_default())?))
    }

    /// Lists the names of the available providers, in the order in which they were found.
    ///
    /// ```luau
    /// local names = llm.list_providers()
    /// assert(#names > 0 and type(names[1]) == "string")
    /// ```
    pub fn list_providers(cx: &Context) -> Result<Vec<String>> {
        Ok(cx.models().providers()?.into_iter().map(|provider| provider.name).collect())
    }

    /// Returns the name of the provider that answers requests without a provider.
    ///
    /// ```luau
    /// assert(llm.get_provider() == llm.list_providers()[1])
    /// ```
    pub fn get_provider(cx: &Context) -> Result<String> {
        Ok(Selection::current(cx)?.provider)
    }

    /// Selects the provider that answers from now on, with its default model.
    ///
    /// Fails with `no_provider` when no provider has this name; the error lists the available ones.
    ///
    /// ```luau
    /// assert(not llm.set_provider(llm.list_providers()[1]))
    ///
    /// local err = llm.set_provider("no-such-provider")
    /// assert(err.kind == "no_provider")
    /// ```
    pub fn set_provider(cx: &Context, name: String) -> Result<()> {
        Selection::choose_provider(cx, &name)
    }

    /// Returns the name of the model that answers requests without a model, without its provider.
    ///
    /// ```luau
    /// local id = llm.get_provider() .. "/" .. llm.get_model()
    /// assert(not llm.set_model(id))
    /// ```
    pub fn get_model(cx: &Context) -> Result<String> {
        Ok(Selection::current(cx)?.model)
    }

    /// Selects the model that answers from now on: `provider/model`, or a model of the selected provider.
    ///
    /// Fails with `unknown_model` or `no_provider` when the model does not exist; the error suggests similar or
    /// available names.
    ///
    /// ```luau
    /// assert(not llm.set_model(llm.get_model()))
    /// ```
    pub fn set_model(cx: &Context, model: String) -> Result<()> {
        Selection::choose_model(cx, &model)
    }

    /// Lists the models of one provider or of all, with what is known about them.
    ///
    /// If a provider cannot be queried, a warning is logged and the others are listed. Fails when none can be
    /// queried.
    ///
    /// ```luau
    /// local models, err = llm.list_models()
    /// assert(models, err)
    /// for _, model in models do
    ///     print(model.id, model.context_window)
    /// end
    /// ```
    pub async fn list_models(cx: Context, provider: Option<String>) -> Result<Vec<ModelInfo>> {
        super::list(&cx, provider).await
    }

    /// Lists the models of one provider.
    ///
    /// Fails with `no_provider` when the provider does not exist, or with the provider's error.
    ///
    /// ```luau
    /// local models, err = llm.list_models_for_provider(llm.get_provider())
    /// assert(models, err)
    /// assert(models[1].provider == llm.get_provider())
    /// ```
    pub async fn list_models_for_provider(cx: Context, name: String) -> Result<Vec<ModelInfo>> {
        super::list(&cx, Some(name)).await
    }

    /// Estimates the number of tokens of a text, without asking the provider.
    ///
    /// Fails with `unknown_model` or `no_provider` when the model does not exist.
    ///
    /// ```luau
    /// assert(llm.count_tokens("Hello, world!") > 0)
    /// ```
    pub fn count_tokens(cx: &Context, text: String, model: Option<String>) -> Result<u64> {
        let model = Selection::resolve(cx, None, model.as_deref())?;
        cx.models().count_tokens(&text, &model)
    }

    /// Returns the usage of all model calls of this run so far.
    ///
    /// ```luau
    /// assert(llm.chat("Hello!"))
    /// assert(llm.usage().output_tokens > 0)
    /// ```
    pub fn usage(cx: &Context) -> Result<Usage> {
        Ok(cx.meter().usage())
    }

    /// A conversation with a model. It keeps the messages and sends them along with each question.
    ///
    /// A conversation answers one question at a time. To ask several at once, use forks of it.
    #[derive(Debug)]
    pub struct Conversation(Messages);

    #[object]
    impl Conversation {
        /// Sends a text to the model and returns the answer.
        ///
        /// Fails like `llm.chat`, and the conversation is then unchanged. Fails with `conflict` while the
        /// conversation is waiting for another answer.
        ///
        /// ```luau
        /// local talk = llm.conversation()
        /// local answer, err = talk:send("Hello!")
        /// assert(answer, err)
        /// assert(talk.messages[2].content == answer)
        /// ```
        pub async fn send(&self, cx: Context, text: String) -> Result<String> {
            let turn = self.0.turn(text)?;
            let reply = super::ask(&cx, turn.request()).await?;
            let answer = reply.to_message();
            let text = super::text(reply)?;
            turn.finish(answer)?;
            Ok(text)
        }

        /// Sends a text to the model and calls `on_chunk` with each part of the answer as it arrives.
        ///
        /// Stops and fails like `llm.stream_chat`. When `on_chunk` returns `false`, the conversation keeps the text
        /// received so far as the answer; when the call fails, the conversation is unchanged.
        ///
        /// ```luau
        /// local talk = llm.conversation()
        /// local text = ""
        /// local err = talk:stream("Hello!", function(chunk)
        ///     text ..= chunk
        /// end)
        /// assert(not err and talk.messages[2].content == text)
        /// ```
        pub async fn stream(&self, cx: Context, text: String, on_chunk: Callback) -> Result<()> {
            let turn = self.0.turn(text)?;
            match super::stream::relay(&cx, turn.request(), &on_chunk).await? {
                Ending::Whole(reply) => {
                    let answer = reply.to_message();
                    super::text_of(&reply)?;
                    turn.finish(answer)?;
                }
                Ending::Stopped(text) => turn.finish(Message::assistant(text))?,
            }
            Ok(())
        }

        /// Creates a second conversation with the same messages. The two are independent from then on.
        ///
        /// ```luau
        /// local talk = llm.conversation()
        /// talk:send("Hello!")
        /// local other = talk:fork()
        /// other:send("Goodbye!")
        /// assert(#talk.messages == 2 and #other.messages == 4)
        /// ```
        pub fn fork(&self) -> Result<Conversation> {
            Ok(Conversation(self.0.fork()?))
        }

        /// The messages so far, oldest first.
        #[field]
        pub fn messages(&self) -> Result<Vec<Message>> {
            Ok(self.0.list())
        }
    }

    /// A streamed answer. A loop over it gets the parts of the text, once.
    #[derive(Debug)]
    pub struct Stream(Arc<Reading>);

    #[object]
    impl Stream {
        /// Waits for the next part of the text.
        #[next]
        pub async fn next(&self, cx: Context) -> Result<Option<String>> {
            self.0.next(&cx).await
        }

        /// Stops the call and ends a loop over the stream. `text` keeps the text received so far.
        ///
        /// ```luau
        /// local stream = assert(llm.stream("Count to a thousand."))
        /// for chunk in stream do
        ///     stream:stop()
        /// end
        /// assert(#stream.text > 0 and stream.reply == nil)
        /// ```
        #[stop]
        pub fn stop(&self) -> Result<()> {
            self.0.stop();
            Ok(())
        }

        /// The text received so far.
        #[field]
        pub fn text(&self) -> Result<String> {
            Ok(self.0.text())
        }

        /// The answer with all details, once it has arrived completely.
        #[field]
        pub fn reply(&self) -> Result<Option<Reply>> {
            Ok(self.0.reply())
        }
    }
}

/// Returns the bridge. Streams that a run has not read to the end are stopped when the run ends.
#[must_use]
pub fn bridge() -> Bridge {
    llm::bridge().on_cleanup(|cx| {
        reading::stop_all(cx);
        Ok(())
    })
}

/// Returns the model that answers requests without a model.
pub(crate) fn chosen_model(cx: &Context) -> Result<ModelRef> {
    Selection::resolve(cx, None, None)
}

async fn ask(cx: &Context, mut request: ChatRequest) -> Result<Reply> {
    Selection::complete(cx, &mut request)?;
    cx.models().chat(request).await
}

fn ask_beside(cx: &Context, request: ChatRequest, on_done: Callback, on_error: Option<Callback>) -> u64 {
    let task = cx.spawn();
    BackgroundCalls::start(cx, async move { text(ask(&task, request).await?) }, on_done, on_error)
}

fn text(reply: Reply) -> Result<String> {
    text_of(&reply)?;
    Ok(reply.text)
}

async fn list(cx: &Context, provider: Option<String>) -> Result<Vec<ModelInfo>> {
    let ModelListing { models, errors } = cx.models().list(provider).await?;
    let mut errors = errors.into_iter();
    if models.is_empty()
        && let Some(first) = errors.next()
    {
        return Err(errors.fold(first, |first, more| first.hint(format!("and also: {more}"))));
    }
    for error in errors {
        cx.log(LogLevel::Warn, format!("cannot list the models of a provider: {error}"), Map::new())?;
    }
    Ok(models)
}
