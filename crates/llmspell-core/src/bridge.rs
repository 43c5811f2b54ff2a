//! Host functions as data: name, documentation, parameters, result and the function itself.
//!
//! One definition feeds the engines, the type files, the reference pages and the command's `doc`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::LocalBoxFuture;
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::convert::{from_value, into_value};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{HostObject, Object};
use crate::value::Value;

/// A type as JSON Schema, made only when somebody asks. Functions and objects carry the key `x-llmspell`.
pub type TypeOf = fn(&mut SchemaGenerator) -> Schema;

/// A Rust type that a host function can take as an argument. All that serde can read are.
pub trait FromArgument: Sized {
    /// Reads the argument.
    ///
    /// # Errors
    /// When the value is of another shape.
    fn from_argument(value: Value) -> Result<Self>;

    /// The type, for documents.
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

/// A Rust type that a host function can return. All that serde can write are, and host objects.
pub trait IntoReturn {
    /// Turns the result into a value.
    ///
    /// # Errors
    /// When it holds what a value cannot.
    fn into_return(self) -> Result<Value>;

    /// The type, for documents; `None` for nothing.
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

/// What [`IntoReturn`] does for a host object. `#[bridge]` implements the trait with it.
///
/// # Errors
/// Never; the signature is the trait's.
pub fn return_object<T: HostObject>(object: T) -> Result<Value> {
    Ok(Value::Object(Object::new(object)))
}

/// The type of a host object, for documents.
#[must_use]
pub fn object_schema<T: HostObject>() -> Schema {
    schemars::json_schema!({"x-llmspell": "object", "title": T::class().name})
}

/// The rest of the arguments, however many.
#[derive(Debug)]
pub struct Rest(pub Vec<Value>);

/// The arguments of one call.
#[derive(Debug)]
pub struct Arguments {
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Arguments {
    /// The arguments in order.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter(), taken: 0 }
    }

    /// Reads the next argument; one that is missing reads as none.
    ///
    /// # Errors
    /// When it is of another type: "argument 2 (`options`): expected table, found string".
    pub fn take<T: FromArgument>(&mut self, name: &str) -> Result<T> {
        self.taken += 1;
        T::from_argument(self.values.next().unwrap_or_default())
            .map_err(|error| error.prefixed(format_args!("argument {} (`{name}`): ", self.taken)))
    }

    /// Takes the object that a method was called on.
    ///
    /// # Errors
    /// When the method was called with something else before the colon.
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

    /// Takes all that is left.
    #[must_use]
    pub fn rest(&mut self) -> Rest {
        Rest(self.values.by_ref().collect())
    }

    /// Says that nothing more is wanted.
    ///
    /// # Errors
    /// When there is more.
    pub fn end(mut self) -> Result<()> {
        match self.values.find(|value| !value.is_nil()) {
            None => Ok(()),
            Some(_) => Err(Error::argument(format!("too many arguments: at most {} are taken", self.taken))),
        }
    }
}

type SyncFn = Arc<dyn Fn(&Context, Arguments) -> Result<Value> + Send + Sync>;
/// What a method that waits does.
pub type AsyncFn = Arc<dyn Fn(Context, Arguments) -> LocalBoxFuture<'static, Result<Value>> + Send + Sync>;

/// What happens when a method is called.
#[derive(Clone)]
pub enum Handler {
    /// Answers at once.
    Sync(SyncFn),
    /// Waits: yields in Luau, returns a Promise in JavaScript.
    Async(AsyncFn),
}

/// One parameter of a method.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name in snake_case.
    pub name: &'static str,
    /// Its type.
    pub schema: TypeOf,
    /// Whether it takes all arguments that are left.
    pub rest: bool,
}

/// A value that is read, not called: a constant of a bridge or a field of an object.
#[derive(Clone)]
pub struct Field {
    /// Its name in snake_case.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its type.
    pub schema: TypeOf,
    /// Reads it; an object's field gets the object as its only argument.
    pub get: SyncFn,
    /// Whether a constant is the run's, as its id is: where runs share a VM, it is read again for each.
    pub of_run: bool,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Field {
    /// A field that is read by a function.
    pub fn new<T: IntoReturn + 'static>(
        name: &'static str,
        doc: &'static str,
        get: impl Fn(&Context, Arguments) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let get: SyncFn = Arc::new(move |cx, arguments| get(cx, arguments)?.into_return());
        Self { name, doc, schema: T::schema, get, of_run: false }
    }

    /// The same, as a constant of the run.
    #[must_use]
    pub fn of_run(self) -> Self {
        Self { of_run: true, ..self }
    }
}

/// A host function with everything that is known of it.
#[derive(Clone)]
pub struct Method {
    /// Its name in snake_case; engines write it as their language does.
    pub name: &'static str,
    /// What it does, in Markdown, with an example. The first line is one sentence.
    pub doc: &'static str,
    /// Its parameters in order.
    pub params: Vec<Param>,
    /// What it returns; `None` when it returns nothing, and then an error is its only result.
    pub returns: Option<TypeOf>,
    /// The version that brought it.
    pub since: &'static str,
    /// The function.
    pub handler: Handler,
}

impl Method {
    /// A method that answers at once.
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
        name: &'static str,
        call: impl Fn(&Context, Arguments) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let call: SyncFn = Arc::new(move |cx, arguments| call(cx, arguments)?.into_return());
        Self::new::<T>(name, Handler::Sync(call))
    }

    /// A method that waits.
    pub fn future<T: IntoReturn + 'static, F: Future<Output = Result<T>> + 'static>(
        name: &'static str,
        call: impl Fn(Context, Arguments) -> F + Send + Sync + 'static,
    ) -> Self {
        let call: AsyncFn = Arc::new(move |cx, arguments| {
            let future = call(cx, arguments);
            Box::pin(async move { future.await?.into_return() })
        });
        Self::new::<T>(name, Handler::Async(call))
    }

    fn new<T: IntoReturn + 'static>(name: &'static str, handler: Handler) -> Self {
        let nothing = std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>();
        let returns: Option<TypeOf> = (!nothing).then_some(T::schema as TypeOf);
        Self { name, doc: "", params: Vec::new(), returns, since: env!("CARGO_PKG_VERSION"), handler }
    }

    /// Sets what it does.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// Sets the version that brought it.
    #[must_use]
    pub fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn param<T: FromArgument>(mut self, name: &'static str) -> Self {
        self.params.push(Param { name, schema: T::schema, rest: false });
        self
    }

    /// Adds a last parameter that takes all arguments that are left.
    #[must_use]
    pub fn rest(mut self, name: &'static str) -> Self {
        self.params.push(Param { name, schema: <Value as FromArgument>::schema, rest: true });
        self
    }

    /// Whether it waits.
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

/// A read-only global of a script: named methods and constants.
#[derive(Clone)]
pub struct Bridge {
    /// Its name, as scripts write it.
    pub name: &'static str,
    /// What it is for. The first line is one sentence.
    pub doc: &'static str,
    /// Its functions.
    pub methods: Vec<Method>,
    /// Its constants.
    pub constants: Vec<Field>,
    /// The classes of the objects it makes.
    pub classes: Vec<&'static crate::object::Class>,
    init: Option<Hook>,
    cleanup: Option<Hook>,
}

impl Bridge {
    /// A bridge without methods.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            doc: "",
            methods: Vec::new(),
            constants: Vec::new(),
            classes: Vec::new(),
            init: None,
            cleanup: None,
        }
    }

    /// Sets what it is for.
    #[must_use]
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
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

    /// Adds a class of objects that its methods return.
    #[must_use]
    pub fn class(mut self, class: &'static crate::object::Class) -> Self {
        self.classes.push(class);
        self
    }

    /// Sets what to do before a session may use it.
    #[must_use]
    pub fn on_init(mut self, hook: impl Fn(&Context) -> Result<()> + Send + Sync + 'static) -> Self {
        self.init = Some(Arc::new(hook));
        self
    }

    /// Sets what to do when the session is over.
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

/// The bridges that sessions get, in order. May be shared and changed from any thread; a session keeps the ones
/// that were there when it opened.
#[derive(Debug, Default)]
pub struct BridgeSet(RwLock<IndexMap<&'static str, Arc<Bridge>>>);

impl BridgeSet {
    /// A set without bridges.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bridge.
    ///
    /// # Errors
    /// When one of that name is there already.
    pub fn add(&self, bridge: Bridge) -> Result<()> {
        self.add_all([bridge])
    }

    /// Adds all of them, or none when one of the names is taken.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn add_all(&self, bridges: impl IntoIterator<Item = Bridge>) -> Result<()> {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = set.len();
        for bridge in bridges {
            if set.contains_key(bridge.name) {
                set.truncate(before);
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("there is a bridge named `{}` already", bridge.name),
                ));
            }
            set.insert(bridge.name, Arc::new(bridge));
        }
        Ok(())
    }

    /// Takes a bridge out.
    pub fn remove(&self, name: &str) -> Option<Arc<Bridge>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).shift_remove(name)
    }

    /// Takes all bridges out, in order.
    pub fn remove_all(&self) -> Vec<Arc<Bridge>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).drain(..).map(|(_, bridge)| bridge).collect()
    }

    /// The bridge of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Bridge>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The bridges as they are now, in order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Bridge>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Initialises the bridges in order. When one fails, those before it are cleaned up in reverse.
    ///
    /// # Errors
    /// What the failing bridge said, with its name before it.
    pub fn initialise(bridges: &[Arc<Bridge>], cx: &Context) -> Result<()> {
        cx.set_bridges(bridges);
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

    /// Cleans the bridges up in reverse order, past errors, and returns those.
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
