//! Reads stacks. QuickJS writes them as text, one line per call.

use llmspell_core::{SourceLocation, StackFrame};
use rquickjs::Ctx;

use super::prelude;
use super::vm_state::JsVmState;

/// The maximum number of frames in a traceback.
const MAX_FRAMES: usize = 32;

/// Returns the stack of the running script as text. It is empty when no script runs.
pub(super) fn here(host: &JsVmState, ctx: &Ctx<'_>) -> String {
    let here = || {
        let prelude_refs = host.prelude_refs().ok()?;
        prelude_refs.here.clone().restore(ctx).ok()?.call::<_, String>(()).ok()
    };
    here().unwrap_or_default()
}

/// Returns the frames of a stack, innermost first. Native functions and the prelude are left out.
pub(super) fn frames(stack: &str) -> Vec<StackFrame> {
    stack.lines().filter_map(frame).take(MAX_FRAMES).collect()
}

/// Reads a line: `    at name (file:line:column)` or `    at file:line:column`.
fn frame(line: &str) -> Option<StackFrame> {
    let line = line.trim().strip_prefix("at ")?;
    let (function, place) = match line.rsplit_once(" (") {
        Some((function, place)) => (Some(function), place.strip_suffix(')')?),
        None => (None, line),
    };
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    if file == prelude::NAME {
        return None;
    }
    let function = function.filter(|name| *name != "<anonymous>").map(str::to_owned);
    let place =
        SourceLocation { file: file.to_owned(), line: line.parse().ok()?, column: column.parse().ok() };
    Some(StackFrame { place, function })
}

#[cfg(test)]
mod tests {
    use super::frames;

    #[test]
    fn a_stack_is_read_without_natives_and_prelude() {
        let stack = "    at map (native)\n    at f (lib/a b.js:3:5)\n    at log ([llmspell]:1:2)\n    at <anonymous> (main.js:2:9)\n    at main.js:7:1\n";
        let read: Vec<_> =
            frames(stack).into_iter().map(|frame| (frame.place.to_string(), frame.function)).collect();
        let expected = [("lib/a b.js:3:5", Some("f")), ("main.js:2:9", None), ("main.js:7:1", None)];
        assert_eq!(read, expected.map(|(place, function)| (place.to_owned(), function.map(str::to_owned))));
    }
}
