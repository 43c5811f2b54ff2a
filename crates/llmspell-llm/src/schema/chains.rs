//! Bounds the chains of schemas that apply to the same value, so that the validator ends and its stack suffices.

use super::program::{NodeId, Program};
use super::schema_error::{CompileResult, SchemaError};

/// The maximum number of schemas in a chain that apply to the same value, such as through `$ref` or `allOf`. Each of
/// them takes a stack frame per level of the value.
const MAX_CHAIN: usize = 32;

/// Checks that no chain of schemas is endless or longer than [`MAX_CHAIN`].
pub(super) fn check(program: &Program) -> CompileResult<()> {
    Chains { program, lengths: vec![LengthKeyword::Unknown; program.nodes.len()] }.check()
}

#[derive(Clone, Copy)]
enum LengthKeyword {
    Unknown,
    UnderWay,
    Known(usize),
}

/// Checks the chains of schemas that apply to the same value: none may be endless or longer than [`MAX_CHAIN`].
struct Chains<'a> {
    program: &'a Program,
    lengths: Vec<LengthKeyword>,
}

impl Chains<'_> {
    fn check(&mut self) -> CompileResult<()> {
        (0..self.program.nodes.len()).try_for_each(|id| self.length(id, 1).map(drop))
    }

    /// Returns the length of the longest chain from a node. `depth` is the distance from the start of the search.
    fn length(&mut self, id: NodeId, depth: usize) -> CompileResult<usize> {
        match self.lengths[id] {
            LengthKeyword::Known(length) => return Ok(length),
            LengthKeyword::UnderWay => {
                return Err(SchemaError::Unbounded("a `$ref` leads back to itself".to_owned()));
            }
            LengthKeyword::Unknown => {}
        }
        let too_long = || {
            SchemaError::Unbounded(format!(
                "more than {MAX_CHAIN} schemas in a row say something of the same value"
            ))
        };
        if depth > MAX_CHAIN {
            return Err(too_long());
        }
        self.lengths[id] = LengthKeyword::UnderWay;
        let mut longest = 0;
        for keyword in &self.program.nodes[id].keywords {
            for next in keyword.in_place(self.program) {
                longest = longest.max(self.length(next, depth + 1)?);
            }
        }
        if 1 + longest > MAX_CHAIN {
            return Err(too_long());
        }
        self.lengths[id] = LengthKeyword::Known(1 + longest);
        Ok(1 + longest)
    }
}
