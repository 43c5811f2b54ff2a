//! Host functions as data: the name, documentation, parameters, result type and function of each method.
//!
//! A [`Bridge`] is a read-only global of a script, such as `llm` or `fs`. It holds [`Method`]s, constants and the
//! classes of the objects it returns. One definition feeds all surfaces: the script engines, the type files for
//! editors, the reference pages, the tool schemas for models and the command's `doc`.
//!
//! Most bridges are written as a Rust module with the attribute `#[bridge]`, which expands to the builder calls of
//! this file. A method receives its arguments as [`Value`]s and reads them through [`Arguments`], which names the
//! argument in each error. Types are described by JSON Schema that is generated on demand, so a run that needs no
//! documentation does not pay for it.
//!
//! Invariants:
//!
//! - Names are in snake_case here. An engine translates them to the convention of its language.
//! - A method acts on the world only through its [`Context`]; this module has no other access.
//! - A session keeps the bridges that the [`BridgeSet`] held when the session was opened.

mod session_bridges;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::LocalBoxFuture;
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::session_bridges::SessionBridges;
use crate::context::Context;
use crate::convert::{from_value, into_value};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Class, HostObject};
use crate::value::{Object, Value};

/// A function that generates the JSON Schema of a type. Functions and host objects are marked with the key
/// `x-llmspell`.
pub type TypeOf = fn(&mut SchemaGenerator) -> Schema;

/// A Rust type that a host function can take as an argument. Implemented for every type that serde can deserialize.
pub trait FromArgument: Sized {
    /// Converts an argument to this type.
    ///
    /// # Errors
    /// Returns an error when the value has another shape.
    fn from_argument(value: Value) -> Result<Self>;

    /// Returns the JSON Schema of the type, for generated documentation.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

impl<T: DeserializeOwned + JsonSchema> FromArgument for T {
    fn from_argument(value: Value) -> Result<Self> {
        from_value(value)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A Rust type that a host function can return. Implemented for every type that serde can serialize; `#[bridge]`
/// implements it for host objects.
pub trait IntoReturn {
    /// Converts the result to a value.
    ///
    /// # Errors
    /// Returns an error when the result holds data that a [`Value`] cannot represent, such as an integer past
    /// `i64::MAX`.
    fn into_return(self) -> Result<Value>;

    /// Returns the JSON Schema of the type, for generated documentation.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

impl<T: Serialize + JsonSchema + 'static> IntoReturn for T {
    fn into_return(self) -> Result<Value> {
        into_value(self)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// Converts a host object to a value. `#[bridge]` implements [`IntoReturn`] for host objects with this function.
///
/// # Errors
/// Never fails; the signature is that of [`IntoReturn::into_return`].
pub fn return_object<T: HostObject>(object: T) -> Result<Value> {
    Ok(Value::Object(Object::new(object)))
}

/// Returns the JSON Schema of a host object, for generated documentation.
#[must_use]
pub fn object_schema<T: HostObject>() -> Schema {
    schemars::json_schema!({"x-llmspell": "object", "title": T::class().name})
}

/// All remaining arguments of a call, however many.
#[derive(Debug)]
pub struct Rest(pub Vec<Value>);

/// The arguments of one call.
#[derive(Debug)]
pub struct Arguments {
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Arguments {
    /// Wraps the arguments of a call, in order.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter(), taken: 0 }
    }

    /// Reads the next argument. A missing argument is read as [`Value::Nil`].
    ///
    /// # Errors
    /// Returns an error when the argument has another type: "argument 2 (`options`): expected table, found string".
    pub fn take<T: FromArgument>(&mut self, name: &str) -> Result<T> {
        self.taken += 1;
        T::from_argument(self.values.next().unwrap_or_default())
            .map_err(|error| error.prefixed(format_args!("argument {} (`{name}`): ", self.taken)))
    }

    /// Takes the object on which a method was called.
    ///
    /// # Errors
    /// Returns an error when the method was called on anything other than an object of class `T`.
    pub fn take_self<T: HostObject>(&mut self) -> Result<Arc<T>> {
        match self.values.next() {
            Some(Value::Object(object)) => object.downcast(),
            other => Err(Error::argument(format!(
                "expected {} before the colon, found {}",
                T::class().name,
                other.unwrap_or_default().type_name()
            ))),
        }
    }

    /// Takes all remaining arguments.
    #[must_use]
    pub fn rest(&mut self) -> Rest {
        Rest(self.values.by_ref().collect())
    }

    /// Finishes the reading of the arguments. Trailing nil arguments are ignored.
    ///
    /// # Errors
    /// Returns an error when an argument that is not nil remains.
    pub fn end(mut self) -> Result<()> {
        match self.values.find(|value| !value.is_nil()) {
            None => Ok(()),
            Some(_) => Err(Error::argument(format!("too many arguments: at most {} are taken", self.taken))),
        }
    }
}

type SyncFn = Arc<dyn Fn(&Context, Arguments) -> Result<Value> + Send + Sync>;
/// The implementation of an asynchronous method.
pub type AsyncFn = Arc<dyn Fn(Context, Arguments) -> LocalBoxFuture<'static, Result<Value>> + Send + Sync>;

/// The function behind a method.
#[derive(Clone)]
pub enum Handler {
    /// Returns its result at once.
    Sync(SyncFn),
    /// Returns a future. The call yields in Luau and returns a Promise in JavaScript.
    Async(AsyncFn),
}

/// One parameter of a method.
#[derive(Debug, Clone)]
pub struct Param {
    /// The parameter's name in snake_case.
    pub name: Cow<'static, str>,
    /// The parameter's type.
    pub schema: TypeOf,
    /// Whether the parameter takes all remaining arguments.
    pub rest: bool,
}

/// A value that a script reads without a call: a constant of a bridge or a field of an object.
#[derive(Clone)]
pub struct Field {
    /// The field's name in snake_case.
    pub name: Cow<'static, str>,
    /// What the field means, in Markdown.
    pub doc: Cow<'static, str>,
    /// The field's type.
    pub schema: TypeOf,
    /// Reads the field. An object's field gets the object as its only argument.
    pub get: SyncFn,
    /// Whether the value of a constant belongs to the run, such as the run's id. When runs share a VM, such a
    /// constant is read again for each run.
    pub of_run: bool,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Field {
    /// Creates a field whose value a function returns.
    pub fn new<T: IntoReturn + 'static>(
        name: impl Into<Cow<'static, str>>,
        doc: impl Into<Cow<'static, str>>,
        get: impl Fn(&Context, Arguments) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let get: SyncFn = Arc::new(move |cx, arguments| get(cx, arguments)?.into_return());
        Self { name: name.into(), doc: doc.into(), schema: T::schema, get, of_run: false }
    }

    /// Marks the constant as belonging to the run (see the field `of_run`).
    #[must_use]
    pub fn of_run(self) -> Self {
        Self { of_run: true, ..self }
    }
}

/// A host function with its name, documentation and types.
#[derive(Clone)]
pub struct Method {
    /// The method's name in snake_case. Engines translate it to the convention of their language.
    pub name: Cow<'static, str>,
    /// What the method does, in Markdown, with an example. The first line is one sentence.
    pub doc: Cow<'static, str>,
    /// The parameters in order.
    pub params: Arc<Vec<Param>>,
    /// The result type; `None` when the method returns nothing.
    pub returns: Option<TypeOf>,
    /// The version of llmspell that introduced the method.
    pub since: Cow<'static, str>,
    /// The function.
    pub handler: Handler,
}

impl Method {
    /// Creates a synchronous method.
    ///
    /// ```
    /// use llmspell_core::bridge::Method;
    /// let double = Method::sync("double", |_cx, mut arguments| {
    ///     let number: f64 = arguments.take("number")?;
    ///     arguments.end()?;
    ///     Ok(number * 2.0)
    /// })
    /// .param::<f64>("number")
    /// .doc("Doubles a number.");
    /// assert!(!double.is_async());
    /// ```
    pub fn sync<T: IntoReturn + 'static>(
        name: impl Into<Cow<'static, str>>,
        call: impl Fn(&Context, Arguments) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let call: SyncFn = Arc::new(move |cx, arguments| call(cx, arguments)?.into_return());
        Self::new::<T>(name.into(), Handler::Sync(call))
    }

    /// Creates an asynchronous method.
    pub fn future<T: IntoReturn + 'static, F: Future<Output = Result<T>> + 'static>(
        name: impl Into<Cow<'static, str>>,
        call: impl Fn(Context, Arguments) -> F + Send + Sync + 'static,
    ) -> Self {
        let call: AsyncFn = Arc::new(move |cx, arguments| {
            let future = call(cx, arguments);
            Box::pin(async move { future.await?.into_return() })
        });
        Self::new::<T>(name.into(), Handler::Async(call))
    }

    fn new<T: IntoReturn + 'static>(name: Cow<'static, str>, handler: Handler) -> Self {
        let nothing = std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>();
        let returns: Option<TypeOf> = (!nothing).then_some(T::schema as TypeOf);
        let since = Cow::Borrowed(env!("CARGO_PKG_VERSION"));
        Self { name, doc: "".into(), params: Arc::default(), returns, since, handler }
    }

    /// Sets the documentation.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Cow<'static, str>>) -> Self {
        self.doc = doc.into();
        self
    }

    /// Sets the version that introduced the method.
    #[must_use]
    pub fn since(mut self, version: impl Into<Cow<'static, str>>) -> Self {
        self.since = version.into();
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn param<T: FromArgument>(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.params).push(Param { name: name.into(), schema: T::schema, rest: false });
        self
    }

    /// Adds a last parameter that takes all remaining arguments.
    #[must_use]
    pub fn rest(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.params).push(Param {
            name: name.into(),
            schema: <Value as FromArgument>::schema,
            rest: true,
        });
        self
    }

    /// Returns whether the method is asynchronous.
    #[must_use]
    pub fn is_async(&self) -> bool {
        matches!(self.handler, Handler::Async(_))
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .field("is_async", &self.is_async())
            .finish_non_exhaustive()
    }
}

type Hook = Arc<dyn Fn(&Context) -> Result<()> + Send + Sync>;

/// A read-only global of a script, with methods and constants.
#[derive(Clone)]
pub struct Bridge {
    /// The bridge's name, as scripts write it.
    pub name: Cow<'static, str>,
    /// What the bridge is for. The first line is one sentence.
    pub doc: Cow<'static, str>,
    /// The functions of the bridge.
    pub methods: Vec<Method>,
    /// The constants of the bridge.
    pub constants: Vec<Field>,
    /// The classes of the objects that the methods return.
    pub classes: Vec<Arc<Class>>,
    init: Option<Hook>,
    cleanup: Option<Hook>,
}

impl Bridge {
    /// Creates a bridge without methods.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            doc: "".into(),
            methods: Vec::new(),
            constants: Vec::new(),
            classes: Vec::new(),
            init: None,
            cleanup: None,
        }
    }

    /// Sets the documentation.
    #[must_use]
    pub fn doc(mut self, doc: impl Into<Cow<'static, str>>) -> Self {
        self.doc = doc.into();
        self
    }

    /// Adds a method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Adds a constant.
    #[must_use]
    pub fn constant(mut self, constant: Field) -> Self {
        self.constants.push(constant);
        self
    }

    /// Adds a class of objects that the methods return.
    #[must_use]
    pub fn class(mut self, class: Arc<Class>) -> Self {
        self.classes.push(class);
        self
    }

    /// Sets a hook that runs before a session uses the bridge.
    #[must_use]
    pub fn on_init(mut self, hook: impl Fn(&Context) -> Result<()> + Send + Sync + 'static) -> Self {
        self.init = Some(Arc::new(hook));
        self
    }

    /// Sets a hook that runs when the session has ended.
    #[must_use]
    pub fn on_cleanup(mut self, hook: impl Fn(&Context) -> Result<()> + Send + Sync + 'static) -> Self {
        self.cleanup = Some(Arc::new(hook));
        self
    }

    fn clean_up(&self, cx: &Context) -> Result<()> {
        self.cleanup.as_ref().map_or(Ok(()), |hook| hook(cx)).map_err(|error| self.named(error))
    }

    fn named(&self, error: Error) -> Error {
        error.prefixed(format_args!("bridge `{}`: ", self.name))
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("name", &self.name)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

/// The bridges that new sessions get, in order.
///
/// The set may be shared between threads and changed at any time. A session keeps the bridges that were in the set
/// when the session was opened.
#[derive(Debug, Default)]
pub struct BridgeSet(RwLock<IndexMap<Cow<'static, str>, Arc<Bridge>>>);

impl BridgeSet {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bridge.
    ///
    /// # Errors
    /// Returns a `conflict` error when the set holds a bridge with the same name.
    pub fn add(&self, bridge: Bridge) -> Result<()> {
        self.add_all([bridge])
    }

    /// Adds all bridges, or none if one of the names is taken.
    ///
    /// # Errors
    /// Returns a `conflict` error when a name is taken.
    pub fn add_all(&self, bridges: impl IntoIterator<Item = Bridge>) -> Result<()> {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = set.len();
        for bridge in bridges {
            if set.contains_key(&bridge.name) {
                set.truncate(before);
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("there is a bridge named `{}` already", bridge.name),
                ));
            }
            set.insert(bridge.name.clone(), Arc::new(bridge));
        }
        Ok(())
    }

    /// Removes a bridge and returns it.
    pub fn remove(&self, name: &str) -> Option<Arc<Bridge>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).shift_remove(name)
    }

    /// Removes all bridges and returns them in order.
    pub fn remove_all(&self) -> Vec<Arc<Bridge>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).drain(..).map(|(_, bridge)| bridge).collect()
    }

    /// Returns the bridge with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Bridge>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Returns the current bridges in order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Bridge>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Runs the `on_init` hooks in order. If one fails, the bridges before it are cleaned up in reverse order.
    ///
    /// # Errors
    /// Returns the error of the failing hook, prefixed with the bridge's name. Errors of the clean-up are added as
    /// hints.
    pub fn initialise(bridges: &[Arc<Bridge>], cx: &Context) -> Result<()> {
        cx.state::<SessionBridges>().set(bridges);
        for (at, bridge) in bridges.iter().enumerate() {
            let Some(hook) = &bridge.init else { continue };
            if let Err(error) = hook(cx) {
                let failed = Self::clean_up(&bridges[..at], cx);
                let error = bridge.named(error);
                return Err(failed.into_iter().fold(error, |error, more| {
                    error.hint(format!("and cleaning up after it failed: {more}"))
                }));
            }
        }
        Ok(())
    }

    /// Runs the `on_cleanup` hooks in reverse order. A failing hook does not stop the others; all errors are
    /// returned.
    #[must_use]
    pub fn clean_up(bridges: &[Arc<Bridge>], cx: &Context) -> Vec<Error> {
        bridges.iter().rev().filter_map(|bridge| bridge.clean_up(cx).err()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn noting(name: &'static str, notes: &Arc<Mutex<Vec<String>>>, fails: bool) -> Bridge {
        let (init, cleanup) = (Arc::clone(notes), Arc::clone(notes));
        Bridge::new(name)
            .on_init(move |_| {
                init.lock().unwrap().push(format!("+{name}"));
                if fails { Err(Error::config("no")) } else { Ok(()) }
            })
            .on_cleanup(move |_| {
                cleanup.lock().unwrap().push(format!("-{name}"));
                if name == "b" { Err(Error::config("stuck")) } else { Ok(()) }
            })
    }

    fn initialised(fails: &'static str) -> (Vec<String>, Vec<String>) {
        let notes = Arc::default();
        let set = BridgeSet::new();
        set.add_all(["a", "b", "c"].map(|name| noting(name, &notes, name == fails))).unwrap();
        let cx = Context::builder().build();
        let bridges = set.list();
        let errors = match BridgeSet::initialise(&bridges, &cx) {
            Ok(()) => BridgeSet::clean_up(&bridges, &cx),
            Err(error) => vec![error],
        };
        let notes = notes.lock().unwrap().clone();
        (
            notes,
            errors
                .iter()
                .flat_map(|error| [error.to_string()].into_iter().chain(error.hints().to_vec()))
                .collect(),
        )
    }

    #[test]
    fn bridges_start_in_order_and_end_in_reverse_past_errors() {
        let (notes, errors) = initialised("none");
        assert_eq!(notes, ["+a", "+b", "+c", "-c", "-b", "-a"]);
        assert_eq!(errors, ["bridge `b`: stuck"]);
    }

    #[test]
    fn a_failing_start_rolls_back_what_had_started() {
        let (notes, errors) = initialised("c");
        assert_eq!(notes, ["+a", "+b", "+c", "-b", "-a"]);
        assert_eq!(errors, ["bridge `c`: no", "and cleaning up after it failed: bridge `b`: stuck"]);
    }

    #[test]
    fn a_taken_name_is_refused_and_adds_nothing() {
        let set = BridgeSet::new();
        set.add(Bridge::new("a")).unwrap();
        let error = set.add_all([Bridge::new("b"), Bridge::new("a")]).unwrap_err();
        assert_eq!(error.message(), "there is a bridge named `a` already");
        assert!(set.get("b").is_none());
        assert!(set.remove("a").is_some());
        assert!(set.remove_all().is_empty());
    }

    #[test]
    fn arguments_are_named_and_counted_in_errors() {
        let mut arguments = Arguments::new(vec![Value::from("x"), Value::from(1), Value::from(2)]);
        let _: String = arguments.take("url").unwrap();
        let error = arguments.take::<String>("body").unwrap_err();
        assert_eq!(error.message(), "argument 2 (`body`): expected string, found integer");
        assert_eq!(arguments.end().unwrap_err().message(), "too many arguments: at most 2 are taken");

        let error = Arguments::new(Vec::new()).take::<String>("url").unwrap_err();
        assert_eq!(error.message(), "argument 1 (`url`): expected string, found none");
        assert_eq!(Arguments::new(Vec::new()).take::<Option<String>>("url").unwrap(), None);
    }
}
