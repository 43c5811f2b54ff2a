//! Calls of script functions in the context of another task.

use super::Context;
use crate::callback::{Callback, CallbackCall};
use crate::error::Result;
use crate::value::Value;

impl Callback {
    /// Calls the function in another task's context and waits for its result.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call_within(&self, cx: Context, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, Some(Box::new(cx)), false).await
    }

    /// Calls the function as a method of the table or object in which it was passed. A Luau function gets that table
    /// as its first argument, a JavaScript function as `this`. It is the script's own table and not a copy.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call_method(&self, cx: Context, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, Some(Box::new(cx)), true).await
    }
}

impl CallbackCall {
    /// Takes the context in which the function runs. `None` means a task of the one that passed the function.
    pub fn take_context(&mut self) -> Option<Context> {
        self.take_within()?.downcast().ok().map(|cx| *cx)
    }
}
