//! What may stand in the parentheses of `#[cloud_function(...)]`.

use proc_macro2::TokenStream;
use syn::{LitStr, Path, meta::ParseNestedMeta, parse::Parser};

/// The attribute's options, as written.
#[derive(Default)]
pub(crate) struct Options {
    /// The name to register instead of the function's path.
    pub(crate) name: Option<LitStr>,
    /// Where the crate `abide-lambda` is found.
    pub(crate) crate_path: Option<Path>,
}

impl Options {
    pub(crate) fn parse(attribute: TokenStream) -> syn::Result<Self> {
        let mut options = Options::default();
        syn::meta::parser(|meta| options.read(&meta)).parse2(attribute)?;
        Ok(options)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("name") {
            let name: LitStr = meta.value()?.parse()?;
            if name.value().is_empty() || name.value().contains('\0') {
                return Err(syn::Error::new(name.span(), "the name must not be empty or contain a NUL"));
            }
            set(&mut self.name, name, meta)
        } else if meta.path.is_ident("crate") {
            let path: LitStr = meta.value()?.parse()?;
            let path = path.parse_with(Path::parse_mod_style)?;
            set(&mut self.crate_path, path, meta)
        } else {
            Err(meta.error("unknown option: `name = \"...\"` and `crate = \"...\"` are known"))
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("this option is given twice")),
    }
}
