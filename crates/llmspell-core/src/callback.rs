//! Handles to script functions. The function itself never leaves its VM.
//!
//! A script passes a function to the host, for example to receive the parts of a stream. The host gets a
//! [`Callback`], which it may call from any thread. The engine runs the function on the VM's own thread.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

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
    /// Whether to call the function as a method of the table or object in which it was passed.
    pub as_method: bool,
    /// The context in which the function runs. Contexts belong to a layer above, so their type is not known here.
    within: Option<Box<dyn Any + Send>>,
}

impl CallbackCall {
    pub(crate) fn take_within(&mut self) -> Option<Box<dyn Any + Send>> {
        self.within.take()
    }
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

    /// Calls the function with an error after its arguments and waits for its result.
    ///
    /// # Errors
    /// Returns the error that the function raised, or an error when the session has ended.
    pub async fn call_with_error(&self, arguments: Vec<Value>, failure: Error) -> Result<Value> {
        self.invoke(arguments, Some(failure), None, false).await
    }

    pub(crate) async fn invoke(
        &self,
        arguments: Vec<Value>,
        failure: Option<Error>,
        within: Option<Box<dyn Any + Send>>,
        as_method: bool,
    ) -> Result<Value> {
        self.0.host.call(CallbackCall { number: self.0.number, arguments, failure, as_method, within }).await
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
