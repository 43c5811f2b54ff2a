//! The attribute `#[bridge]`, which turns a Rust module into a bridge that scripts can call.
//!
//! The macro only collects the names, documentation and types of host functions, and expands to builder calls. Traits
//! of `llmspell-core` read the arguments and write the results.

mod expand;

/// Makes a module a bridge. The module stays as written, and gets a function `bridge()` that describes it.
///
/// - `pub fn` becomes a sync method, `pub async fn` an async one. A parameter `cx: &Context` (or `cx: Context` when
///   `async`) gets the run's context. The other parameters are the script's arguments; a last one of type `Rest` takes
///   all that are left. All functions return `Result<T>`.
/// - `#[constant] pub fn` becomes a value that scripts read without a call. If it takes the context, it is read again
///   for each run that shares a VM.
/// - `#[object] impl Type` makes the type a class. Each `pub fn` with `&self` is a method, each `#[field] pub fn` a
///   field, and an `#[entries] pub fn` returns a map of further fields by name. `#[next] pub async fn` returns the next
///   item of a loop over an object, and `#[stop]` marks the method that is called when a script leaves the loop early.
/// - `///` comments become the documentation. `#[since("0.2")]` on the module or a method states the version that
///   added it.
///
/// ```
/// use llmspell_macros::bridge;
///
/// /// Counts.
/// #[bridge]
/// pub mod counter {
///     use llmspell_core::Result;
///
///     /// Returns the number after `number`.
///     pub fn next(number: i64) -> Result<i64> {
///         Ok(number + 1)
///     }
/// }
///
/// assert_eq!(counter::bridge().methods[0].name, "next");
/// ```
#[proc_macro_attribute]
pub fn bridge(
    arguments: proc_macro::TokenStream,
    module: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand::expand(&arguments.into(), module.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
