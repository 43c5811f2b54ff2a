//! Expands a module with `#[bridge]` to the builder calls that describe it.
//!
//! The expansion only collects names, docs and types. All conversion of values is done by traits of `llmspell-core`
//! (`arguments.take::<T>()`, `IntoReturn`). Wrong use is reported at the exact tokens.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, ImplItem, Item, ItemImpl, ItemMod, Lit, LitStr, Meta, Pat,
    ReceiverKind, Result, ReturnType, Signature, Type, Visibility, parse_quote,
};

pub(crate) fn expand(arguments: &TokenStream, module: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[bridge]` takes no arguments"));
    }
    let mut module: ItemMod = syn::parse2(module)?;
    let name = module.ident.unraw().to_string();
    let about = doc(&module.attrs);
    let since = take_since(&mut module.attrs)?;
    let Some((_, items)) = &mut module.content else {
        return Err(Error::new_spanned(&module.ident, "a bridge is written in place: `mod name { … }`"));
    };

    let structs: Vec<(Ident, String)> = items.iter().filter_map(struct_with_doc).collect();
    let mut parts = Vec::new();
    let mut classes: Vec<Item> = Vec::new();
    for item in &mut *items {
        match item {
            Item::Fn(function) if is_public(&function.vis) => {
                if take(&mut function.attrs, "constant") {
                    let field = field(&function.sig, &function.attrs, None)?;
                    // A constant that reads the context can differ between runs.
                    let of_run = (!function.sig.inputs.is_empty()).then(|| quote!(.of_run()));
                    parts.push(quote!(.constant(#field #of_run)));
                } else {
                    let method = method(&function.sig, &mut function.attrs, None, since.as_ref())?;
                    parts.push(quote!(.method(#method)));
                }
            }
            Item::Impl(object) if find(&object.attrs, "object").is_some() => {
                classes.push(Item::Verbatim(class(object, &structs, since.as_ref())?));
                let object = &object.self_ty;
                parts.push(quote!(.class(<#object as ::llmspell_core::HostObject>::class())));
            }
            _ => {}
        }
    }
    items.append(&mut classes);
    items.push(parse_quote! {
        /// The bridge as data: its name, documentation, methods, constants and classes.
        #[allow(unused_mut)]
        #[must_use]
        pub fn bridge() -> ::llmspell_core::Bridge {
            ::llmspell_core::Bridge::new(#name).doc(#about) #(#parts)*
        }
    });
    Ok(quote!(#module))
}

/// Returns the trait implementations of an `#[object] impl`: its class, and its conversion to a script value.
fn class(object: &mut ItemImpl, structs: &[(Ident, String)], since: Option<&LitStr>) -> Result<TokenStream> {
    take(&mut object.attrs, "object");
    let this = &*object.self_ty;
    let name = match this {
        Type::Path(path) if object.trait_.is_none() && object.generics.params.is_empty() => {
            path.path.get_ident()
        }
        _ => None,
    };
    let Some(name) = name else {
        return Err(Error::new_spanned(this, "`#[object]` goes on the plain `impl Type` of this module"));
    };
    let Some((_, doc)) = structs.iter().find(|(known, _)| known == name) else {
        return Err(Error::new_spanned(name, "an object's struct stands in the same module as its `impl`"));
    };
    let name = name.unraw().to_string();

    let (mut methods, mut fields, mut entries) = (Vec::new(), Vec::new(), quote!(None));
    let (mut next, mut stop) = (None, quote!(None));
    for item in &mut object.items {
        match item {
            ImplItem::Fn(function) if is_public(&function.vis) => {
                if take(&mut function.attrs, "field") {
                    fields.push(field(&function.sig, &function.attrs, Some(this))?);
                } else if take(&mut function.attrs, "entries") {
                    let field = field(&function.sig, &function.attrs, Some(this))?;
                    entries = quote!(Some(#field));
                } else if take(&mut function.attrs, "next") {
                    next = Some(step(&function.sig, &mut function.attrs, this)?);
                } else {
                    let stops = take(&mut function.attrs, "stop");
                    let method = method(&function.sig, &mut function.attrs, Some(this), since)?;
                    if stops {
                        stop = quote!(Some(#method));
                    }
                    methods.push(method);
                }
            }
            _ => {}
        }
    }
    let items = next.map_or_else(
        || quote!(None),
        |next| quote!(Some(::llmspell_core::Items { next: #next, stop: #stop })),
    );
    Ok(quote! {
        impl ::llmspell_core::HostObject for #this {
            #[allow(unused_mut)]
            fn class() -> ::std::sync::Arc<::llmspell_core::Class> {
                static CLASS: ::std::sync::LazyLock<::std::sync::Arc<::llmspell_core::Class>> =
                    ::std::sync::LazyLock::new(|| ::std::sync::Arc::new(::llmspell_core::Class {
                        name: #name.into(),
                        doc: #doc.into(),
                        methods: ::std::vec![#(#methods),*],
                        fields: ::std::vec![#(#fields),*],
                        entries: #entries,
                        items: #items,
                    }));
                ::std::sync::Arc::clone(&CLASS)
            }
        }

        impl ::llmspell_core::bridge::IntoReturn for #this {
            fn into_return(self) -> ::llmspell_core::Result<::llmspell_core::Value> {
                ::llmspell_core::bridge::return_object(self)
            }

            fn schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::llmspell_core::bridge::object_schema::<Self>()
            }
        }
    })
}

/// Returns the builder call that describes a method.
fn method(
    signature: &Signature,
    attributes: &mut Vec<Attribute>,
    object: Option<&Type>,
    since: Option<&LitStr>,
) -> Result<TokenStream> {
    let call = CallCode::read(signature, object)?;
    let (name, doc, params, call) = (&call.name, doc(attributes), &call.params, call.closure());
    let make = if signature.asyncness.is_some() { quote!(future) } else { quote!(sync) };
    let own = take_since(attributes)?;
    let since = own.as_ref().or(since).into_iter();
    Ok(quote!(::llmspell_core::Method::#make(#name, #call) #(#params)* .doc(#doc) #(.since(#since))*))
}

/// Returns the builder call for the `#[next]` method, which returns the next item of a loop.
fn step(signature: &Signature, attributes: &mut Vec<Attribute>, object: &Type) -> Result<TokenStream> {
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(signature.fn_token, "what brings the next item is an `async fn`"));
    }
    if !CallCode::read(signature, Some(object))?.params.is_empty() {
        return Err(Error::new_spanned(&signature.inputs, "what brings the next item takes no arguments"));
    }
    method(signature, attributes, Some(object), None)
}

/// Returns the builder call for a constant, a field or the entries of an object: a value that is read without a call.
fn field(signature: &Signature, attributes: &[Attribute], object: Option<&Type>) -> Result<TokenStream> {
    let call = CallCode::read(signature, object)?;
    if let Some(word) = &signature.asyncness {
        return Err(Error::new_spanned(word, "what is read without a call cannot wait"));
    }
    if !call.params.is_empty() {
        return Err(Error::new_spanned(&signature.inputs, "what is read without a call takes no arguments"));
    }
    let (name, doc, call) = (&call.name, doc(attributes), call.closure());
    Ok(quote!(::llmspell_core::bridge::Field::new(#name, #doc, #call)))
}

/// The code that calls one function with a script's arguments.
struct CallCode {
    name: String,
    function: TokenStream,
    is_async: bool,
    /// Statements that read the arguments.
    reads: Vec<TokenStream>,
    /// The arguments of the function.
    values: Vec<TokenStream>,
    /// Builder calls that describe the parameters.
    params: Vec<TokenStream>,
}

impl CallCode {
    fn read(signature: &Signature, object: Option<&Type>) -> Result<Self> {
        if !signature.generics.params.is_empty() {
            return Err(Error::new_spanned(&signature.generics, "scripts cannot call a generic function"));
        }
        match &signature.output {
            ReturnType::Type(_, result) if is_named(result, "Result") => {}
            ReturnType::Type(_, other) => {
                return Err(Error::new_spanned(other, "what scripts call returns `Result<T>`"));
            }
            ReturnType::Default => {
                return Err(Error::new_spanned(&signature.ident, "what scripts call returns `Result<T>`"));
            }
        }
        let ident = &signature.ident;
        let mut call = Self {
            name: ident.unraw().to_string(),
            function: object.map_or_else(|| quote!(self::#ident), |object| quote!(<#object>::#ident)),
            is_async: signature.asyncness.is_some(),
            reads: Vec::new(),
            values: Vec::new(),
            params: Vec::new(),
        };
        match (object, signature.receiver()) {
            (None, _) => {}
            (Some(object), Some(this)) if matches!(this.kind, ReceiverKind::Reference(_, _, None)) => {
                call.reads.push(quote!(let this = arguments.take_self::<#object>()?;));
                call.values.push(quote!(&this));
            }
            (Some(_), this) => {
                let message = "what scripts call on an object takes `&self`";
                return Err(this.map_or_else(
                    || Error::new_spanned(ident, message),
                    |this| Error::new_spanned(this, message),
                ));
            }
        }
        for (at, input) in signature.inputs.iter().enumerate() {
            if let FnArg::Typed(param) = input {
                let last = at + 1 == signature.inputs.len();
                call.param(&param.pat, &param.ty, last)?;
            }
        }
        Ok(call)
    }

    fn param(&mut self, pattern: &Pat, ty: &Type, last: bool) -> Result<()> {
        let borrowed = matches!(ty, Type::Reference(reference) if is_named(&reference.elem, "Context"));
        if borrowed || is_named(ty, "Context") {
            if borrowed == self.is_async {
                let message = "the context is `cx: &Context` in a `fn` and `cx: Context` in an `async fn`";
                return Err(Error::new_spanned(ty, message));
            }
            self.values.push(quote!(cx));
            return Ok(());
        }
        let Pat::Ident(pattern) = pattern else {
            return Err(Error::new_spanned(pattern, "a parameter has a plain name: scripts see it"));
        };
        let (ident, name) = (&pattern.ident, pattern.ident.unraw().to_string());
        if !is_named(ty, "Rest") {
            self.reads.push(quote!(let #ident: #ty = arguments.take(#name)?;));
            self.params.push(quote!(.param::<#ty>(#name)));
        } else if last {
            self.reads.push(quote!(let #ident = arguments.rest();));
            self.params.push(quote!(.rest(#name)));
        } else {
            return Err(Error::new_spanned(ty, "`Rest` takes all arguments that are left, so it comes last"));
        }
        self.values.push(quote!(#ident));
        Ok(())
    }

    fn closure(&self) -> TokenStream {
        let Self { function, reads, values, .. } = self;
        let takes_context = values.iter().any(|value| value.to_string() == "cx");
        let cx = if takes_context { quote!(cx) } else { quote!(_) };
        if self.is_async {
            quote!(|#cx, mut arguments| async move {
                #(#reads)*
                arguments.end()?;
                #function(#(#values),*).await
            })
        } else {
            quote!(|#cx, mut arguments| {
                #(#reads)*
                arguments.end()?;
                #function(#(#values),*)
            })
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Returns whether the last segment of a type's path is `name`.
fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|word| word.ident == name))
}

fn struct_with_doc(item: &Item) -> Option<(Ident, String)> {
    match item {
        Item::Struct(item) => Some((item.ident.clone(), doc(&item.attrs))),
        _ => None,
    }
}

fn find(attributes: &[Attribute], word: &str) -> Option<usize> {
    attributes.iter().position(|attribute| attribute.path().is_ident(word))
}

/// Removes an attribute such as `#[field]` from an item. Returns whether it was there.
fn take(attributes: &mut Vec<Attribute>, word: &str) -> bool {
    find(attributes, word).map(|at| attributes.remove(at)).is_some()
}

fn take_since(attributes: &mut Vec<Attribute>) -> Result<Option<LitStr>> {
    find(attributes, "since").map(|at| attributes.remove(at).parse_args()).transpose()
}

/// Returns the text of the `///` comments.
fn doc(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error's message, and the source text that the compiler would underline.
    fn refused(source: &str) -> (String, String) {
        let error = expand(&TokenStream::new(), source.parse().unwrap()).unwrap_err();
        (error.to_string(), error.span().source_text().unwrap_or_default())
    }

    #[test]
    fn wrong_use_is_explained_at_the_words_that_are_wrong() {
        let cases = [
            ("mod a;", "a bridge is written in place: `mod name { … }`", "a"),
            ("mod a { pub fn f() -> String { x } }", "what scripts call returns `Result<T>`", "String"),
            ("mod a { pub fn f() {} }", "what scripts call returns `Result<T>`", "f"),
            (
                "mod a { pub async fn f(cx: &Context) -> Result<()> { x } }",
                "the context is `cx: &Context` in a `fn` and `cx: Context` in an `async fn`",
                "&Context",
            ),
            (
                "mod a { pub fn f((x, y): Pair) -> Result<()> { x } }",
                "a parameter has a plain name: scripts see it",
                "(x, y)",
            ),
            (
                "mod a { pub fn f(all: Rest, n: i64) -> Result<()> { x } }",
                "`Rest` takes all arguments that are left, so it comes last",
                "Rest",
            ),
            (
                "mod a { pub fn f<T: Clone>(n: T) -> Result<()> { x } }",
                "scripts cannot call a generic function",
                "<T: Clone>",
            ),
            (
                "mod a { #[constant] pub fn f(n: i64) -> Result<()> { x } }",
                "what is read without a call takes no arguments",
                "n: i64",
            ),
            (
                "mod a { struct O; #[object] impl O { #[next] pub fn f(&self) -> Result<()> { x } } }",
                "what brings the next item is an `async fn`",
                "fn",
            ),
            (
                "mod a { struct O; #[object] impl O { #[next] pub async fn f(&self, n: i64) -> Result<()> { x } } }",
                "what brings the next item takes no arguments",
                "&self, n: i64",
            ),
            (
                "mod a { #[object] impl Far { } }",
                "an object's struct stands in the same module as its `impl`",
                "Far",
            ),
            (
                "mod a { struct O; #[object] impl O { pub fn f(&mut self) -> Result<()> { x } } }",
                "what scripts call on an object takes `&self`",
                "&mut self",
            ),
            (
                "mod a { struct O; #[object] impl O { #[field] pub async fn f(&self) -> Result<()> { x } } }",
                "what is read without a call cannot wait",
                "async",
            ),
        ];
        for (source, message, words) in cases {
            assert_eq!(refused(source), (message.to_owned(), words.to_owned()), "{source}");
        }
    }

    #[test]
    fn the_attribute_takes_no_arguments() {
        let error = expand(
            &quote!(name = "x"),
            quote!(
                mod a {}
            ),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "`#[bridge]` takes no arguments");
    }
}
