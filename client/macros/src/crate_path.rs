//! How expanded code names Abide's crates.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

/// The path of the crate `abide-lambda`, as the package that is being compiled can write it.
///
/// Looks into the package's manifest, because the crate may come directly, through the facade `abide` as
/// `abide::lambda`, or under another name (`cloud = { package = "abide-lambda" }`). The direct dependency wins.
/// Both crates name themselves (`extern crate self as ...`), so that the same paths work inside of them.
pub(crate) fn lambda() -> TokenStream {
    if let Some(path) = dependency("abide-lambda", "abide_lambda") {
        path
    } else if let Some(facade) = dependency("abide", "abide") {
        quote!(#facade::lambda)
    } else {
        // No manifest names it (or there is no manifest): the compiler's own error will say what is missing.
        quote!(::abide_lambda)
    }
}

fn dependency(package: &str, library: &str) -> Option<TokenStream> {
    let name = match crate_name(package).ok()? {
        FoundCrate::Itself => library.to_owned(),
        FoundCrate::Name(name) => name,
    };
    // Resolved where the macro is called, so that the edition and the dependencies are the user's.
    let name = Ident::new(&name, Span::call_site()).into_token_stream();
    Some(quote!(::#name))
}
