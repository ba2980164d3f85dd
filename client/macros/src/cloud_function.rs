//! `#[cloud_function]`: checks a function and submits it to the registry of `abide-lambda`.
//!
//! What can be told from the tokens is refused here, with the user's tokens blamed. What needs types (is the
//! argument serialisable? is the return type a `Result`?) is left to trait bounds of `abide-lambda`, checked
//! on code that carries the spans of the user's types.

use crate::{crate_path, options::Options};
use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Error, FnArg, ItemFn, ReturnType, Signature, Type, ext::IdentExt, spanned::Spanned};

/// Most arguments: `abide_lambda::CloudFunction` is implemented up to here.
const ARGUMENTS_MAX: usize = 8;

/// The item as it was, followed by its registration or by what is wrong with it. The item always stays, so
/// that one mistake does not make each use of the function an error too.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let added = registration(attribute, &item).unwrap_or_else(Error::into_compile_error);
    quote!(#item #added)
}

fn registration(attribute: TokenStream, item: &TokenStream) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(item.clone())
        .map_err(|_| Error::new_spanned(item, "`#[cloud_function]` goes on a function with a body"))?;
    let options = Options::parse(attribute)?;
    let arguments = check(&function.sig)?;
    Ok(submission(&function, &options, &arguments))
}

/// Refuses what can never run elsewhere. Returns the types of the arguments.
fn check(signature: &Signature) -> syn::Result<Vec<&Type>> {
    let mut errors = Errors::default();
    if let Some(token) = &signature.asyncness {
        let why = "a cloud function is not `async`: it has a thread of its own and may block; \
                   to call async code, start a runtime inside of it";
        errors.add(token, why);
    }
    if let Some(token) = &signature.unsafety {
        errors.add(token, "a cloud function is not `unsafe`: nobody is there to keep its contract");
    }
    if !signature.generics.params.is_empty() {
        let why = "a cloud function is not generic: it is found by its name, which says nothing about type \
                   arguments; wrap it in a function for each type that is needed";
        errors.add(&signature.generics, why);
    }
    if let Some(token) = &signature.variadic {
        errors.add(token, "a cloud function has a fixed number of arguments");
    }
    let arguments = check_arguments(signature, &mut errors);
    if let ReturnType::Default = signature.output {
        let why = "a cloud function returns `Result<T, E>`: `T` goes to whoever joins the cloud thread, and \
                   the text of `E` too; without a value, return `Result<(), E>`";
        errors.add(&signature.ident, why);
    }
    errors.into_result(arguments)
}

fn check_arguments<'a>(signature: &'a Signature, errors: &mut Errors) -> Vec<&'a Type> {
    let mut types = Vec::new();
    for argument in &signature.inputs {
        match argument {
            FnArg::Receiver(receiver) => {
                let why = "a cloud function is not a method: write a free function, and pass `self` as an \
                           argument if it is serialisable";
                errors.add(receiver, why);
            }
            FnArg::Typed(argument) => {
                if let Type::ImplTrait(_) = &*argument.ty {
                    errors.add(&argument.ty, "a cloud function is not generic: name the argument's type");
                } else if borrows(argument.ty.to_token_stream()) {
                    let why = "a cloud function owns its arguments, because it may run in another process: \
                               use `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`";
                    errors.add(&argument.ty, why);
                }
                types.push(&*argument.ty);
            }
        }
    }
    if let Some(extra) = signature.inputs.iter().nth(ARGUMENTS_MAX) {
        let why = format!(
            "a cloud function has at most {ARGUMENTS_MAX} arguments: put them into a struct or a tuple"
        );
        errors.add(extra, why);
    }
    types
}

/// Whether a type names a borrow or a lifetime anywhere.
fn borrows(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => matches!(punct.as_char(), '&' | '\''),
        TokenTree::Group(group) => borrows(group.stream()),
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    })
}

/// The registration of a function that passed [`check`].
fn submission(function: &ItemFn, options: &Options, arguments: &[&Type]) -> TokenStream {
    let ident = &function.sig.ident;
    let lambda = match &options.crate_path {
        Some(path) => path.to_token_stream(),
        None => crate_path::lambda(),
    };
    let name = match &options.name {
        Some(name) => name.to_token_stream(),
        None => {
            let ident = ident.unraw().to_string();
            quote!(::core::concat!(::core::module_path!(), "::", #ident))
        }
    };
    // The registration exists exactly when the function does.
    let cfg = function.attrs.iter().filter(|attribute| is_cfg(attribute));
    // These carry the spans of the user's types, so that what does not meet its bound is blamed there.
    let arguments = arguments
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> #lambda::__private::argument::<#ty>().read(&mut arguments)?));
    let result = match &function.sig.output {
        ReturnType::Type(_, ty) => quote_spanned!(ty.span()=> #lambda::__private::result::<#ty>()),
        ReturnType::Default => TokenStream::new(),
    };
    // In an `impl` block, which an attribute cannot see, the constant without a name is an error.
    quote_spanned! {ident.span()=>
        #(#cfg)*
        #[allow(deprecated)]
        const _: () = {
            #[allow(unused_mut, unused_variables)]
            fn run(arguments: &[::core::primitive::u8]) -> #lambda::__private::Ran {
                let mut arguments = #lambda::__private::Reader::new(arguments);
                #result.write(#ident(#(#arguments),*))
            }
            fn identity() -> #lambda::__private::Identity {
                #lambda::__private::Identity::of(&#ident)
            }
            #lambda::__private::inventory::submit! {
                #lambda::__private::Entry::new(#name, identity, run, ::core::file!(), ::core::line!())
            }
        };
    }
}

fn is_cfg(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}

/// Collects every mistake, so that the user meets them all at once.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, tokens: &impl ToTokens, why: impl std::fmt::Display) {
        let error = Error::new_spanned(tokens, why);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn into_result<T>(self, value: T) -> syn::Result<T> {
        match self.0 {
            Some(errors) => Err(errors),
            None => Ok(value),
        }
    }
}
