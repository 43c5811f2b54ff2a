//! Recordings: the effects of a run, in a file of JSON Lines.
//!
//! ```jsonl
//! {"llmspell":1,"run_id":"…","spell":"greet","digest":"…","params":{"name":"Ada"},"permissions":{…}}
//! {"at":"main#1","ask":"models.chat","request":{…},"order":1,"said":0,"answer":{…}}
//! ```
//!
//! The first line describes the run ([`RunInfo`]). Each further line is an effect. Lines are ordered by effect path, so
//! two recordings of a spell can be compared line by line. A large part of a value is a line of its own before the
//! first effect that contains it.
//!
//! While a run lasts, lines are appended to `FILE.partial` in the order of events. There, the start of an effect, the
//! chunks of its answer and its end may be separate lines. A partial file can be replayed too.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use indexmap::IndexMap;
use llmspell_core::effect::{Effect, EffectPath, EffectRequest, EffectResult, JournalEntry};
use llmspell_core::replay::Replay;
use llmspell_core::{Error, Map, RecordedStream, Result, Value, from_value};
use serde::{Deserialize, Serialize};

use super::RunInfo;
use super::blobs::{Blob, BlobSink, Blobs, damaged, json, pack, pack_answer, read};

/// The version of the file format.
const VERSION: u32 = 1;

/// The inputs and the effects of a run, which can be replayed without access to the outside world.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use llmspell::{Recording, Runtime, Spell};
///
/// let file = std::env::temp_dir().join(format!("llmspell-doc-{}.jsonl", std::process::id()));
/// let spell = Spell::from_source("now.luau", "return time.now()")?;
/// let runtime = Runtime::builder().build()?;
/// let first = runtime.run(spell.clone()).record(&file).start().outcome().await;
/// let again = runtime.run(spell).replay(Recording::read(&file)?).start().outcome().await;
/// assert_eq!(again.into_result()?, first.into_result()?);
/// # std::fs::remove_file(file).unwrap();
/// # Ok::<(), llmspell::Error>(()) }).unwrap()
/// ```
#[derive(Debug, Clone)]
pub struct Recording {
    /// The inputs of the run.
    pub info: RunInfo,
    /// The effects of the run.
    pub entries: Vec<JournalEntry>,
}

impl Recording {
    /// Reads a recording from a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a recording; the error names the line.
    #[expect(clippy::disallowed_methods, reason = "the user names the file, no spell does")]
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::load(format!("cannot read the recording {}: {error}", path.display())).with_source(error)
        })?;
        // A kill may have cut the last line of a partial file.
        let is_partial = path.extension().is_some_and(|extension| extension == "partial");
        let whole_lines = if is_partial { text.rfind('\n').map_or("", |end| &text[..=end]) } else { &text };
        Self::parse(whole_lines).map_err(|error| error.prefixed(format_args!("{}: ", path.display())))
    }

    /// Parses the text of a recording.
    ///
    /// # Errors
    /// When the text is not a recording; the error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let first = lines.next().map(|(_, line)| line).unwrap_or_default();
        let head: RecordingHead = serde_json::from_str(first).map_err(|_| damaged("it is no recording"))?;
        if head.llmspell != VERSION {
            let why = format!("it has version {}, and this llmspell reads {VERSION}", head.llmspell);
            return Err(damaged(&why).hint("use another llmspell, or record it anew"));
        }
        let mut reader = RecordingReader::default();
        for (number, line) in lines {
            reader.line(line).map_err(|error| error.prefixed(format_args!("line {}: ", number + 1)))?;
        }
        Ok(Self { info: head.info, entries: reader.entries() })
    }

    /// Returns the text of the recording, ordered by effect path.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn text(&self) -> Result<String> {
        let mut out = RecordingText::begin(&self.info)?;
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| place(&a.effect.path).cmp(&place(&b.effect.path)));
        for JournalEntry { effect, end } in entries {
            out.effect(effect, end.as_ref())?;
        }
        Ok(out.take())
    }

    pub(crate) fn into_replay(self) -> Replay {
        Replay::new(self.entries)
    }
}

/// The first line of a recording.
#[derive(Serialize, Deserialize)]
struct RecordingHead {
    llmspell: u32,
    #[serde(flatten)]
    info: RunInfo,
}

/// Returns a sort key for a path. Tasks are ordered by their numbers (`main.2` before `main.10`), steps by their names.
pub(super) fn place(path: &EffectPath) -> (&str, Vec<u32>, u32) {
    let mut parts = path.task.split('.');
    let root = parts.next().unwrap_or_default();
    (root, parts.map(|number| number.parse().unwrap_or(0)).collect(), path.count)
}

/// Formats the lines of a recording.
#[derive(Debug, Default)]
pub(crate) struct RecordingText {
    text: String,
    blobs: HashSet<String>,
}

impl RecordingText {
    /// Writes the first line.
    pub(crate) fn begin(info: &RunInfo) -> Result<Self> {
        let head = json(&RecordingHead { llmspell: VERSION, info: info.clone() })?;
        Ok(Self { text: head + "\n", blobs: HashSet::new() })
    }

    /// Takes the lines since the last call.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Writes the start of an effect, with its end if known.
    pub(crate) fn effect(&mut self, effect: &Effect, end: Option<&EffectResult>) -> Result<()> {
        let Effect { path, ask } = effect;
        let request = pack(&ask.request, self)?;
        let (at, operation) =
            (json(&path.to_string())?, json(&format!("{}.{}", ask.capability, ask.operation))?);
        let once = if ask.repeatable { "" } else { r#","once":true"# };
        let end = end.map(|end| self.end_fields(end)).transpose()?.unwrap_or_default();
        let _ = writeln!(self.text, r#"{{"at":{at},"ask":{operation},"request":{request}{once}{end}}}"#);
        Ok(())
    }

    /// Writes a chunk of an effect whose start is written.
    pub(crate) fn part(&mut self, path: &EffectPath, order: u64, part: &Value) -> Result<()> {
        let (at, part) = (json(&path.to_string())?, pack_answer(part, self)?);
        let _ = writeln!(self.text, r#"{{"at":{at},"order":{order},"chunk":{part}}}"#);
        Ok(())
    }

    /// Writes the end of an effect whose start is written.
    pub(crate) fn end(&mut self, path: &EffectPath, end: &EffectResult) -> Result<()> {
        let (at, end) = (json(&path.to_string())?, self.end_fields(end)?);
        let _ = writeln!(self.text, r#"{{"at":{at}{end}}}"#);
        Ok(())
    }

    fn end_fields(&mut self, EffectResult { order, said, answer }: &EffectResult) -> Result<String> {
        let (name, value) = match answer {
            Ok(value) => ("answer", pack_answer(value, self)?),
            Err(error) => ("error", pack_answer(&llmspell_core::to_value(error)?, self)?),
        };
        Ok(format!(r#","order":{order},"said":{said},"{name}":{value}"#))
    }
}

impl BlobSink for RecordingText {
    const TAKES_BYTES: bool = false;

    fn keep(&mut self, hash: &str, blob: Blob<'_>) -> Result<()> {
        if self.blobs.insert(hash.to_owned()) {
            let value = match blob {
                Blob::Text(text) => json(text)?,
                Blob::Link(link) => link.to_owned(),
                Blob::Bytes(_) => return Err(Error::internal("a recording holds no bytes")),
            };
            let _ = writeln!(self.text, r#"{{"part":"{hash}","value":{value}}}"#);
        }
        Ok(())
    }
}

/// Assembles the lines of a recording.
#[derive(Default)]
struct RecordingReader {
    blobs: Blobs,
    /// The effects, in the order of their first lines.
    effects: IndexMap<EffectPath, (JournalEntry, RecordedStream)>,
}

impl RecordingReader {
    fn line(&mut self, line: &str) -> Result<()> {
        let value: Value = serde_json::from_str(line).map_err(|error| damaged(&error.to_string()))?;
        let Value::Map(mut line) = value else { return Err(damaged("it is no effect")) };
        if let Some(hash) = line.get("part") {
            let hash = hash.as_str().ok_or_else(|| damaged("a part has no hash"))?.to_owned();
            let blob = match line.swap_remove("value") {
                Some(Value::Str(text)) => text,
                Some(link) => json(&link)?,
                None => return Err(damaged("a part has no value")),
            };
            self.blobs.insert(hash, blob.into_bytes());
            return Ok(());
        }
        let path: EffectPath = text(&line, "at")?.parse()?;
        if line.contains_key("ask") {
            let (capability, operation) = text(&line, "ask")?
                .split_once('.')
                .ok_or_else(|| damaged("`ask` is no `capability.operation`"))?;
            let (capability, operation) = (capability.to_owned().into(), operation.to_owned().into());
            let repeatable = line.get("once") != Some(&Value::Bool(true));
            let request = read(line.swap_remove("request").unwrap_or_default(), &self.blobs)?;
            let ask = EffectRequest { capability, operation, request, repeatable, if_done: None };
            let entry = JournalEntry { effect: Effect { path: path.clone(), ask }, end: None };
            self.effects.insert(path.clone(), (entry, RecordedStream::default()));
        }
        let order = number(&line, "order");
        let (entry, parts) = self
            .effects
            .get_mut(&path)
            .ok_or_else(|| damaged(&format!("{path} ends and has not started")))?;
        if let Some(part) = line.swap_remove("chunk") {
            parts.push(order.unwrap_or(0), read(part, &self.blobs)?);
            return Ok(());
        }
        let answer = match (line.swap_remove("answer"), line.swap_remove("error")) {
            (Some(value), None) => Ok(read(value, &self.blobs)?),
            (None, Some(error)) => Err(from_value::<Error>(read(error, &self.blobs)?)?),
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => return Err(damaged("an effect has an answer and an error")),
        };
        let said = number(&line, "said").unwrap_or(0);
        entry.end = order.map(|order| EffectResult { order, said, answer });
        Ok(())
    }

    fn entries(self) -> Vec<JournalEntry> {
        let whole = |(mut entry, parts): (JournalEntry, RecordedStream)| {
            // The run was cut off while the answer arrived: a replay delivers what had arrived.
            if entry.end.is_none()
                && let Some(answer) = parts.clone().arrived()
            {
                entry.end = Some(EffectResult { order: parts.last_order(), said: 0, answer: Ok(answer) });
                return entry;
            }
            parts.into_entry(entry)
        };
        self.effects.into_values().map(whole).collect()
    }
}

fn text<'a>(line: &'a Map, name: &str) -> Result<&'a str> {
    line.get(name).and_then(Value::as_str).ok_or_else(|| damaged(&format!("`{name}` is missing")))
}

fn number(line: &Map, name: &str) -> Option<u64> {
    match line.get(name) {
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_as_it_was_written_and_is_in_the_order_of_the_spell() {
        let entry = |path: &str, request: Value, end: Option<EffectResult>| {
            let ask = EffectRequest::new("models", "chat", &request).unwrap();
            JournalEntry { effect: Effect { path: path.parse().unwrap(), ask }, end }
        };
        let end = |order, answer| Some(EffectResult { order, said: 1, answer });
        let long = Value::from("x".repeat(2000));
        let recording = Recording {
            info: RunInfo { run_id: "r".into(), spell: "s".into(), ..RunInfo::default() },
            entries: vec![
                entry("main.10#1", long.clone(), end(3, Ok(Value::Nil))),
                entry("main.2#1", long, end(1, Err(Error::runtime("boom")))),
                entry("main#2", Value::Nil, None),
                entry("main#1", Value::from("hi"), end(2, Ok(Value::Bytes(vec![0, 255])))),
            ],
        };
        let text = recording.text().unwrap();
        let begins: Vec<_> = text.lines().map(|line| line.chars().take(24).collect::<String>()).collect();
        assert_eq!(
            begins,
            [
                r#"{"llmspell":1,"run_id":""#,
                r#"{"at":"main#1","ask":"mo"#,
                r#"{"at":"main#2","ask":"mo"#,
                r#"{"part":"f72429289515df2"#,
                r#"{"at":"main.2#1","ask":""#,
                r#"{"at":"main.10#1","ask":"#,
            ]
        );
        assert_eq!(text.matches("xxxx").count(), 500, "written once");
        let again = Recording::parse(&text).unwrap();
        assert_eq!(again.text().unwrap(), text);
        assert_eq!(again.info, recording.info);
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "the journal is damaged: it is no recording"),
            ("{}", "the journal is damaged: it is no recording"),
            ("{\"llmspell\":2}", "the journal is damaged: it has version 2, and this llmspell reads 1"),
            (
                "{\"llmspell\":1}\n\n{\"at\":\"main#x\"}",
                "line 3: the journal is damaged: `main#x` is no place",
            ),
            (
                "{\"llmspell\":1}\n{\"part\":\"",
                "line 2: the journal is damaged: EOF while parsing a string at line 1 column 9",
            ),
            (
                "{\"llmspell\":1}\n[1",
                "line 2: the journal is damaged: EOF while parsing a list at line 1 column 2",
            ),
        ] {
            assert_eq!(Recording::parse(text).unwrap_err().message(), expected);
        }
    }
}
