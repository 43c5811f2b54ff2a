//! A ticket for a script function; the function never leaves its VM.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::Value;

/// A call of a script function by the host.
#[derive(Debug)]
pub struct Call {
    /// The number that the engine gave the function.
    pub number: u64,
    /// What it is called with.
    pub arguments: Vec<Value>,
    /// Comes behind the arguments, in the form in which a method of the host that failed shows it.
    pub failure: Option<Error>,
    /// How the function sees the world; else as a task of the one that handed it out.
    pub within: Option<Context>,
    /// Whether it is called as a method of the table or object that it was handed over in.
    pub as_method: bool,
}

/// Where the functions behind callbacks live: implemented by an engine's session.
pub trait CallbackHost: Send + Sync {
    /// Calls a function on the VM's own thread. Where the language returns failures beside values, such a return is an
    /// error as one that was raised.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Value>>;

    /// Says that nobody holds the ticket any more.
    fn release(&self, number: u64);
}

struct Ticket {
    number: u64,
    host: Arc<dyn CallbackHost>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.host.release(self.number);
    }
}

/// A script function that the host may call, from any thread, while its session lives.
#[derive(Clone)]
pub struct Callback(Arc<Ticket>);

impl Callback {
    /// A ticket for the function with this number. To be called by engines.
    #[must_use]
    pub fn new(number: u64, host: Arc<dyn CallbackHost>) -> Self {
        Self(Arc::new(Ticket { number, host }))
    }

    /// The number the engine gave the function.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Calls the function and waits for what it returns.
    ///
    /// # Errors
    /// What the function raised, or that its session is gone.
    pub async fn call(&self, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, None, false).await
    }

    /// Calls the function as another task, and waits for what it returns.
    ///
    /// # Errors
    /// What the function raised, or that its session is gone.
    pub async fn call_within(&self, cx: Context, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, Some(cx), false).await
    }

    /// The same as a method of the table or object that the function was handed over in, which is the script's own and no
    /// copy: Luau's function gets it as its first argument, JavaScript's as `this`.
    ///
    /// # Errors
    /// What the function raised, or that its session is gone.
    pub async fn call_method(&self, cx: Context, arguments: Vec<Value>) -> Result<Value> {
        self.invoke(arguments, None, Some(cx), true).await
    }

    /// Calls the function with an error behind its arguments, and waits for what it returns.
    ///
    /// # Errors
    /// What the function raised, or that its session is gone.
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
        self.0.host.call(Call { number: self.0.number, arguments, failure, within, as_method }).await
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
