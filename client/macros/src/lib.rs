//! The attribute macros of Abide. Users reach them through `abide` or `abide-lambda`, never through this crate.
//!
//! Read in this order:
//! - `cloud_function`: checks a function and registers it, so that a cloud thread can run it elsewhere;
//! - `options`: what may stand in the attribute's parentheses;
//! - `crate_path`: how expanded code names Abide's crates, whichever of them the user depends on.
//!
//! Expanded code uses full paths only, and each error points at the user's own tokens.

mod cloud_function;
mod crate_path;
mod options;

use proc_macro::TokenStream;

/// Lets cloud threads run this function: `CloudThread::spawn(function, (argument, ...))`.
///
/// The function is a free one (not in an `impl` block), and it stays an ordinary one that can be called
/// directly. It takes up to eight owned arguments that serde can write and read, and returns `Result<T, E>`,
/// where serde can write and read `T` and `E` can be displayed.
///
/// - `#[cloud_function(name = "pi/estimate")]` registers it under another name than its path. Needed when two
///   functions have one path (two blocks with a function of the same name each, for example).
/// - `#[cloud_function(crate = "my::path::to::abide_lambda")]` says where Abide's cloud threads are found, when
///   neither `abide` nor `abide-lambda` is a dependency of this package: inside of a macro of yours, for example.
#[proc_macro_attribute]
pub fn cloud_function(attribute: TokenStream, item: TokenStream) -> TokenStream {
    cloud_function::expand(attribute.into(), item.into()).into()
}
