//! The tasks of a spell, which number its effects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::effect::EffectPath;
use crate::event::StepOutput;

/// A task of the spell. It numbers its effects and its child tasks.
#[derive(Debug)]
pub(crate) struct Task {
    path: String,
    effects: AtomicU32,
    children: AtomicU32,
    /// The output of the named step that the task belongs to.
    said: Option<Arc<StepOutput>>,
}

impl Task {
    /// Returns the spell's first task.
    pub(crate) fn main() -> Self {
        Self::named("main".into(), None)
    }

    fn named(path: String, said: Option<Arc<StepOutput>>) -> Self {
        Self { path, effects: AtomicU32::new(0), children: AtomicU32::new(0), said }
    }

    /// Returns the task of a named step that this task runs.
    pub(crate) fn step(&self, name: &str) -> Self {
        // Escape the characters that separate the parts of a path.
        let name = name.replace('%', "%25").replace('.', "%2E").replace('#', "%23");
        Self::named(format!("step({name})"), Some(Arc::new(StepOutput::within(self.said.clone()))))
    }

    /// Returns the output of the named step that this task belongs to.
    pub(crate) fn said(&self) -> Option<&StepOutput> {
        self.said.as_deref()
    }

    /// Returns the next child task.
    pub(crate) fn child(&self) -> Self {
        let number = self.children.fetch_add(1, Ordering::Relaxed) + 1;
        Self::named(format!("{}.{number}", self.path), self.said.clone())
    }

    /// Returns the path of the next effect of this task.
    pub(crate) fn next_effect(&self) -> EffectPath {
        EffectPath { task: self.path.clone(), count: self.effects.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_effects_are_numbered_by_order_of_spawning() {
        let main = Task::main();
        let (first, second) = (main.child(), main.child());
        let inner = second.child();
        assert_eq!(main.next_effect().to_string(), "main#1");
        assert_eq!(inner.next_effect().to_string(), "main.2.1#1");
        assert_eq!(first.next_effect().to_string(), "main.1#1");
        assert_eq!(main.next_effect().to_string(), "main#2");
    }
}
