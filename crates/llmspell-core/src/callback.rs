//! Handles to script functions. The function itself never leaves its VM.
//!
//! A script passes a function to the host, for example to receive the parts of a stream. The host gets a
//! [`Callback`], which it may call from any thread. The engine runs the function on the VM's own thread.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::Value;

/// A call of a script function by the host.
#[derive(Debug)]
pub struct CallbackCall {
    /// The number that the engine gave the function.
    pub number: u64,
    /// The arguments.
    pub arguments: Vec<Value>,
    /// An error to pass after the arguments, in the form in which the language shows the error of a host function.
    pub failure: Option<Error>,
    /// The context in which the function runs. By default it runs as a task of the one that passed the function.
    pub within: Option<Context>,
    /// Whether to call the function as a method of the table or object in which it was passed.
    pub as_method: bool,
}

/// The owner of the functions behind callbacks. Implemented by the sessions of an engine.
pub trait CallbackHost: Send + Sync {
    /// Calls a function on the VM's own thread. In a language that returns errors as values, a returned error counts
    /// as a raised one.
    fn call(&self, call: CallbackCall) -> BoxFuture<'static, Result<Value>>;

    /// Reports that the last handle to a function was dropped.
    fn release(&self, number: u64);
}

struct CallbackTicket {
    number: u64,
    host: Arc<dyn CallbackHost>,
}

impl Drop for CallbackTicket {
    fn drop(&mut self) {
        self.host.release(self.number);
    }
}

/// A handle to a script function. The host may call it from any thread while the session lives.
#[derive(Clone)]
pub struct Callback(Arc<CallbackTicket>);

impl Callback {
    /// Creates a handle for the function with this number. Only engines call this.
    #[must_use]
    pub fn new(number: u64, host: Arc<dyn CallbackHost>) -> Self {
        Self(Arc::new(CallbackTicket { number, host }))
    }

    /// Returns the number that the engine gave the function.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Calls the function and waits for its result.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call(&self, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, None, false).await
    }

    /// Calls the function in another task's context and waits for its result.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call_within(&self, cx: Context, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, Some(cx), false).await
    }

    /// Calls the function as a method of the table or object in which it was passed. A Luau function gets that table
    /// as its first argument, a JavaScript function as `this`. It is the script's own table and not a copy.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call_method(&self, cx: Context, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, Some(cx), true).await
    }

    /// Calls the function with an error after its arguments and waits for its result.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call_with_error(&self, arguments: Vec<Value>, failure: Error) -> Result<Value> {
        self.invoke(arguments, Some(failure), None, false).await
    }

    async fn invoke(
        &self,
        arguments: Vec<Value>,
        failure: Option<Error>,
        within: Option<Context>,
        as_method: bool,
    ) -> Result<Value> {
        self.0.host.call(CallbackCall { number: self.0.number, arguments, failure, within, as_method }).await
    }
}

impl PartialEq for Callback {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({})", self.0.number)
    }
}
