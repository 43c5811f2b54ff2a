//! `#[bridge]`: gathers names, documentation and types of host functions and expands to builder calls.
//!
//! Nothing clever happens here: reading arguments and writing results are traits of `llmspell-core`.

mod expand;

/// Makes a bridge of a module: everything stays as written, and a function `bridge()` is added that describes it.
///
/// - `pub fn` becomes a method that answers at once, `pub async fn` one that waits. A first parameter `cx: &Context`
///   (or `cx: Context` when `async`) gets the run's context, the others are the script's arguments, and a last one
///   of type `Rest` takes all that are left. All return `Result<T>`.
/// - `#[constant] pub fn` becomes a value that scripts read without a call; one that takes the context is the run's.
/// - `#[object] impl Type` makes a class of the type: each `pub fn` with `&self` is a method of its objects, each
///   `#[field] pub fn` a value that is read from them, and an `#[entries] pub fn` the map of all else that they hold.
/// - `///` becomes the documentation of each, `#[since("0.2")]` on the module or a method says which version brought
///   it.
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
