//! A recording: what a run did, in a file of JSON Lines.
//!
//! The first line says what was run. Then comes a line for each effect, by its place in the spell, so that two recordings
//! of one spell can be compared line by line; large parts stand before the first effect that has them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use llmspell_core::effect::{Ask, Effect, EffectPath, End, Entry, EntryId, Journal, Lookup, MemoryJournal};
use llmspell_core::replay::Replay;
use llmspell_core::{Error, ErrorKind, Map, Outcome, Result, Value, from_value};

use serde::{Deserialize, Serialize};

use super::RunInfo;
use super::pack::{Parts, damaged, json, pack, pack_answer, read};

/// The version of the format.
const VERSION: u32 = 1;

/// What a run was given and what it did, to play it again without touching the world.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use llmspell::{Recording, Runtime, Spell};
///
/// let file = std::env::temp_dir().join(format!("llmspell-doc-{}.jsonl", std::process::id()));
/// let spell = Spell::from_source("now.luau", "return time.now()")?;
/// let runtime = Runtime::builder().build()?;
/// let first = runtime.cast(spell.clone()).record(&file).start().outcome().await;
/// let again = runtime.cast(spell).replay(Recording::read(&file)?).start().outcome().await;
/// assert_eq!(again.into_result()?, first.into_result()?);
/// # std::fs::remove_file(file).unwrap();
/// # Ok::<(), llmspell::Error>(()) }).unwrap()
/// ```
#[derive(Debug, Clone)]
pub struct Recording {
    /// What was run.
    pub info: RunInfo,
    /// What it did.
    pub entries: Vec<Entry>,
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    /// When the file cannot be read or is none; the error names the line.
    #[expect(clippy::disallowed_methods, reason = "the user names the file, no spell does")]
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::load(format!("cannot read the recording {}: {error}", path.display())).with_source(error)
        })?;
        Self::parse(&text).map_err(|error| error.prefixed(format_args!("{}: ", path.display())))
    }

    /// Reads the text of a recording.
    ///
    /// # Errors
    /// When it is none; the error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let first = lines.next().map(|(_, line)| line).unwrap_or_default();
        let head: Head = serde_json::from_str(first).map_err(|_| damaged("it is no recording"))?;
        if head.llmspell != VERSION {
            let why = format!("it has version {}, and this llmspell reads {VERSION}", head.llmspell);
            return Err(damaged(&why).hint("use another llmspell, or record it anew"));
        }
        let mut parts = HashMap::new();
        let info = head.info;
        let mut entries = Vec::new();
        for (number, line) in lines {
            entry(line, &mut parts)
                .map(|entry| entries.extend(entry))
                .map_err(|error| error.prefixed(format_args!("line {}: ", number + 1)))?;
        }
        Ok(Self { info, entries })
    }

    /// The text of the recording.
    ///
    /// # Errors
    /// When something in it cannot be written down.
    pub fn text(&self) -> Result<String> {
        let mut out = Written::default();
        let head = json(&Head { llmspell: VERSION, info: self.info.clone() })?;
        let _ = writeln!(out.text, "{head}");
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| place(&a.effect.path).cmp(&place(&b.effect.path)));
        for Entry { effect: Effect { path, ask }, end } in entries {
            let request = pack(&ask.request, &mut out)?;
            let (at, operation) = (path.to_string(), format!("{}.{}", ask.capability, ask.operation));
            let mut line =
                format!(r#"{{"at":{},"ask":{},"request":{request}"#, json(&at)?, json(&operation)?);
            if !ask.repeatable {
                line.push_str(r#","once":true"#);
            }
            if let Some(End { order, said, answer }) = end {
                let (name, value) = match answer {
                    Ok(value) => ("answer", pack_answer(value, &mut out)?),
                    Err(error) => ("error", pack_answer(&llmspell_core::to_value(error)?, &mut out)?),
                };
                let _ = write!(line, r#","order":{order},"said":{said},"{name}":{value}"#);
            }
            let _ = writeln!(out.text, "{line}}}");
        }
        Ok(out.text)
    }

    pub(crate) fn into_replay(self) -> Replay {
        Replay::new(self.entries)
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    llmspell: u32,
    #[serde(flatten)]
    info: RunInfo,
}

/// Tasks in the order of their numbers, as no comparison of texts would have them, and steps by their names.
pub(super) fn place(path: &EffectPath) -> (&str, Vec<u32>, u32) {
    let mut parts = path.task.split('.');
    let root = parts.next().unwrap_or_default();
    (root, parts.map(|number| number.parse().unwrap_or(0)).collect(), path.count)
}

#[derive(Default)]
struct Written {
    text: String,
    parts: HashSet<String>,
}

impl Parts for Written {
    fn has(&mut self, hash: &str) -> bool {
        !self.parts.insert(hash.to_owned())
    }

    fn keep(&mut self, hash: String, part: String) {
        let _ = writeln!(self.text, r#"{{"part":"{hash}","value":{part}}}"#);
    }
}

/// Reads one line: an entry, or a part for later ones.
fn entry(line: &str, parts: &mut HashMap<String, String>) -> Result<Option<Entry>> {
    /// What stands before a part; behind it is the end of the line's map.
    const PART: usize = r#"{"part":"0123456789abcdef0123456789abcdef","value":"#.len();
    if line.starts_with(r#"{"part":""#) {
        let hash = line.get(9..41).ok_or_else(|| damaged("a part has no hash"))?;
        let part = line.get(PART..line.len() - 1).ok_or_else(|| damaged("a part is cut"))?;
        parts.insert(hash.to_owned(), part.to_owned());
        return Ok(None);
    }
    let line: Value = serde_json::from_str(line).map_err(|error| damaged(&error.to_string()))?;
    let Value::Map(mut line) = line else { return Err(damaged("it is no effect")) };
    let path = text(&line, "at")?.parse()?;
    let (capability, operation) =
        text(&line, "ask")?.split_once('.').ok_or_else(|| damaged("`ask` is no `capability.operation`"))?;
    let (capability, operation) = (capability.to_owned().into(), operation.to_owned().into());
    let repeatable = line.get("once") != Some(&Value::Bool(true));
    let (order, said) = (number(&line, "order"), number(&line, "said").unwrap_or(0));
    let request = read(line.swap_remove("request").unwrap_or_default(), parts)?;
    let answer = match (line.swap_remove("answer"), line.swap_remove("error")) {
        (Some(value), None) => Some(Ok(read(value, parts)?)),
        (None, Some(error)) => Some(Err(from_value::<Error>(read(error, parts)?)?)),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(damaged("an effect has an answer and an error")),
    };
    let end = order.zip(answer).map(|(order, answer)| End { order, said, answer });
    let ask = Ask { capability, operation, request, repeatable };
    Ok(Some(Entry { effect: Effect { path, ask }, end }))
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

/// A journal that is written to a file when the run has ended.
pub(crate) struct Recorder {
    info: RunInfo,
    file: PathBuf,
    journal: MemoryJournal,
}

impl Recorder {
    pub(crate) fn new(info: RunInfo, file: PathBuf) -> Self {
        Self { info, file, journal: MemoryJournal::default() }
    }
}

impl Journal for Recorder {
    fn begin(&self, effect: Effect) -> Result<Lookup> {
        self.journal.begin(effect)
    }

    fn finish(&self, entry: EntryId, end: End) -> Result<()> {
        self.journal.finish(entry, end)
    }

    #[expect(clippy::disallowed_methods, reason = "the user names the file, no spell does")]
    fn close(&self, _: &Outcome, _: u64) -> Result<()> {
        let recording = Recording { info: self.info.clone(), entries: self.journal.entries() };
        let text = recording.text()?;
        // Beside it first, so that an older recording is whole until this one is.
        let mut beside = self.file.clone().into_os_string();
        beside.push(".new");
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &self.file));
        written.map_err(|error| {
            let message = format!("cannot write the recording {}: {error}", self.file.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_as_it_was_written_and_is_in_the_order_of_the_spell() {
        let entry = |path: &str, request: Value, end: Option<End>| {
            let ask = Ask::new("models", "chat", &request).unwrap();
            Entry { effect: Effect { path: path.parse().unwrap(), ask }, end }
        };
        let end = |order, answer| Some(End { order, said: 1, answer });
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
            ("{\"llmspell\":1}\n{\"part\":\"", "line 2: the journal is damaged: a part has no hash"),
            (
                "{\"llmspell\":1}\n[1",
                "line 2: the journal is damaged: EOF while parsing a list at line 1 column 2",
            ),
        ] {
            assert_eq!(Recording::parse(text).unwrap_err().message(), expected);
        }
    }
}
