//! The `llm` bridge.

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

use crate::pending::Pending;
use stream::Ending;

/// Asks language models.
///
/// A model is named `provider/model`, or by its own name when its provider is the chosen one. Without a choice the
/// first provider that was found answers, with its default model.
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
    /// The first argument is a text, a list of messages, or a whole request; options count more than what the request
    /// says. Fails with what the provider answers (`err.kind` is `auth`, `rate_limited`, `network`, …), and with
    /// `empty_response` when the model held its answer back.
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
    /// Fails as `llm.chat` does.
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

    /// Asks a model and returns everything that is known of its answer.
    ///
    /// `finish_reason` says why the model stopped: `stop`, `length`, `tool_calls`, `content_filter`, `refusal` or
    /// `other`. `usage.cost_usd` is absent when the model has no known price. Fails with what the provider answers.
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

    /// Asks a model for data that fits a schema, and returns the data.
    ///
    /// The schema is JSON Schema, or the short form: `"string"`, `"integer?"` for what may be left out, `"low|high"` for one
    /// of these words, `{"string"}` for a list, a table for a table with these fields and no others. The model is kept to it
    /// by the provider where the provider can; else its answer is searched for JSON, however it is wrapped and written. When
    /// that does not fit, the model is told what is wrong and asked again, three times in all unless `attempts` says
    /// otherwise. Fails as `llm.chat` does, and with `output_invalid` when no answer fits: `err.path` says where, in the
    /// manner of `$.items[0].name` with lists counted from 0, `err.expected` and `err.got` what was wrong there, `err.raw`
    /// what the model wrote, `err.attempts` and `err.usage` what it took.
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

    /// Turns a text into a vector, or each text of a list into one: near vectors are of texts that mean alike.
    ///
    /// Without a `model`, the provider's usual one for this is taken, whatever model was chosen to answer. Compare vectors
    /// with `text.similarity`. Fails as `llm.chat` does, and with `unsupported` when the provider has no such models: the
    /// hint names those that have.
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

    /// Asks a model and calls `on_chunk` with each piece of its answer as it arrives.
    ///
    /// The stream stops when `on_chunk` returns `false`, and stops with an error of the kind `stopped` when it returns
    /// a text, which is the error's message. An error that it raises reaches the caller. Fails as `llm.chat` does;
    /// when the stream was cut, the kind is `stream_interrupted` and `err.partial` holds the text so far.
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

    /// Asks a model for its answer as a stream, which a loop goes over piece by piece.
    ///
    /// The model is asked when the loop begins. What goes wrong is raised out of the loop, with `err.partial` as
    /// `llm.stream_chat` has it: a stream that was cut never looks whole. A loop that is left early has had enough:
    /// JavaScript stops the call by itself, and in Luau `stream:stop()` does; without that it is stopped when nothing
    /// holds the stream any more, or the spell ends.
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

    /// Asks a model without waiting for its answer, and returns a number for the call.
    ///
    /// `on_done` is called with the answer, `on_error` with the error in its place; without an `on_error`, `on_done`
    /// gets nil and the error. They run whenever the spell waits, and before it ends. An error that one of them raises
    /// fails the spell.
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

    /// Continues a text with at most `max_tokens` tokens without waiting for them; as `llm.chat_async` does.
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

    /// Starts a conversation that remembers what was said.
    ///
    /// It takes what a request takes; `messages` are what was said before. Fails with `no_provider` or `unknown_model`
    /// when its provider or model does not exist.
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

    /// Names the providers that can be used, in the order in which they were found.
    ///
    /// ```luau
    /// local names = llm.list_providers()
    /// assert(#names > 0 and type(names[1]) == "string")
    /// ```
    pub fn list_providers(cx: &Context) -> Result<Vec<String>> {
        Ok(cx.models().providers()?.into_iter().map(|provider| provider.name).collect())
    }

    /// Names the provider that answers when a request does not name one.
    ///
    /// ```luau
    /// assert(llm.get_provider() == llm.list_providers()[1])
    /// ```
    pub fn get_provider(cx: &Context) -> Result<String> {
        Ok(Selection::current(cx)?.provider)
    }

    /// Chooses the provider that answers from now on, with its default model.
    ///
    /// Fails with `no_provider` and names the usable ones when there is none of this name.
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

    /// Names the model that answers when a request does not name one, without its provider.
    ///
    /// ```luau
    /// local id = llm.get_provider() .. "/" .. llm.get_model()
    /// assert(not llm.set_model(id))
    /// ```
    pub fn get_model(cx: &Context) -> Result<String> {
        Ok(Selection::current(cx)?.model)
    }

    /// Chooses the model that answers from now on: `provider/model`, or a model of the chosen provider.
    ///
    /// Fails with `unknown_model` or `no_provider`, and names near or usable ones, when it does not exist.
    ///
    /// ```luau
    /// assert(not llm.set_model(llm.get_model()))
    /// ```
    pub fn set_model(cx: &Context, model: String) -> Result<()> {
        Selection::choose_model(cx, &model)
    }

    /// Lists models with what is known of them, of one provider or of all.
    ///
    /// A provider that cannot be asked does not hide the others: it is noted in the log. Fails when none can be asked.
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
    /// Fails with `no_provider` when it does not exist, or with what it answers.
    ///
    /// ```luau
    /// local models, err = llm.list_models_for_provider(llm.get_provider())
    /// assert(models, err)
    /// assert(models[1].provider == llm.get_provider())
    /// ```
    pub async fn list_models_for_provider(cx: Context, name: String) -> Result<Vec<ModelInfo>> {
        super::list(&cx, Some(name)).await
    }

    /// Counts the tokens of a text, as near as can be known without asking the provider.
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

    /// Says what all model calls of this run have used so far.
    ///
    /// ```luau
    /// assert(llm.chat("Hello!"))
    /// assert(llm.usage().output_tokens > 0)
    /// ```
    pub fn usage(cx: &Context) -> Result<Usage> {
        Ok(cx.meter().usage())
    }

    /// A conversation with a model: remembers what was said, and sends it along with the next question.
    ///
    /// It answers one question at a time; ask several at once on forks of it.
    #[derive(Debug)]
    pub struct Conversation(Messages);

    #[object]
    impl Conversation {
        /// Says a text to the model and returns its answer.
        ///
        /// When it fails, as `llm.chat` does, the conversation is what it was before. Fails with `conflict` while the
        /// conversation is still answering.
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

        /// Says a text to the model and calls `on_chunk` with each piece of its answer as it arrives.
        ///
        /// It stops and fails as `llm.stream_chat` does. When `on_chunk` returned `false`, the conversation keeps the
        /// text that had arrived as the answer; when it failed, it is what it was before.
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

        /// Makes a second conversation with the same past; from here on each goes its own way.
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

        /// What was said so far, oldest first.
        #[field]
        pub fn messages(&self) -> Result<Vec<Message>> {
            Ok(self.0.list())
        }
    }

    /// An answer that arrives: a loop over it gets its pieces of text, once.
    #[derive(Debug)]
    pub struct Stream(Arc<Reading>);

    #[object]
    impl Stream {
        /// Waits for the next piece.
        #[next]
        pub async fn next(&self, cx: Context) -> Result<Option<String>> {
            self.0.next(&cx).await
        }

        /// Stops the call; a loop over the stream ends. What has arrived stays in `text`.
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

        /// The text that has arrived so far.
        #[field]
        pub fn text(&self) -> Result<String> {
            Ok(self.0.text())
        }

        /// All that is known of the answer, when it has arrived whole.
        #[field]
        pub fn reply(&self) -> Result<Option<Reply>> {
            Ok(self.0.reply())
        }
    }
}

/// The bridge. What a run leaves unread is stopped when it ends.
#[must_use]
pub fn bridge() -> Bridge {
    llm::bridge().on_cleanup(|cx| {
        reading::stop_all(cx);
        Ok(())
    })
}

/// The model that answers when a request names none.
pub(crate) fn chosen_model(cx: &Context) -> Result<ModelRef> {
    Selection::resolve(cx, None, None)
}

async fn ask(cx: &Context, mut request: ChatRequest) -> Result<Reply> {
    Selection::complete(cx, &mut request)?;
    cx.models().chat(request).await
}

fn ask_beside(cx: &Context, request: ChatRequest, on_done: Callback, on_error: Option<Callback>) -> u64 {
    let task = cx.spawn();
    Pending::start(cx, async move { text(ask(&task, request).await?) }, on_done, on_error)
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
